"""`gpusess results`: a run's results, one a line."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gpusess import paths
from gpusess.analysis.text import clean
from gpusess.cli.complete import session_names
from gpusess.errors import SessionError
from gpusess.sessions.mirror import RunMirror
from gpusess.sessions.store import RunRow, Store
from remote_agent.journal import Record


@click.command("results")
@click.argument("session", required=False, shell_complete=session_names)
@click.option("--run", "run_name", help="The run (default: the session's first).")
@click.option(
    "--verdict", type=click.Choice(["right", "wrong", "no_answer", "failed"]), help="Only these results."
)
@click.option("--json", "as_json", is_flag=True, help="The records themselves, as JSONL.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there instead of stdout.")
def command(
    session: str | None, run_name: str | None, verdict: str | None, as_json: bool, output: Path | None
) -> int:
    """Print the results of SESSION (default: the newest one) that have come home."""
    from gpusess.sessions.start import open_store

    store = open_store()
    row = store.find(session)
    run = _run(store, row.id, run_name)
    found: list[Record] = []
    mirror = RunMirror(paths.run_dir(row.id, run.id), on_record=found.append)
    while mirror.refresh():
        pass
    kept = [r for r in found if r["kind"] in ("result", "failed") and verdict in (None, _verdict(r))]
    lines = (json.dumps(r, ensure_ascii=False) if as_json else _line(r) for r in kept)
    if output:
        output.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        click.echo(f"{len(kept)} results in {output}", err=True)
    else:
        for line in lines:
            click.echo(line)
    if mirror.damage:
        raise SessionError(
            mirror.damage, f"`gpusess pull {row.name}` brings a whole copy while the instance lives"
        )
    return 0


def _run(store: Store, session_id: str, name: str | None) -> RunRow:
    runs = store.runs(session_id)
    for run in runs:
        if name in (None, run.name, run.id):
            return run
    raise SessionError(f"no run '{name}'", f"runs: {', '.join(run.name for run in runs)}")


def _verdict(record: Record) -> str:
    return str(record["verdict"]) if record["kind"] == "result" else "failed"


def _line(record: Record) -> str:
    if record["kind"] == "failed":
        return f"{record['sample']:<10} failed     {clean(record['error'], 200)}"
    found = (
        clean(str(record["extracted"]), 24) if record["extracted"] is not None else f"({record['reason']})"
    )
    text = clean(record["completion"].replace("\n", " ⏎ "), 100)
    mark, gold = "?" if record["disagree"] else " ", clean(record["gold"], 12)
    return f"{record['sample']:<10} {record['verdict']:<9}{mark} {found:>12} / {gold:<12} {text}"
