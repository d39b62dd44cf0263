"""`python -m benchmarks.sync`: measure syncing and streaming, print a row each, fail where one is short."""

from __future__ import annotations

import argparse
import importlib
import sys

from benchmarks import rows
from benchmarks.machine import BenchmarkBroken

GROUPS = ("trees", "large", "far", "resume", "stream", "tensors")


def main(argv: list[str] | None = None) -> int:
    """Exit 0: no row is short (skipped ones are named); 1: one is, or could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller files")
    args = parser.parse_args(argv)
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(sorted(unknown))}")
    lines: list[rows.Line] = []
    broken = False
    print(rows.heading(), flush=True)
    for name in args.groups or GROUPS:
        try:
            for line in importlib.import_module(f"benchmarks.sync.{name}").measure(args.quick):
                lines.append(line)
                print(rows.show(line), flush=True)
        except BenchmarkBroken as exc:
            broken = True
            print(f"{name}: {exc}", file=sys.stderr)
    print(rows.closing(lines))
    return 1 if broken else rows.exit_status(lines)


if __name__ == "__main__":
    sys.exit(main())
