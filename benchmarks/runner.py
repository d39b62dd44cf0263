"""The command line that all benchmarks share: measure groups, print a row each, fail where one is short."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping

from benchmarks import rows
from benchmarks.machine import BenchmarkBroken

Measure = Callable[[bool], Iterator[rows.Line]]
"""Called with whether it should be quick; gives its lines as they are measured."""


def main(program: str, words: str | None, groups: Mapping[str, Measure]) -> int:
    """Exit 0: no row is short (skipped ones are named); 1: one is, or could not be measured."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=words)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(groups)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and less work in each")
    args = parser.parse_args()
    if unknown := set(args.groups) - set(groups):
        parser.error(f"no group {', '.join(sorted(unknown))}")
    lines: list[rows.Line] = []
    broken = False
    print(rows.heading(), flush=True)
    for name in args.groups or groups:
        try:
            for line in groups[name](args.quick):
                lines.append(line)
                print(rows.show(line), flush=True)
        except BenchmarkBroken as exc:
            broken = True
            print(f"{name}: {exc}", file=sys.stderr)
    print(rows.closing(lines))
    return 1 if broken else rows.exit_status(lines)
