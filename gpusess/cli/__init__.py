"""The command line. Each command is a module that is imported only when it is run; `--help` needs none of
them, so it answers at once.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from gpusess import __version__
from gpusess.errors import GpusessError

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("gpusess.cli.demo", "Run the whole way on this machine: rent, evaluate, watch, give back."),
    "up": ("gpusess.cli.up", "Start the session that a spec describes, and watch it."),
    "offers": ("gpusess.cli.offers", "List what can be rented now, at all configured providers."),
    "status": ("gpusess.cli.status", "Show sessions, their runs and what they cost."),
    "attach": ("gpusess.cli.attach", "Open the cockpit (on one session, or on all)."),
    "serve": ("gpusess.cli.serve", "Show the cockpit in a browser on this machine."),
    "replay": ("gpusess.cli.replay", "Show a recorded run again as it went, faster or slower."),
    "logs": ("gpusess.cli.logs", "Print a session's logs, merged by time."),
    "results": ("gpusess.cli.results", "Print a run's results, one a line."),
    "compare": ("gpusess.cli.compare", "Hold runs against each other: paired tests, and what differs."),
    "sweep": ("gpusess.cli.sweep", "Evaluate every checkpoint of a training, and draw the accuracy."),
    "regrade": ("gpusess.cli.regrade", "Grade recorded answers again, and see which verdicts flip."),
    "report": ("gpusess.cli.report", "Write a report on runs: Markdown, and one HTML page with plots."),
    "sync": ("gpusess.cli.sync", "Send what has changed of a session's code and data, or fetch a folder."),
    "complete": ("gpusess.cli.playground", "Let models answer a prompt, side by side."),
    "resume": ("gpusess.cli.steer:resume", "Go on with what is missing, on a new instance if need be."),
    "pull": ("gpusess.cli.steer:pull", "Bring home what is still on the instance."),
    "steer": ("gpusess.cli.steer_training", "Ask a running training to pause, go back, or ignore its alarm."),
    "terminate": ("gpusess.cli.steer:terminate", "Bring the results home and give the instance back."),
    "ssh": ("gpusess.cli.ssh", "Open a shell on a session's instance."),
    "instances": ("gpusess.cli.instances", "List instances at the providers, unknown ones too."),
    "cost": ("gpusess.cli.cost", "Show what was spent, is being spent, and goes on billing."),
    "reap": ("gpusess.cli.reap", "End instances past their deadline, from a host that is always on."),
    "doctor": ("gpusess.cli.doctor", "Check this installation, and look for what still bills."),
    "completion": ("gpusess.cli.completion", "Print the shell's completion script."),
    "drive": ("gpusess.cli.drive", ""),
    "tab": ("gpusess.cli.serve:tab", ""),
}
"""Command → (module, or module:function), and its line in the help. An empty line hides it."""


class _Commands(click.Group):
    """Knows the names of all commands and imports the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [name for name, (_, help) in COMMANDS.items() if help]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name or "command")
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            raise click.UsageError(f"{exc.message} Did you mean '{near[0]}'?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, COMMANDS[name][1]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.command(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="gpusess")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """A cockpit for GPUs that are rented by the hour.

    Without a command: the cockpit, on all sessions.

    Exit status: 0 done; 1 a run failed or something unexpected; 2 wrong usage, spec or settings;
    3 the provider; 4 the instance; 5 sync; 6 the session; 130 left with ctrl+c (what runs goes on).
    """
    if ctx.invoked_subcommand is None:
        if not sys.stdout.isatty():
            click.echo(ctx.get_help())
            return
        from gpusess.cli.attach import open_cockpit

        open_cockpit(None)


def main() -> None:
    """The console script: errors become one clear message and an exit status."""
    try:
        status = cli(standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except GpusessError as exc:
        from gpusess.analysis.text import clean_block

        # It may name what an instance named: nothing of that reaches the terminal as a command to it.
        click.echo(f"gpusess: {clean_block(exc.message)}", err=True)
        if exc.hint:
            click.echo(f"  next: {clean_block(exc.hint)}", err=True)
        sys.exit(exc.exit_code)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): nothing is left to say, not even at exit.
        sys.stdout = None
        sys.exit(0)
    sys.exit(status if isinstance(status, int) else 0)
