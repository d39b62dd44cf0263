"""What may be asked of a training that runs, and the dialog that asks it. The harmless answer has the focus;
what is done stands in the run's journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import BindingType

from gpusess.analysis.text import clean
from gpusess.analysis.training_state import TrainState
from gpusess.sessions.asks import IGNORED, LOWER, goes_back_to, in_words, rollback, what_goes
from gpusess.sessions.board import RunView, SessionView
from gpusess.tui import fmt
from gpusess.tui.dialogs import Choice, Dialog
from gpusess.tui.keys import Keys, bindings
from gpusess.tui.spans import Line, wrapped

if TYPE_CHECKING:
    from gpusess.tui.app import CockpitApp

_WIDTH = 58


class SteerDialog(Dialog):
    BINDINGS: ClassVar[list[BindingType]] = bindings("steer")


def ask(app: CockpitApp, session: SessionView, run: RunView) -> None:
    """Open the dialog, and pass its answer on."""
    train = run.state.train
    assert train is not None
    session_id, run_id, request = session.row.id, run.row.id, asks(train)

    def answered(answer: str | None) -> None:
        if answer == "stop":
            app.ask(lambda: app.intents.stop_run(session_id, run_id), "asked the run to stop")
        elif answer in request:
            wanted = request[answer]
            app.ask(lambda: app.intents.steer(session_id, run_id, wanted), f"asked to {in_words(wanted)}")

    app.push_screen(steer_dialog(session, run, app.keys), answered)


def asks(train: TrainState) -> dict[str, dict[str, Any]]:
    """Answer → the fields of `train_protocol.Ask`."""
    ignore = {"action": "ignore", "steps": IGNORED}
    return {"pause": {"action": "pause"}, "rollback": rollback(train), "ignore": ignore}


def steer_dialog(session: SessionView, run: RunView, keys: Keys) -> SteerDialog:
    """Says what is wrong, where a rollback would lead, and what bills on."""
    train = run.state.train
    assert train is not None
    alarm, step = train.alarm, goes_back_to(train, rollback(train))
    body: list[Line] = [[(run.row.name, "bold"), (f"   step {train.step} of {train.steps}", "")]]
    if alarm:
        body += wrapped(
            f"▲ {clean(alarm.rule)} at step {alarm.step}: {clean(alarm.message)}", "err", _WIDTH, 3
        )
    else:
        body.append([("No alarm.", "dim")])
    bill = f"bills {fmt.money(session.row.price)}/h" if session.bills else "bills nothing"
    body += wrapped(f"The instance {bill}. When the run ends, the spec's `after` decides.", "dim", _WIDTH, 2)
    for asked in run.asked:
        body += wrapped(f"◐ asked to {asked.what}: {asked.stands}", "info", _WIDTH, 2)
    to = f"step {step}" if step else "the beginning"
    choices: list[Choice] = [
        ("steer.no", "No, leave it as it is", "bold"),
        ("steer.ignore", f"Ignore alarms for {IGNORED} steps", ""),
        ("steer.pause", "Pause: a checkpoint now, then the run ends", ""),
        ("steer.rollback", f"Back to {to}, lr × {LOWER:g}; {what_goes(train, step)}", "warn"),
        ("steer.stop", "Stop the run; steps since the checkpoint are lost", "err"),
    ]
    return SteerDialog("Steer the training", body, choices, keys)
