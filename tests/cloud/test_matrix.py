"""The no-orphan matrix: a sample with the fast tests, the whole of it with the slow ones. `make matrix` prints it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gpusess.providers import PROVIDERS

from .client import REPOSITORY
from .serve import CLOUDS

NAMES = [name for name in CLOUDS if name in PROVIDERS]


def play(*arguments: str, limit: float) -> str:
    """The matrix in a process of its own, since it forks; what it printed."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.cloud.matrix", *arguments],
        cwd=REPOSITORY,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-8000:] + told.stderr[-2000:]
    return told.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_sample(name: str) -> None:
    """The cells that have caught something, or come nearest to money: around the launch and the terminate call."""
    told = play("--providers", name, "--only", "launch)", "--every", "13", "-j", "1", limit=300)
    assert " passed, 0 failed, 0 orphans" in told.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_of_it(name: str) -> None:
    told = play("--providers", name, limit=3600)
    assert " passed, 0 failed, 0 orphans" in told.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.sample
def test_it_would_say_so(tmp_path: object) -> None:
    """The matrix finds the orphan of a program that takes "too many requests" for a proof that nothing was launched."""
    broken = (
        "from gpusess.errors import RateLimited; from gpusess.sessions import renting;"
        "renting._REFUSALS = (*renting._REFUSALS, RateLimited);"
        "import sys; from tests.cloud import matrix; sys.exit(matrix.main())"
    )
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            broken,
            "--providers",
            NAMES[0],
            "--only",
            "launch): 429 after, then terminate",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode == 1
    assert told.stdout.splitlines()[-1] == "0 passed, 1 failed, 1 orphans"
