"""`gpusess up`: start the session that a spec describes, and watch it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gpusess.sessions.store import Store


@click.command("up")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--headless", is_flag=True, help="Progress lines on stderr, a summary on stdout.")
@click.option("--detach", is_flag=True, help="Start it and return at once.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object (implies --headless).")
def command(spec: Path, headless: bool, detach: bool, as_json: bool) -> int:
    """Start the session that the file SPEC describes, and watch it.

    The session does not need this command: it goes on when the command is left or killed.
    """
    from gpusess.spec import load_spec

    loaded = load_spec(spec)
    return run_session(loaded, spec, headless=headless or as_json, detach=detach, as_json=as_json)


def run_session(
    spec: object, path: Path, *, headless: bool, detach: bool = False, as_json: bool = False
) -> int:
    """Write the session down, start its driver, and watch; the exit status."""
    from gpusess.providers import open_provider
    from gpusess.secrets import resolve_secrets
    from gpusess.sessions.start import ensure_driver, new_session, open_store
    from gpusess.spec import Spec

    assert isinstance(spec, Spec)
    # What would stop the session's driver is found here, before anything is written down or rented.
    open_provider(spec.resources.provider, spec.resources.options)
    resolve_secrets(spec.secrets)
    store = open_store()
    session_id = new_session(store, spec, path.read_text(encoding="utf-8"), path)
    name = store.session(session_id).name
    ensure_driver(session_id)
    if detach:
        click.echo(name)
        return 0
    return show(store, session_id, headless=headless, as_json=as_json)


def show(store: Store, session_id: str, *, headless: bool, as_json: bool, only_new: bool = False) -> int:
    """Watch a session that is being driven, in the cockpit or line by line; the exit status."""
    from gpusess.cli import watch

    name = store.session(session_id).name
    if headless or not sys.stdout.isatty():
        try:
            view = watch.watch(store, session_id, only_new=only_new)
        except KeyboardInterrupt:
            click.echo(watch.left_alone(name), err=True)
            return 130
    else:
        from gpusess.cli.attach import open_cockpit

        view = open_cockpit(session_id)
        if not watch.is_over(view):
            click.echo(watch.left_alone(name), err=True)
    watch.print_summary(view, as_json)
    return watch.exit_status(view)
