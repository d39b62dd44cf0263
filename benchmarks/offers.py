"""`gpusess offers`: five clouds that each take 200 ms to answer, asked at once, against the slowest alone."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import BenchmarkBroken, data_folder
from benchmarks.rows import Line, Note, Row
from gpusess.sessions.offers import ask_all
from tests.cloud.client import Simulator

CLOUDS = ("lambda", "runpod", "vast", "shadeform", "aws")
LATENCY = 0.2
"""Seconds that each answer of a simulated cloud takes."""
TIMES = 1.5


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    rounds = 3 if quick else 7
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        for name in CLOUDS:
            cloud = stack.enter_context(Simulator(name, folder / name, judge=False))
            cloud.control("set", latency=LATENCY)
            os.environ.update(cloud.env)
        alone = {name: _median([name], rounds) for name in CLOUDS}
        together = _median(CLOUDS, rounds)
    slowest = max(alone, key=lambda name: alone[name])
    yield Row("offers of five clouds at once", together, TIMES * alone[slowest], "s")
    each = ", ".join(f"{name} {seconds:.2f}" for name, seconds in alone.items())
    yield Note(f"the limit is {TIMES} times the slowest alone; each alone, in seconds: {each}")


def _median(names: Sequence[str], rounds: int) -> float:
    return statistics.median(_once(names) for _ in range(rounds))


def _once(names: Sequence[str]) -> float:
    """Seconds until all of them have answered, with no call before it that a limit would count."""
    with data_folder():
        began = time.perf_counter()
        answers = asyncio.run(ask_all(names))
        taken = time.perf_counter() - began
    for answer in answers:
        if answer.error or not answer.offers:
            raise BenchmarkBroken(f"{answer.provider}: {answer.error or 'no offers'}")
    return taken
