"""The agent's command line: one command a job, each imported only when it is asked for.

supervise RUN   start the run's supervisor, detached (environment and secrets on stdin)
work RUN        the run's worker; the supervisor starts it
rank RUN        one of a training's further processes; the worker starts it
follow RUN      send the run's files from given lengths on, until stdin closes
status RUN      one JSON line: what runs, what is on disk
stop RUN        end the run's supervisor and worker
steer RUN       leave a user's ask (JSON on stdin) for the run's training
sync            take and give trees and files, in frames, until stdin closes
complete        answer prompts from stdin with any models, for the playground
probe           one JSON line: Python, packages, machine
imports NAME…   one JSON line: what importing these packages does
gpus            one JSON line: an operation on each GPU, and with --torch one through torch
lease           watch over the instance's lease, detached (what ends it, and how, on stdin)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["sync"]:
        from remote_agent.syncing import server

        return server.main()
    if argv[:1] == ["imports"]:
        from remote_agent.preflight import imports

        return imports.main(argv[1:])
    args = _parser().parse_args(argv)
    if args.command == "supervise":
        from remote_agent import supervisor

        return supervisor.main(args.run)
    if args.command == "work":
        from remote_agent import worker

        return worker.main(args.run, args.after, args.blamed)
    if args.command == "rank":
        from remote_agent.training import ranks

        return ranks.main(args.run)
    if args.command == "follow":
        from remote_agent import follow

        return follow.main(args.run)
    if args.command == "steer":
        from remote_agent.training import asks

        return asks.main(args.run)
    if args.command in ("status", "stop"):
        from remote_agent import control

        return control.status(args.run) if args.command == "status" else control.stop(args.run)
    if args.command == "gpus":
        from remote_agent import gpu_check

        return gpu_check.main(args.torch)
    if args.command == "complete":
        from remote_agent import playground

        return playground.main()
    if args.command == "lease":
        from remote_agent import lease

        return lease.main()
    from remote_agent import probe

    return probe.main()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="remote_agent")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("supervise", "rank", "follow", "status", "stop", "steer"):
        commands.add_parser(name).add_argument("run", type=_folder)
    work = commands.add_parser("work")
    work.add_argument("run", type=_folder)
    work.add_argument("--after", help="what the worker before this one died of")
    work.add_argument("--blamed", action="store_true", help="its samples in flight may have caused it")
    commands.add_parser("sync")
    commands.add_parser("complete")
    commands.add_parser("probe")
    commands.add_parser("gpus").add_argument("--torch", action="store_true")
    commands.add_parser("lease")
    return parser


def _folder(name: str) -> Path:
    """Absolute, since the worker starts in another folder."""
    return Path(name).absolute()


if __name__ == "__main__":
    sys.exit(main())
