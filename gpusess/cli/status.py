"""`gpusess status`: sessions, their runs and what they cost."""

from __future__ import annotations

import json

import click

from gpusess.analysis.text import clean
from gpusess.cli.complete import session_names
from gpusess.sessions.board import Board, FleetView, SessionView
from gpusess.sessions.summary import duration_text


@click.command("status")
@click.argument("session", required=False, shell_complete=session_names)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--all", "everything", is_flag=True, help="Ended sessions too (the last ten are shown anyway).")
def command(session: str | None, as_json: bool, everything: bool) -> int:
    """Show all sessions, or one in full."""
    from gpusess.sessions.start import open_store
    from gpusess.sessions.summary import session_facts, summary_lines

    store = open_store()
    wanted = store.find(session).id if session else None
    fleet = Board(store).refresh(budget=1 << 40)
    if wanted:
        view = fleet.session(wanted)
        assert view is not None
        click.echo(
            json.dumps(session_facts(view)) if as_json else "\n".join([*summary_lines(view), *_now(view)])
        )
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
