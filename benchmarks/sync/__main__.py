"""`python -m benchmarks.sync`: measure syncing and streaming, print a row each, fail where one is short."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

from benchmarks import rows, runner


def _group(name: str) -> runner.Measure:
    """A group whose module is imported when it is its turn."""

    def measure(quick: bool) -> Iterator[rows.Line]:
        yield from importlib.import_module(f"benchmarks.sync.{name}").measure(quick)

    return measure


GROUPS = {name: _group(name) for name in ("trees", "large", "far", "resume", "stream", "tensors")}


if __name__ == "__main__":
    sys.exit(runner.main("benchmarks.sync", __doc__, GROUPS))
