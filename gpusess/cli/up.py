"""`gpusess up`: start the session that a spec describes, and watch it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gpusess.sessions.store import Store
    from gpusess.spec import Resources


@click.command("up")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--headless", is_flag=True, help="Progress lines on stderr, a summary on stdout.")
@click.option("--detach", is_flag=True, help="Start it and return at once.")
@click.option(
    "--wait",
    metavar="LIMIT",
    is_flag=False,
    flag_value="24h",
    help="Wait for capacity, at most so long (90s, 30m, 2h; alone: 24h).",
)
@click.option("--force", is_flag=True, help="Go on where answer formats disagree; the numbers are marked.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object (implies --headless).")
def command(spec: Path, headless: bool, detach: bool, wait: str | None, force: bool, as_json: bool) -> int:
    """Start the session that the file SPEC describes, and watch it.

    The session does not need this command: it goes on when the command is left or killed.
    """
    from gpusess.spec import load_spec

    limit = None if wait is None else _duration(wait)
    loaded = load_spec(spec)
    shown = headless or as_json
    return run_session(loaded, spec, headless=shown, detach=detach, as_json=as_json, wait=limit, force=force)


def _duration(text: str) -> float:
    from gpusess.spec.models import seconds

    try:
        return seconds(text)
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is no duration such as 90s, 30m or 2h", param_hint="--wait"
        ) from None


def run_session(
    spec: object,
    path: Path,
    *,
    headless: bool,
    detach: bool = False,
    as_json: bool = False,
    wait: float | None = None,
    force: bool = False,
) -> int:
    """Write the session down, start its driver, and watch; the exit status."""
    from gpusess.secrets import resolve_secrets
    from gpusess.sessions.start import ensure_driver, new_session, open_store
    from gpusess.spec import Spec

    assert isinstance(spec, Spec)
    # What would stop the session's driver is found here, before anything is written down or rented.
    provider = usable_provider(spec.resources)
    resolve_secrets(spec.secrets)
    store = open_store()
    options: dict[str, object] = {} if wait is None else {"wait": wait}
    if force:
        options["force"] = True
    text = path.read_text(encoding="utf-8")
    session_id = new_session(store, spec, text, path, provider=provider, options=options)
    name = store.session(session_id).name
    ensure_driver(session_id)
    if detach:
        click.echo(name)
        return 0
    return show(store, session_id, headless=headless, as_json=as_json)


def usable_provider(resources: Resources) -> str:
    """The first of the spec's providers that can be used; the others are tried at launch too.

    Raises what stands in the way of the only one, or of the last one.
    """
    from gpusess.errors import AuthRefused
    from gpusess.providers import open_provider

    usable, refused = [], None
    for name in resources.provider:
        try:
            open_provider(name, resources.options_for(name))
            usable.append(name)
        except AuthRefused as exc:
            refused = exc
            if len(resources.provider) > 1:
                click.echo(f"{name} is left out: {exc.message}", err=True)
    if not usable:
        assert refused is not None
        raise refused
    return usable[0]


def show(
    store: Store,
    session_id: str,
    *,
    headless: bool,
    as_json: bool,
    only_new: bool = False,
    quiet: bool = False,
) -> int:
    """Watch a session that is being driven, in the cockpit or line by line; the exit status.

    quiet: no summary at the end, since the caller has a better one.
    """
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
    if not quiet:
        watch.print_summary(view, as_json)
    return watch.exit_status(view)
