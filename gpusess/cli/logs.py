"""`gpusess logs`: a session's logs, merged by time."""

from __future__ import annotations

import json
import time
from datetime import datetime

import click

from gpusess.analysis.logs import LogLine
from gpusess.cli.complete import session_names
from gpusess.sessions.board import Board
from gpusess.sessions.states import State

FOLLOW_EVERY = 0.25


SOURCES = ("local", "ssh", "setup", "agent", "worker")


@click.command("logs")
@click.argument("session", required=False, shell_complete=session_names)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the session has ended.")
@click.option(
    "-n", "--lines", default=200, show_default=True, help="How many of the last lines to begin with."
)
@click.option("--source", type=click.Choice(SOURCES), help="Only this source.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(session: str | None, follow: bool, lines: int, source: str | None, as_json: bool) -> int:
    """Print the logs of SESSION (default: the newest one) as they have come home."""
    from gpusess.sessions.start import open_store

    store = open_store()
    row = store.find(session)
    board = Board(store)
    seen = _print(board, row.id, lines, source, as_json, after=0)
    while follow:
        over = store.session(row.id).state in (State.TERMINATED, State.FAILED)
        seen = _print(board, row.id, None, source, as_json, after=seen)
        if over:
            return 0
        time.sleep(FOLLOW_EVERY)
    return 0


def _print(
    board: Board, session_id: str, last: int | None, source: str | None, as_json: bool, after: int
) -> int:
    """Print the lines that came after the given order; the order of the newest one."""
    book = board.logs(session_id)
    fresh = [line for line in book.lines if line.order > after and source in (None, line.source)]
    for line in fresh if last is None else fresh[-last:] if last else []:
        click.echo(_text(line, as_json))
    return max((line.order for line in book.lines), default=after)


def _text(line: LogLine, as_json: bool) -> str:
    if as_json:
        fields = {"ts": line.ts, "level": line.level, "source": line.source, "text": line.text}
        return json.dumps(fields, ensure_ascii=False)
    stamp = datetime.fromtimestamp(line.ts).strftime("%H:%M:%S")
    return f"{stamp} {line.level:<7} {line.source:<6} {line.text}"
