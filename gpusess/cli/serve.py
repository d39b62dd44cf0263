"""`gpusess serve`: the cockpit in a browser on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import click

from gpusess import paths
from gpusess.cli.complete import session_names
from gpusess.errors import GpusessError, SessionError

if TYPE_CHECKING:
    from gpusess.tui.web.door import Door

PORT = 8717


@click.command("serve")
@click.argument("session", required=False, shell_complete=session_names)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: any free one."
)
@click.option(
    "--allow-actions", is_flag=True, help="Let the browser launch, stop and terminate, not only look."
)
@click.option(
    "--tabs", type=click.IntRange(1, 32), default=4, show_default=True, help="At most so many at once."
)
def command(session: str | None, port: int, allow_actions: bool, tabs: int) -> int:
    """Show the cockpit in a browser on this machine, on SESSION or on all sessions.

    Prints a link that lets one browser in, once; enter prints another one, ctrl+c ends it. Sessions go on.
    """
    try:
        import aiohttp  # noqa: F401
        import textual_serve  # noqa: F401
    except ImportError as exc:
        raise GpusessError(f"{exc.name} is not installed", "pip install 'gpusess[serve]'") from None
    from gpusess.sessions.start import open_store

    found = open_store().find(session).id if session else None
    argv = [sys.executable, "-m", "gpusess", "tab", *(["--allow-actions"] if allow_actions else [])]
    argv += [found] if found else []
    asyncio.run(_serve(argv, port, tabs, allow_actions))
    return 0


@click.command("tab", hidden=True)
@click.argument("session", required=False)
@click.option("--allow-actions", is_flag=True)
def tab(session: str | None, allow_actions: bool) -> int:
    """The app of one tab: started by `serve`, which speaks to it over its pipes."""
    if sys.stdin.isatty() or "TEXTUAL_DRIVER" not in os.environ:
        raise SessionError("`tab` is started by `gpusess serve`", "`gpusess attach` is for a terminal")
    from gpusess.tui.web.driver import end_with

    end_with(os.getppid())
    from gpusess.cli.attach import make_app
    from gpusess.sessions.start import open_store

    make_app(open_store(), session, look_only=not allow_actions).run()
    return 0


async def _serve(argv: list[str], port: int, tabs: int, allow_actions: bool) -> None:
    from aiohttp import web

    from gpusess.tui.web.door import Door
    from gpusess.tui.web.server import HOST, Server

    log = paths.private_dir(paths.home()) / "serve.log"
    log.touch(mode=0o600)
    # The door must know the port, and a free one is known only once it is bound.
    try:
        listening = socket.create_server((HOST, port))
    except OSError as exc:
        raise SessionError(f"port {port}: {exc.strerror}", "`--port 0` takes a free one") from None
    port = listening.getsockname()[1]
    door = Door(port)
    runner = web.AppRunner(Server(argv, door, log, tabs).application(), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    what = "can launch, stop and terminate" if allow_actions else "only looks"
    click.echo(f"the cockpit in a browser {what}; ctrl+c ends it, sessions go on")
    try:
        await _until_ended(f"http://{HOST}:{port}", door)
    finally:
        await runner.cleanup()


async def _until_ended(address: str, door: Door) -> None:
    """Until a signal comes; a line on the terminal asks for another link."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    _say_link(address, door)
    stdin = sys.stdin.fileno() if sys.stdin.isatty() else None
    if stdin is not None:
        loop.add_reader(stdin, _on_enter, address, door)
    await ended.wait()
    if stdin is not None:
        loop.remove_reader(stdin)


def _on_enter(address: str, door: Door) -> None:
    if sys.stdin.readline():
        _say_link(address, door)
    else:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def _say_link(address: str, door: Door) -> None:
    click.echo(f"open once (enter: another link): {address}{door.new_link()}")
