"""`gpusess status`: sessions, their runs and what they cost."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from gpusess.analysis.text import clean, size
from gpusess.cli.complete import session_names
from gpusess.sessions import code_facts
from gpusess.sessions.board import Board, FleetView, SessionView
from gpusess.sessions.summary import asked_texts, duration_text
from gpusess.sessions.traffic import Coming, Received, Sent, Traffic

LISTED = 3
"""Checkpoints that came home, of which so much is said."""


@click.command("status")
@click.argument("session", required=False, shell_complete=session_names)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--all", "everything", is_flag=True, help="Ended sessions too (the last ten are shown anyway).")
def command(session: str | None, as_json: bool, everything: bool) -> int:
    """Show all sessions, or one in full."""
    from gpusess.sessions import traffic
    from gpusess.sessions.start import open_store
    from gpusess.sessions.summary import session_facts, summary_lines

    store = open_store()
    wanted = store.find(session).id if session else None
    fleet = Board(store).refresh(budget=1 << 40)
    if wanted:
        view = fleet.session(wanted)
        assert view is not None
        moved = traffic.read(wanted, [run.row.id for run in view.runs])
        if as_json:
            code = {run.row.id: code_facts.read(run.mirror) for run in view.runs}
            click.echo(json.dumps(session_facts(view) | _moved_facts(moved) | {"code": code}))
        else:
            click.echo("\n".join([*summary_lines(view), *_moved_lines(view, moved), *_now(view)]))
    elif as_json:
        facts = [session_facts(view) for view in fleet.sessions]
        from gpusess.cli.instances import stranger_facts

        unknown = [stranger_facts(stranger) for stranger in fleet.strangers]
        totals = {"burn": fleet.burn, "spent_today": fleet.spent_today}
        click.echo(json.dumps({**totals, "sessions": facts, "unknown": unknown}))
    else:
        _table(fleet, everything)
    return 0


def _now(view: SessionView) -> list[str]:
    if view.needs_driver:
        return [f"now       cut off: nobody drives it; `gpusess resume {view.row.name}`"]
    return [f"now       {view.row.detail}"] if view.row.detail else []


def _moved_facts(moved: Traffic) -> dict[str, Any]:
    return {name: [asdict(one) for one in getattr(moved, name)] for name in ("sent", "received", "coming")}


def _moved_lines(view: SessionView, moved: Traffic) -> list[str]:
    """Each tree as it was sent last, the newest checkpoints that came, and what is on its way."""
    noted = [(run.row.name, code_facts.read(run.mirror)) for run in view.runs]
    lines = [f"code      {name}: {code_facts.text(facts)}" for name, facts in noted if facts]
    lines += [
        f"sent      {clean(tree.source)}: {size(tree.sent_bytes)} of {size(tree.bytes)}{_pace(tree)}"
        for tree in {tree.source: tree for tree in moved.sent}.values()
    ]
    for one in moved.received[-LISTED:]:
        amount = f"{size(one.received)} for {size(one.bytes)}{_pace(one)}"
        lines.append(f"came      checkpoint {clean(one.name)}: {amount}; {clean(one.how)}")
    return lines + [f"coming    checkpoint {clean(one.name)}: {_coming(view, one)}" for one in moved.coming]


def _pace(one: Sent | Received) -> str:
    """` in 0:04, 12.0 MB/s`; empty where it took no time to speak of."""
    return f" in {duration_text(one.seconds)}, {size(one.rate)}/s" if one.rate and one.seconds >= 1 else ""


def _coming(view: SessionView, one: Coming) -> str:
    """`120.0 MB of 274.1 MB, 12.0 MB/s, 0:13 to go`."""
    amount = f"{size(one.done)} of {size(one.bytes)}"
    silent = one.silent(view.now)
    if not view.driven:
        return f"{amount}; cut off: nobody drives it"
    if silent is not None:
        return f"{amount}; nothing came for {duration_text(silent)}"
    left = "" if one.left is None else f", {duration_text(one.left)} to go"
    return f"{amount}, {size(one.rate)}/s{left}"


def _unknown(fleet: FleetView) -> None:
    """Instances that nobody here knows, as the providers listed them last."""
    for s in fleet.strangers:
        listed = duration_text(fleet.now - s.at)
        click.echo(
            f"unknown: {s.provider} {clean(s.instance.id)} ({clean(s.instance.name)}) {s.what};"
            f" ${s.instance.price:.2f}/h, listed {listed} ago; `gpusess instances` shows what can be done"
        )


def _table(fleet: FleetView, everything: bool) -> None:
    if not fleet.sessions:
        _unknown(fleet)
        click.echo("no sessions yet: `gpusess demo` shows the whole way, `gpusess up SPEC` starts yours")
        return
    ended = [v for v in fleet.sessions if v.kind == "done"]
    hidden = set() if everything else {v.row.id for v in ended[10:]}
    rows: list[tuple[str, ...]] = [
        ("NAME", "STATE", "JOB", "PROVIDER", "RESULTS", "ACCURACY (95% WILSON)", "$/H", "SPENT")
    ]
    rows += [_row(view) for view in fleet.sessions if view.row.id not in hidden]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if hidden:
        click.echo(f"… and {len(hidden)} ended ones (--all)")
    for view in fleet.sessions:
        for run in view.runs:
            for text in asked_texts(run, view.now):
                click.echo(f"asked: {view.row.name}/{run.row.name} to {text}")
    _unknown(fleet)
    click.echo(f"burn ${fleet.burn:.2f}/h, spent today ${fleet.spent_today:.2f}")


def _row(view: SessionView) -> tuple[str, ...]:
    row, run = view.row, view.run
    state = f"{row.state} (cut off)" if view.needs_driver else str(row.state)
    results = f"{run.state.done}/{run.state.total}" if run and run.state.total else "-"
    accuracy = "-"
    if run and run.state.band and run.state.accuracy is not None:
        low, high = run.state.band
        accuracy = f"{100 * run.state.accuracy:.1f} % ({100 * low:.1f} - {100 * high:.1f})"
        accuracy += " FORCED" if run.state.forced else ""
    price = f"{row.price:.2f}" if view.bills else "-"
    return (row.name, state, row.job, row.provider, results, accuracy, price, f"{view.spent:.2f}")
