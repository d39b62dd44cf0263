"""What is said of a session: as a dict for `--json`, and as lines for a person. Pure; states come from the
reducers."""

from __future__ import annotations

from typing import Any

from gpusess.analysis.run_state import RunState
from gpusess.analysis.text import clean
from gpusess.sessions.board import RunView, SessionView


def session_facts(view: SessionView) -> dict[str, Any]:
    """Plain values; times in seconds since the epoch, money in US dollars."""
    row = view.row
    return {
        "id": row.id,
        "name": row.name,
        "job": row.job,
        "provider": row.provider,
        "state": str(row.state),
        "since": row.since,
        "detail": row.detail,
        "driven": view.driven,
        "bills": view.bills,
        "price_per_hour": row.price,
        "spent": round(view.spent, 6),
        "created": row.created,
        "launched": row.launched,
        "ended": row.ended,
        "instance": row.instance_id,
        "error": row.error,
        "hint": row.hint,
        "runs": [run_facts(run) for run in view.runs],
    }


def run_facts(run: RunView) -> dict[str, Any]:
    """One run; `accuracy` and `wilson95` are None until there is a graded result."""
    state = run.state
    band = state.band
    return {
        "id": run.row.id,
        "name": run.row.name,
        "status": run.row.status,
        "detail": run.row.detail or state.message,
        "task": state.task,
        "model": state.model,
        "weights": state.weights,
        "data": state.data,
        "engine": state.engine,
        "dtype": state.dtype,
        "rule": state.headline,
        "total": state.total,
        "done": state.done,
        "right": state.right,
        "wrong": state.wrong,
        "no_answer": state.no_answer,
        "truncated": state.truncated,
        "empty": state.empty,
        "failed": state.failed,
        "disagree": state.disagree,
        "accuracy": state.accuracy,
        "wilson95": list(band) if band else None,
        "tokens_in": state.tokens_in,
        "tokens_out": state.tokens_out,
        "tokens_per_second": state.tokens_per_second,
        "eta_seconds": state.eta,
        "attempts": state.attempt,
        "crashes": state.crashes,
        "paused": state.paused,
        "started": run.row.started,
        "ended": run.row.ended,
        "results": str(run.mirror / "journal.jsonl"),
        "damage": run.damage,
    }


def accuracy_text(state: RunState) -> str:
    """`62.1 % (95% Wilson 59.3 - 64.8, 819 of 1319)`; a dash until there is a graded result."""
    if state.accuracy is None or state.band is None:
        return "-"
    low, high = state.band
    return (
        f"{100 * state.accuracy:.1f} % (95% Wilson {100 * low:.1f} - {100 * high:.1f}, "
        f"{state.right} of {state.graded})"
    )


def duration_text(seconds: float | None) -> str:
    """`0:42`, `12:05`, `3:02:11`."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def summary_lines(view: SessionView) -> list[str]:
    """What was run, how it went, how long it took, what it cost, where the results lie."""
    row = view.row
    lines = [f"session   {row.name} ({row.job} on {row.provider}), {row.state}"]
    if row.error:
        lines += [f"error     {clean(row.error)}", f"next      {clean(row.hint)}"]
    for run in view.runs:
        lines += _run_lines(run)
    end = row.ended or view.now
    if row.launched:
        took = duration_text(end - row.launched)
        lines.append(f"took      {took} from launch to {'its end' if row.ended else 'now'}")
    else:
        lines.append("took      nothing was launched")
    bills = ", and it goes on billing" if view.bills and row.price else ""
    lines.append(f"cost      ${view.spent:.2f} at ${row.price:.2f}/h{bills}")
    return lines


def _run_lines(run: RunView) -> list[str]:
    state = run.state
    what = f"{clean(state.task)} with {clean(state.model)}" if state.task else "nothing planned yet"
    lines = [f"run       {run.row.name}: {what}, {run.row.status}"]
    if run.row.detail or state.message:
        lines.append(f"why       {clean(run.row.detail or state.message)}")
    if state.total:
        rest = f"{state.right} right, {state.wrong} wrong, {state.no_answer} without an answer"
        extra = f" ({state.truncated} truncated, {state.empty} empty)" if state.no_answer else ""
        failed = f", {state.failed} failed" if state.failed else ""
        lines.append(f"results   {state.done} of {state.total}: {rest}{extra}{failed}")
        lines.append(f"accuracy  {accuracy_text(state)}")
    if state.disagree:
        share = 100 * state.disagree / max(1, state.graded)
        lines.append(
            f"note      in {state.disagree} results ({share:.1f} %) another rule found another answer"
        )
    if state.crashes:
        lines.append(f"note      the worker died {state.crashes} times and went on each time")
    lines.append(f"files     {run.mirror}")
    return lines
