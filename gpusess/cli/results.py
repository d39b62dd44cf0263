"""`gpusess results`: a run's results, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpusess import paths
from gpusess.analysis.text import clean
from gpusess.cli.complete import session_names
from gpusess.errors import SessionError
from gpusess.sessions.store import RunRow, Store
from remote_agent.journal import Record

if TYPE_CHECKING:
    from gpusess.sessions.result_index import ResultIndex


@click.command("results")
@click.argument("session", required=False, shell_complete=session_names)
@click.option("--run", "run_name", help="The run (default: the session's first).")
@click.option(
    "--verdict", type=click.Choice(["right", "wrong", "no_answer", "failed"]), help="Only these results."
)
@click.option(
    "--filter", "words", help='Only what passes, as on the Results screen: `wrong tok>400 "per hour"`.'
)
@click.option("--json", "as_json", is_flag=True, help="The records themselves, as JSONL.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there instead of stdout.")
def command(
    session: str | None,
    run_name: str | None,
    verdict: str | None,
    words: str | None,
    as_json: bool,
    output: Path | None,
) -> int:
    """Print the results of SESSION (default: the newest one) that have come home."""
    from gpusess.sessions.result_index import ResultIndex
    from gpusess.sessions.start import open_store

    store = open_store()
    row = store.find(session)
    run = _run(store, row.id, run_name)
    with ResultIndex(paths.run_dir(row.id, run.id)) as index:
        index.read_all()
        rows = _rows(index, " ".join(filter(None, (_STATES.get(verdict or ""), words))))
        records = (index.record(at) for at in rows)
        lines = (json.dumps(r, ensure_ascii=False) if as_json else _line(r) for r in records)
        if output:
            with output.open("w", encoding="utf-8", errors="backslashreplace") as file:
                count = sum(bool(file.write(f"{line}\n")) for line in lines)
            click.echo(f"{count} results in {output}", err=True)
        else:
            for line in lines:
                click.echo(line)
        if index.damage:
            raise SessionError(
                index.damage, f"`gpusess pull {row.name}` brings a whole copy while the instance lives"
            )
    return 0


_STATES = {"right": "right", "wrong": "wrong", "no_answer": "no-answer", "failed": "failed"}
"""A verdict as the filter's language has it."""


def _rows(index: ResultIndex, words: str) -> Iterable[int]:
    from gpusess.analysis.result_filter import FilterError, parse
    from gpusess.analysis.result_query import matching

    metrics = dict.fromkeys(name for frame in index.frames for name in frame.metrics)
    try:
        terms = parse(words, metrics)
    except FilterError as exc:
        raise SessionError(
            f"{words!r}, character {exc.at + 1}: {exc}", "docs/results-screen.md has the language"
        ) from None
    return (at for frame in index.frames for at in matching(terms, frame, index.read))


def _run(store: Store, session_id: str, name: str | None) -> RunRow:
    runs = store.runs(session_id)
    for run in runs:
        if name in (None, run.name, run.id):
            return run
    raise SessionError(f"no run '{name}'", f"runs: {', '.join(run.name for run in runs)}")


def _line(record: Record) -> str:
    if record["kind"] == "failed":
        return f"{record['sample']:<10} failed     {clean(record['error'], 200)}"
    found = (
        clean(str(record["extracted"]), 24) if record["extracted"] is not None else f"({record['reason']})"
    )
    text = clean(record["completion"].replace("\n", " ⏎ "), 100)
    mark, gold = "?" if record["disagree"] else " ", clean(record["gold"], 12)
    return f"{record['sample']:<10} {record['verdict']:<9}{mark} {found:>12} / {gold:<12} {text}"
