"""`gpusess ssh`: a shell on a session's instance, through the user's own ssh, with the host key pinned."""

from __future__ import annotations

import os

import click

from gpusess.cli.complete import session_names
from gpusess.errors import SessionError


@click.command("ssh", context_settings={"ignore_unknown_options": True})
@click.argument("session", shell_complete=session_names)
@click.argument("remote_command", nargs=-1, type=click.UNPROCESSED)
def command(session: str, remote_command: tuple[str, ...]) -> int:
    """Open a shell on the instance of SESSION, or run REMOTE_COMMAND there."""
    from gpusess.sessions.intents import DriverIntents
    from gpusess.sessions.start import open_store

    store = open_store()
    row = store.find(session)
    argv = DriverIntents(store).ssh_argv(row.id)
    if argv is None or row.ended is not None:
        raise SessionError(
            f"{row.name} has no instance now (it is {row.state})", "`gpusess status` lists them"
        )
    argv += [" ".join(remote_command)] if remote_command else []
    try:
        os.execvp(argv[0], argv)
    except FileNotFoundError:
        raise SessionError("there is no `ssh` program here", "install OpenSSH's client") from None
