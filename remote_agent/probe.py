"""What the instance has: one JSON line, made without any package outside the standard library."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
from pathlib import Path

from remote_agent.identity import agent_id

PACKAGES = ("pydantic", "psutil", "torch", "transformers", "vllm", "httpx", "gguf", "accelerate", "blake3")


def main() -> int:
    """Print the facts. `packages` are those that can be found; nothing is imported."""
    facts = {
        "agent": agent_id(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "home": str(Path.home()),
        "host": platform.node(),
        "cpus": os.cpu_count(),
        "disk_free": shutil.disk_usage(Path.home()).free,
        "looked_for": PACKAGES,
        "packages": [name for name in PACKAGES if importlib.util.find_spec(name)],
        "nvidia": Path("/proc/driver/nvidia/version").exists(),
    }
    print(json.dumps(facts))
    return 0
