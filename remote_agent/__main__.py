"""The agent's command line: one command a job, each imported only when it is asked for.

supervise RUN   start the run's supervisor, detached (environment and secrets on stdin)
work RUN        the run's worker; the supervisor starts it
follow RUN      send the run's files from given lengths on, until stdin closes
status RUN      one JSON line: what runs, what is on disk
stop RUN        end the run's supervisor and worker
unpack FOLDER   a tar stream on stdin becomes that folder, whole or not at all
probe           one JSON line: Python, packages, machine
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["unpack"]:
        from remote_agent import unpack

        return unpack.main(argv[1:])
    args = _parser().parse_args(argv)
    if args.command == "supervise":
        from remote_agent import supervisor

        return supervisor.main(args.run)
    if args.command == "work":
        from remote_agent import worker

        return worker.main(args.run, args.after, args.blamed)
    if args.command == "follow":
        from remote_agent import follow

        return follow.main(args.run)
    if args.command in ("status", "stop"):
        from remote_agent import control

        return control.status(args.run) if args.command == "status" else control.stop(args.run)
    from remote_agent import probe

    return probe.main()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="remote_agent")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("supervise", "follow", "status", "stop"):
        commands.add_parser(name).add_argument("run", type=_folder)
    work = commands.add_parser("work")
    work.add_argument("run", type=_folder)
    work.add_argument("--after", help="what the worker before this one died of")
    work.add_argument("--blamed", action="store_true", help="its samples in flight may have caused it")
    commands.add_parser("unpack", help="has a parser of its own")
    commands.add_parser("probe")
    return parser


def _folder(name: str) -> Path:
    """Absolute, since the worker starts in another folder."""
    return Path(name).absolute()


if __name__ == "__main__":
    sys.exit(main())
