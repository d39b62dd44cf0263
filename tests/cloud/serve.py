"""One simulated cloud as a process: `python -m tests.cloud.serve NAME FOLDER [--ssh] [--frozen] [--judge] [--port N]`.

It prints its address, and ends, with all that lives in it, when its stdin does: it outlives whoever uses it,
and not the test that started it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import threading
from pathlib import Path

from .clock import SharedClock
from .http import serve
from .simulator import Cloud

CLOUDS = {
    "lambda": "lambda_cloud:LambdaCloud",
    "shadeform": "shadeform:ShadeformCloud",
    "runpod": "runpod:RunpodCloud",
    "vast": "vast:VastCloud",
    "aws": "aws:AwsCloud",
}


def cloud_class(name: str) -> type[Cloud]:
    module, _, attribute = CLOUDS[name].partition(":")
    found: type[Cloud] = getattr(importlib.import_module(f".{module}", __package__), attribute)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=CLOUDS)
    parser.add_argument("folder", type=Path)
    for flag in ("--ssh", "--frozen", "--judge"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default="", help="another account's key")
    args = parser.parse_args()
    clock = SharedClock(args.folder / "clock", args.frozen)
    kind = cloud_class(args.name)
    if args.key:
        kind.key = args.key
    cloud = kind(args.folder, clock, args.ssh, args.judge)
    server = serve(cloud, args.port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    print(json.dumps({"origin": url, "url": url + cloud.base_path}), flush=True)
    sys.stdin.read()
    if cloud.hosts:
        cloud.hosts.stop_all()


if __name__ == "__main__":
    main()
