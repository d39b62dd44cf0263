"""`gpusess steer`: what a user asks of a training that runs. It is written down, and the session's driver
passes it on; here it is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gpusess.analysis.text import clean
from gpusess.cli.complete import session_names
from gpusess.errors import SessionError
from gpusess.sessions import asks

if TYPE_CHECKING:
    from gpusess.analysis.training_state import TrainState
    from gpusess.sessions.board import Board, RunView, SessionView
    from gpusess.sessions.store import Store

LOOK_EVERY = 0.25
DRIVER_PATIENCE = 20.0
"""Seconds that nobody may drive the session before that is said."""


@click.command("steer")
@click.argument("action", type=click.Choice(["ignore", "pause", "rollback", "stop"]))
@click.argument("session", required=False, shell_complete=session_names)
@click.option(
    "--steps", type=click.IntRange(1), default=asks.IGNORED, show_default=True,
    help="For ignore: how many.",
)  # fmt: skip
@click.option(
    "--lr", type=click.FloatRange(0, 1, min_open=True), default=asks.LOWER, show_default=True,
    help="For rollback: the factor of the learning rate.",
)  # fmt: skip
@click.option(
    "--before", type=click.IntRange(0), metavar="STEP",
    help="For rollback: to a checkpoint of this step or an earlier one.",
)  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--detach", is_flag=True, help="Do not wait until it is done.")
def command(
    action: str, session: str | None, steps: int, lr: float, before: int | None, yes: bool, detach: bool
) -> int:
    """Ask the training of SESSION, or of SESSION/RUN (default: the only one that runs), to change its course.

    ignore: the guard finds nothing for some steps. pause: a checkpoint now, then the run ends. rollback: back
    to an earlier checkpoint, with a lower learning rate. stop: the run ends at once.
    """
    from gpusess.sessions.board import Board
    from gpusess.sessions.intents import DriverIntents
    from gpusess.sessions.start import open_store

    store = open_store()
    board = Board(store)
    view, run = _training(store, board, session)
    train = run.state.train
    assert train is not None
    ask: dict[str, Any] = {"action": action}
    if action == "rollback":
        ask = asks.rollback(train, lr, before)
    elif action == "ignore":
        ask["steps"] = steps
    _refuse_twice(view, run, action)
    for line in _stands(view, run, train):
        click.echo(line, err=True)
    if not yes and not click.confirm(f"{_name(view, run)}: {_would(train, ask)}?", default=False):
        return 1
    intents = DriverIntents(store)
    if action == "stop":
        intents.stop_run(view.row.id, run.row.id)
    else:
        intents.steer(view.row.id, run.row.id, ask)
    click.echo(f"{_name(view, run)}: asked to {asks.in_words(ask)}", err=True)
    if detach:
        return 0
    try:
        return _wait(board, view, run, action)
    except KeyboardInterrupt:
        said = f"`gpusess status {view.row.name}` shows when it is done"
        click.echo(f"\nleft. What was asked stands: {said}", err=True)
        raise


def _training(store: Store, board: Board, name: str | None) -> tuple[SessionView, RunView]:
    """The training that is meant, and that runs. Raises SessionError."""
    fleet = board.refresh(budget=1 << 40)
    if name is None:
        found = [
            (view, run)
            for view in fleet.sessions
            for run in view.runs
            if run.state.train and _runs(view, run)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(_name(*one) for one in found)
            raise SessionError(f"{len(found)} trainings run: {names}", "name one of them")
        raise SessionError("no training runs: there is nothing to steer", "`gpusess status` shows what runs")
    session, _, wanted = name.partition("/")
    view = fleet.session(store.find(session).id)
    assert view is not None
    runs = [run for run in view.runs if not wanted or wanted in (run.row.name, run.row.id)]
    if not runs:
        known = ", ".join(run.row.name for run in view.runs)
        raise SessionError(f"no run '{wanted}' in {view.row.name}", f"its runs: {known}")
    trainings = [run for run in runs if run.state.train]
    running = [run for run in trainings if _runs(view, run)]
    if running:
        return view, running[0]
    raise _no_training(view, trainings or runs)


def _runs(view: SessionView, run: RunView) -> bool:
    from gpusess.sessions.states import ENDED

    return run.row.status == "running" and not run.state.outcome and view.row.state not in ENDED


def _no_training(view: SessionView, runs: list[RunView]) -> SessionError:
    name, run = view.row.name, runs[-1]
    if run.state.train is None:
        if run.row.status in ("pending", "running"):
            begun = run.row.status == "running"
            what = "is no training, or has taken no step yet" if begun else "has not begun"
            return SessionError(f"{_name(view, run)} {what}", f"`gpusess status {name}` shows how far it is")
        return SessionError(f"{name} has no training that could be steered", f"`gpusess status {name}`")
    how = run.state.outcome or run.row.status
    hint = f"`gpusess resume {name}` goes on from its last checkpoint"
    if how == "complete":
        hint = f"`gpusess status {name}` shows how it went"
    return SessionError(f"{_name(view, run)} does not run: it is {how}", hint)


def _refuse_twice(view: SessionView, run: RunView, action: str) -> None:
    """To ask for the same again while the first is not done would do it twice."""
    from gpusess.sessions.summary import duration_text

    for asked in run.asked:
        if asked.action == action and not asked.dropped:
            ago = duration_text(view.now - asked.at)
            raise SessionError(
                f"{_name(view, run)} was asked to {asked.what} {ago} ago: {asked.stands}",
                f"`gpusess status {view.row.name}` shows when it is done",
            )


def _stands(view: SessionView, run: RunView, train: TrainState) -> Iterator[str]:
    """What whoever is asked has to know."""
    yield f"{_name(view, run)}: step {train.step} of {train.steps}"
    alarm = train.alarm
    if alarm:
        yield f"{clean(alarm.rule)} at step {alarm.step}: {clean(alarm.message)}"
    else:
        yield "no alarm"
    bills = f"bills ${view.row.price:.2f}/h" if view.bills else "bills nothing"
    yield f"the instance {bills}; when the run ends, the spec's `after` decides"
    if view.needs_driver:
        yield "nobody drives the session: a driver is started, and passes it on"


def _would(train: TrainState, ask: dict[str, Any]) -> str:
    """What it comes to, as far as is known here."""
    action = ask["action"]
    if action == "rollback":
        step = asks.goes_back_to(train, ask)
        to = f"step {step}" if step else "the beginning"
        return f"go back to {to} with the learning rate x {ask['lr']:g}; {asks.what_goes(train, step)}"
    if action == "ignore":
        return f"{asks.in_words(ask)} (not figures that are no numbers)"
    if action == "pause":
        return "make a checkpoint now, and end the run"
    saved = max((made.step for made in train.checkpoints), default=0)
    lost = train.step - saved
    are = "is" if lost == 1 else "are"
    return f"end the run at once; {asks.in_steps(lost)} since the last checkpoint {are} lost"


def _wait(board: Board, view: SessionView, run: RunView, action: str) -> int:
    """Until it is done, dropped, or the run has ended. 0: done."""
    from gpusess.sessions.training_summary import steer_text

    assert run.state.train is not None
    name, before, driven = _name(view, run), len(run.state.train.steers), time.monotonic()
    while True:
        now = board.refresh().session(view.row.id)
        assert now is not None
        here = next(one for one in now.runs if one.row.id == run.row.id)
        train = here.state.train
        for steer in train.steers[before:] if train else []:
            if steer.action == action:
                click.echo(f"{name}: done at {steer_text(steer)}")
                if action == "pause":
                    click.echo(f"`gpusess resume {view.row.name}` goes on from there", err=True)
                return 0
        asked_now = [asked for asked in here.asked if asked.action == action and asked.at >= view.now]
        dropped = [asked for asked in asked_now if asked.dropped]
        if dropped:
            raise SessionError(
                f"{name} was not asked to {dropped[-1].what}: {clean(dropped[-1].dropped)}",
                f"`gpusess status {view.row.name}` shows how it stands",
            )
        if here.row.status != "running":
            click.echo(f"{name}: {here.row.status} at step {train.step if train else 0}")
            return 0 if (action, here.row.status) == ("stop", "stopped") else 1
        driven = time.monotonic() if now.driven else driven
        if time.monotonic() - driven > DRIVER_PATIENCE:
            raise SessionError(
                f"nobody drives {view.row.name}: what was asked waits", f"`gpusess resume {view.row.name}`"
            )
        time.sleep(LOOK_EVERY)


def _name(view: SessionView, run: RunView) -> str:
    return f"{view.row.name}/{run.row.name}"
