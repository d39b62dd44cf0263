"""`python -m benchmarks.cli`: measure, print a row each, and fail where one is short of its goal."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator

from benchmarks import generation, idle, offers, rows, startup, stream
from benchmarks.machine import BenchmarkBroken

GROUPS: dict[str, Callable[[bool], Iterator[rows.Line]]] = {
    "startup": startup.measure,
    "stream": stream.measure,
    "idle": idle.measure,
    "offers": offers.measure,
    "generation": generation.measure,
}


def main(argv: list[str] | None = None) -> int:
    """Exit 0: no row is short (skipped ones are named); 1: one is, or could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cli", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter runs")
    args = parser.parse_args(argv)
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(sorted(unknown))}")
    # An installed program has its bytecode; without it each start would compile all of ours anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    lines: list[rows.Line] = []
    broken = False
    print(rows.heading(), flush=True)
    for name in args.groups or GROUPS:
        try:
            for line in GROUPS[name](args.quick):
                lines.append(line)
                print(rows.show(line), flush=True)
        except BenchmarkBroken as exc:
            broken = True
            print(f"{name}: {exc}", file=sys.stderr)
    print(rows.closing(lines))
    return 1 if broken else rows.exit_status(lines)


if __name__ == "__main__":
    sys.exit(main())
