"""Vast.ai's own command, unchanged, drives the simulated market."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .client import Simulator
from .clients import client

pytestmark = [pytest.mark.slow, pytest.mark.sample]


def test_the_vendors_own_command(tmp_path: Path) -> None:
    with Simulator("vast", tmp_path / "sim", judge=False) as sim:
        sim.control("set", boot=0)

        def vastai(*words: str, raw: bool = True) -> Any:
            """The key comes from the command's own file, as a user has it."""
            done = subprocess.run(
                [client("vastai"), "--url", sim.url, *words, *(["--raw"] if raw else [])],
                env={"HOME": str(tmp_path), "VAST_API_KEY": sim.cloud.key, "PATH": "/usr/bin:/bin"},
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            return json.loads(done.stdout) if raw else done.stdout

        offers = vastai("search", "offers", "num_gpus=1 reliability > 0.9")
        assert [o["gpu_name"] for o in offers] == ["RTX 4090", "A100 SXM4"]
        words = (
            "--image",
            "pytorch/pytorch",
            "--disk",
            "40",
            "--label",
            "mine",
            "--env",
            "-e A=1 -p 22:22",
            "--ssh",
            "--direct",
        )
        made = vastai("create", "instance", str(offers[0]["id"]), *words)["new_contract"]
        shown = {i["id"]: i for i in vastai("show", "instances")}
        assert (shown[made]["label"], shown[made]["actual_status"]) == ("mine", "running")
        vastai("stop", "instance", str(made), raw=False)
        assert vastai("show", "instance", str(made))["actual_status"] == "exited"
        vastai("start", "instance", str(made), raw=False)
        vastai("label", "instance", str(made), "other", raw=False)
        assert vastai("show", "instance", str(made))["label"] == "other"
        vastai("destroy", "instance", str(made), "-y", raw=False)
        assert sim.billing() == []
        assert len(vastai("show", "volumes")) == 1
        assert sim.violations() == []
