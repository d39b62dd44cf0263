"""What may be asked of a training that runs, and the dialog that asks it. The harmless answer has the focus;
what is done stands in the run's journal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import BindingType

from gpusess.analysis.text import clean
from gpusess.analysis.training_health import limits_of
from gpusess.analysis.training_state import TrainState
from gpusess.sessions.board import RunView, SessionView
from gpusess.tui import fmt
from gpusess.tui.dialogs import Choice, Dialog
from gpusess.tui.keys import Keys, bindings
from gpusess.tui.spans import Line, wrapped

if TYPE_CHECKING:
    from gpusess.tui.app import CockpitApp

LOWER, IGNORED = 0.5, 50
"""The learning rate's factor at a rollback; steps for which alarms are ignored."""
_WIDTH = 58
_SAID = {
    "pause": "pause at a checkpoint",
    "rollback": "roll back",
    "ignore": f"ignore alarms for {IGNORED} steps",
}


class SteerDialog(Dialog):
    BINDINGS: ClassVar[list[BindingType]] = bindings("steer")


def ask(app: CockpitApp, session: SessionView, run: RunView, asked: Callable[[RunView, str], None]) -> None:
    """Open the dialog; `asked` is told what was asked for."""
    train = run.state.train
    assert train is not None
    session_id, run_id, request = session.row.id, run.row.id, asks(train)

    def answered(answer: str | None) -> None:
        if answer == "stop":
            app.ask(lambda: app.intents.stop_run(session_id, run_id), "asked the run to stop")
        elif answer in request:
            app.ask(
                lambda: app.intents.steer(session_id, run_id, request[answer]), f"asked to {_SAID[answer]}"
            )
            asked(run, _SAID[answer])

    app.push_screen(steer_dialog(session, run, app.keys), answered)


def asks(train: TrainState) -> dict[str, dict[str, Any]]:
    """Answer → the fields of `train_protocol.Ask`."""
    back: dict[str, Any] = {"action": "rollback", "lr": LOWER}
    before = sound_step(train)
    if before is not None:
        back["before"] = before
    return {"pause": {"action": "pause"}, "rollback": back, "ignore": {"action": "ignore", "steps": IGNORED}}


def sound_step(train: TrainState) -> int | None:
    """The last step from before the alarm's rule was broken; None without an alarm."""
    found = train.open_alarms
    if not found:
        return None
    every = int(train.settings.get("log_every", 1))
    return max(0, found[0].step - limits_of(train.settings).patience * every)


def steer_dialog(session: SessionView, run: RunView, keys: Keys) -> SteerDialog:
    """Says what is wrong, where a rollback would lead, and what bills on."""
    train = run.state.train
    assert train is not None
    alarm, before = train.alarm, sound_step(train)
    body: list[Line] = [[(run.row.name, "bold"), (f"   step {train.step} of {train.steps}", "")]]
    if alarm:
        body += wrapped(
            f"▲ {clean(alarm.rule)} at step {alarm.step}: {clean(alarm.message)}", "err", _WIDTH, 3
        )
    else:
        body.append([("No alarm.", "dim")])
    bill = f"bills {fmt.money(session.row.price)}/h" if session.bills else "bills nothing"
    body += wrapped(f"The instance {bill}. When the run ends, the spec's `after` decides.", "dim", _WIDTH, 2)
    saved = [c.step for c in train.checkpoints if c.step <= (train.step - 1 if before is None else before)]
    to = f"step {saved[-1]}" if saved else "the beginning"
    lost = train.step - (saved[-1] if saved else 0)
    choices: list[Choice] = [
        ("steer.no", "No, leave it as it is", "bold"),
        ("steer.ignore", f"Ignore alarms for {IGNORED} steps", ""),
        ("steer.pause", "Pause: a checkpoint now, then the run ends", ""),
        ("steer.rollback", f"Back to {to}, lr × {LOWER:g}; {lost} steps go", "warn"),
        ("steer.stop", "Stop the run; steps since the checkpoint are lost", "err"),
    ]
    return SteerDialog("Steer the training", body, choices, keys)
