"""What is said of a session: as a dict for `--json`, and as lines for a person. Pure; states come from the
reducers."""

from __future__ import annotations

from typing import Any

from gpusess.analysis.intervals import wilson
from gpusess.analysis.run_state import Expected, RunState
from gpusess.analysis.text import clean
from gpusess.sessions.board import RunView, SessionView
from gpusess.sessions.states import State
from gpusess.sessions.training_summary import training_facts, training_lines


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
        "instances": [
            {"name": r.name, "provider": r.provider, "asked": r.asked, "ended": r.ended, "price": r.price}
            | {"outcome": r.outcome, "deadline": r.deadline}
            for r in view.rentals
        ],
        "lease": row.options.get("lease"),
        "host_key": row.options.get("host_key"),
        "notice": row.options.get("notice"),
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
        "forced": state.forced,
        "expected": {"low": state.expected.low, "high": state.expected.high, "says": state.expected.says}
        if state.expected
        else None,
        "alarm": {"message": state.alarm.message, "causes": list(state.alarm.causes)}
        if state.alarm
        else None,
        "training": training_facts(state.train),
        "asked": [asked._asdict() for asked in run.asked],
        "sweep": sweep_facts(state),
        "oracle": state.best.oracle,
        "reranked": state.best.reranked(),
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
    forced = " FORCED" if state.forced else ""
    return (
        f"{100 * state.accuracy:.1f} % (95% Wilson {100 * low:.1f} - {100 * high:.1f}, "
        f"{state.right} of {state.graded}){forced}"
    )


def expected_text(expected: Expected) -> str:
    """`60.0 % (the spec)`, `57.3 - 62.7 % (the baseline base)`."""
    low, high = f"{100 * expected.low:.1f}", f"{100 * expected.high:.1f}"
    return f"{low if low == high else f'{low} - {high}'} % ({clean(expected.says)})"


def best_text(state: RunState) -> str:
    """`random pick 25.0 %, energy 31.2 % (33 % of the gap), oracle 44.0 %`; empty for one answer a sample.

    The gap is that between the random pick and the oracle.
    """
    oracle, pick = state.best.oracle, state.accuracy
    if oracle is None or pick is None:
        return ""
    said = [f"random pick {100 * pick:.1f} %"]
    for name, share in state.best.reranked().items():
        closed = f" ({100 * (share - pick) / (oracle - pick):.0f} % of the gap)" if oracle > pick else ""
        said.append(f"{name} {100 * share:.1f} %{closed}")
    return ", ".join([*said, f"oracle {100 * oracle:.1f} %"])


def alarm_lines(state: RunState) -> list[str]:
    """The alarm and what may be the matter; empty where none was raised."""
    if not state.alarm:
        return []
    return [clean(state.alarm.message), *(f"maybe: {clean(cause)}" for cause in state.alarm.causes)]


def asked_texts(run: RunView, now: float) -> list[str]:
    """What was asked of it and is not done: `pause at a checkpoint, 0:12 ago: it waits for the link`."""
    return [
        f"{asked.what}, {duration_text(now - asked.at)} ago: {clean(asked.stands)}" for asked in run.asked
    ]


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
        lines.append(f"error     {clean(row.error)}")
        lines += [f"next      {clean(row.hint)}"] if row.state is not State.TERMINATED else []
    for run in view.runs:
        lines += _run_lines(run)
        lines += [f"asked     to {text}" for text in asked_texts(run, view.now)]
    end = row.ended or view.now
    if row.launched:
        took = duration_text(end - row.launched)
        lines.append(f"took      {took} from launch to {'its end' if row.ended else 'now'}")
    else:
        lines.append("took      nothing was launched")
    bills = ", and it goes on billing" if view.bills and row.price else ""
    several = sum(rental.existed for rental in view.rentals)
    over = f" over {several} instances" if several > 1 else ""
    lines.append(f"cost      ${view.spent:.2f} at ${row.price:.2f}/h{over}{bills}")
    return lines + _instance_lines(view)


def _instance_lines(view: SessionView) -> list[str]:
    """What a person should know of the instance while it lives."""
    options, lines = view.row.options, []
    if view.bills and view.row.price and options.get("lease"):
        lines.append(f"lease     {clean(options['lease'])}")
    if options.get("notice") and view.bills:
        lines.append(f"warning   the provider takes the instance away: {clean(options['notice'])}")
    if "first use" in (options.get("host_key") or ""):
        lines.append(f"warning   host key {clean(options['host_key'])}: nothing vouches for it")
    return lines


def _unread(state: RunState) -> str:
    """Why there was no answer to read: three different things, and none of them is `wrong`."""
    rest = state.no_answer - state.truncated - state.empty
    counts = ((state.truncated, "truncated"), (state.empty, "empty"), (rest, "could not be parsed"))
    return ", ".join(f"{count} {what}" for count, what in counts if count)


def sweep_lines(state: RunState) -> list[str]:
    """Of a sweep: each checkpoint's accuracy, and what was passed over."""
    assert state.sweep is not None
    lines = [f"results   {state.done} of {state.total}, over {len(state.sweep.arms)} checkpoints"]
    for arm in state.sweep.arms:
        tally = state.categories[arm.name]
        if tally.graded:
            low, high = wilson(tally.right, tally.graded)
            band = f"{100 * low:.1f} - {100 * high:.1f}"
            share = f"{100 * tally.right / tally.graded:.1f} % ({band}, {tally.right} of {tally.graded})"
            lines.append(f"          {clean(arm.name)}: {share}")
    return lines + [f"passed    over {clean(p.name)}: {clean(p.reason)}" for p in state.sweep.passed_over]


def sweep_facts(state: RunState) -> dict[str, Any] | None:
    """The same for a program."""
    if state.sweep is None:
        return None
    arms = [(arm, state.categories[arm.name]) for arm in state.sweep.arms]
    return {
        "arms": [
            {"name": arm.name, "step": arm.step, "right": tally.right, "graded": tally.graded}
            | {"wilson95": list(wilson(tally.right, tally.graded)) if tally.graded else None}
            for arm, tally in arms
        ],
        "passed_over": [passed._asdict() for passed in state.sweep.passed_over],
    }


def _run_lines(run: RunView) -> list[str]:
    state = run.state
    what = f"{clean(state.task)} with {clean(state.model)}" if state.task else "nothing planned yet"
    lines = [f"run       {run.row.name}: {what}, {run.row.status}"]
    if run.row.detail or state.message:
        lines.append(f"why       {clean(run.row.detail or state.message)}")
    if state.train:
        lines += training_lines(state.train)
    elif state.sweep:
        lines += sweep_lines(state)
    elif state.total:
        rest = f"{state.right} right, {state.wrong} wrong, {state.no_answer} without an answer"
        extra = f" ({_unread(state)})" if state.no_answer else ""
        failed = f", {state.failed} failed" if state.failed else ""
        lines.append(f"results   {state.done} of {state.total}: {rest}{extra}{failed}")
        lines.append(f"accuracy  {accuracy_text(state)}")
        if state.expected:
            lines.append(f"expected  {expected_text(state.expected)}")
        if best := best_text(state):
            lines.append(f"best of {state.candidates:<2}{best}")
    lines += [f"forced    {clean(text.removeprefix('Forced: '))}" for text in state.forced]
    lines += [f"{'' if i else 'ALARM':<10}{text}" for i, text in enumerate(alarm_lines(state))]
    if state.disagree and not state.sweep:
        share = 100 * state.disagree / max(1, state.graded)
        lines.append(
            f"note      in {state.disagree} results ({share:.1f} %) another rule found another answer"
        )
    if len(state.codes) > 1:
        trees = ", then ".join(clean(tree)[:12] for tree in state.codes)
        lines.append(f"note      the code was changed between its attempts: {trees}")
    if state.crashes:
        lines.append(f"note      the worker died {state.crashes} times and went on each time")
    lines.append(f"files     {run.mirror}")
    return lines
