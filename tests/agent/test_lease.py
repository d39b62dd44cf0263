"""The watch over the lease: what counts as a word, when it ends the instance, and that it outlives its starter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from remote_agent.lease import FOLDER, NOTICE, WORD, Lease, Watch, spot_notice


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / FOLDER).mkdir(parents=True)
    return tmp_path


def test_silence_runs_out(home: Path) -> None:
    clock = Clock()
    lease = Lease(100.0, home, clock)
    clock.now = 99.0
    assert not lease.has_run_out()
    clock.now = 101.0
    assert lease.has_run_out()


def test_a_word_a_terminal_and_a_run_hold_it(home: Path, tmp_path: Path) -> None:
    clock = Clock()
    terminals = tmp_path / "pts"
    terminals.mkdir()
    lease = Lease(100.0, home, clock, terminals)
    clock.now = 101.0
    (home / FOLDER / WORD).touch()
    assert not lease.has_run_out()
    clock.now = 202.0
    (terminals / "0").touch()
    assert not lease.has_run_out()
    os.utime(terminals / "0", (1.0, 1.0))
    clock.now = 303.0
    events = home / ".gpusess/runs/r/events.jsonl"
    events.parent.mkdir(parents=True)
    events.touch()
    assert not lease.has_run_out()
    os.utime(events, (time.time() + 9e6, time.time() + 9e6))
    clock.now = 404.0
    assert lease.has_run_out(), "a heartbeat from the future is none"


def test_an_old_word_is_no_new_one(home: Path) -> None:
    (home / FOLDER / WORD).touch()
    clock = Clock()
    lease = Lease(100.0, home, clock)
    clock.now = 101.0
    assert lease.has_run_out()


def test_the_latest_end_comes_whatever_happens(home: Path) -> None:
    clock = Clock()
    order = {"seconds": 1e6, "left": 50.0, "how": "command", "command": "true"}
    watch = Watch(order, Lease(1e6, home, clock), home / FOLDER, clock)
    clock.now = 49.0
    assert watch.reason() == ""
    clock.now = 51.0
    assert watch.reason() == "its latest end has come"


def start(home: Path, **order: Any) -> dict[str, Any]:
    whole = {"seconds": 60.0, "left": None, "how": "command", "command": "true", "env": {}, **order}
    done = subprocess.run(
        [sys.executable, "-m", "remote_agent", "lease"],
        input=json.dumps(whole), env={**os.environ, "HOME": str(home)}, capture_output=True, text=True,
        check=True, timeout=30,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def watches() -> Iterator[list[int]]:
    pids: list[int] = []
    yield pids
    for pid in pids:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def test_it_ends_the_instance_with_what_it_was_given_and_again(home: Path, watches: list[int]) -> None:
    command = 'echo "$TOKEN" >> ended'
    answer = start(home, seconds=0.4, command=f"cd {home}; {command}", env={"TOKEN": "s3cret"})
    watches.append(answer["watching"])
    assert (answer["able"], answer["why"]) == (True, "")
    deadline = time.monotonic() + 10
    while not (home / "ended").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.1)
    assert (home / "ended").read_text() == "s3cret\n"
    assert psutil.pid_exists(answer["watching"]), "it asks again until the instance is gone"
    assert "s3cret" not in " ".join(psutil.Process(answer["watching"]).cmdline())
    assert "s3cret" not in "".join(psutil.Process(answer["watching"]).environ().values())
    said = (home / FOLDER / "lease.log").read_text()
    assert "nobody asked for it and no run worked for 0.4 s" in said
    assert "s3cret" not in said


def test_new_orders_replace_the_old_watch(home: Path, watches: list[int]) -> None:
    first = start(home)["watching"]
    second = start(home)["watching"]
    watches += [first, second]
    assert first != second
    deadline = time.monotonic() + 5
    while psutil.pid_exists(first) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(first) or psutil.Process(first).status() == psutil.STATUS_ZOMBIE
    assert psutil.pid_exists(second)


class Metadata(BaseHTTPRequestHandler):
    notice: bytes | None = None

    def do_PUT(self) -> None:
        self._answer(b"token-1" if self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else None)

    def do_GET(self) -> None:
        allowed = self.headers["X-aws-ec2-metadata-token"] == "token-1"
        self._answer(self.notice if allowed and self.path.endswith("spot/instance-action") else None)

    def _answer(self, body: bytes | None) -> None:
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: Any) -> None:
        pass


def test_a_spot_notice_is_read_and_written_down(home: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        assert spot_notice(url) is None
        Metadata.notice = b'{"action": "terminate", "time": "2026-11-21T10:00:00Z"}'
        watch = Watch({"how": "command", "command": ""}, Lease(1.0, home), home / FOLDER, metadata=url)
        watch.look_for_notice()
        notice = json.loads((home / FOLDER / NOTICE).read_text())
        assert notice == {"action": "terminate", "time": "2026-11-21T10:00:00Z"}
    finally:
        server.shutdown()
        server.server_close()
    assert spot_notice(url) is None, "no metadata service: no notice"


def test_a_machine_that_the_launch_did_not_prepare_is_never_shut_down(home: Path, watches: list[int]) -> None:
    answer = start(home, seconds=60.0, how="shutdown")
    watches.append(answer["watching"])
    assert answer["able"] is False
    assert "the launch has not set it up" in answer["why"]
