"""Trying the GPUs: against a library of C that answers as the driver's does, good and bad."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from remote_agent import gpu_check
from tests.fake_cuda import library_folder


@pytest.fixture(scope="module")
def library() -> Path:
    folder = library_folder()
    if folder is None:
        pytest.skip("needs a C compiler")
    return folder


def gpus(library: Path, **faults: int) -> dict[str, Any]:
    """What the agent's command prints where that library is the driver."""
    env = {**os.environ, "LD_LIBRARY_PATH": str(library), **{k: str(v) for k, v in faults.items()}}
    done = subprocess.run(
        [sys.executable, "-m", "remote_agent", "gpus"], env=env, capture_output=True, check=True
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def test_every_gpu_computes(library: Path) -> None:
    facts = gpus(library, FAKE_GPUS=2)
    assert facts["torch"] is None
    assert facts["driver"]["error"] == ""
    assert [(g["index"], g["name"], g["memory"], g["error"]) for g in facts["driver"]["gpus"]] == [
        (0, "Fake GPU 0", 80 << 30, ""),
        (1, "Fake GPU 1", 80 << 30, ""),
    ]


def test_error_802_has_its_number_and_words(library: Path) -> None:
    driver = gpus(library, FAKE_INIT=802)["driver"]
    assert (driver["code"], driver["gpus"]) == (802, [])
    assert driver["error"] == "cuInit: CUDA error 802 (system not yet initialized)"


def test_one_bad_gpu_does_not_hide_the_others(library: Path) -> None:
    driver = gpus(library, FAKE_GPUS=3, FAKE_BAD=1, FAKE_REFUSES=2)["driver"]
    good, wrong, refuses = driver["gpus"]
    assert good["error"] == ""
    assert wrong["error"] == "1 of 262144 words came back wrong from its memory"
    assert refuses["code"] == 802


def test_without_a_driver_that_is_said() -> None:
    driver = gpu_check.check_driver("libcuda-that-is-not-there.so")
    assert (driver["code"], driver["gpus"]) == (0, [])
    assert driver["error"].startswith("no NVIDIA driver")


@pytest.mark.model
def test_torch_computes_on_the_cpu() -> None:
    facts = gpu_check.check_torch()
    assert facts["error"] == ""
    assert facts["version"]
    assert facts["devices"] == [{"device": "cpu", "error": ""}]
