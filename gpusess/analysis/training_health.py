"""How each rule of the collapse guard stands now: the guard's own rules over the figures that are at home, so
that what is shown is what decides on the instance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from gpusess.analysis.training_state import TrainState
from remote_agent.training.guard import RULES, Guard, Level, Limits

LABELS = {
    "ratio": "ratio",
    "kl": "KL",
    "entropy": "entropy",
    "reward": "reward",
    "grad_norm": "grad norm",
    "repetition": "repetition",
    "length": "cut off",
    "logprob": "log-prob",
    "loss": "loss",
    "no_signal": "no signal",
    "not_finite": "not finite",
}
_OF_RL = {"ratio", "kl", "reward", "repetition", "length", "logprob", "no_signal"}


@dataclass(frozen=True, slots=True)
class Standing:
    """One rule. `state`: ok, strained (broken, but not for long enough), alarm, waiting (it has to see some
    steps first), off."""

    rule: str
    label: str
    state: str
    level: Level | None
    broken: int
    """Logged steps in a row."""
    patience: int

    @property
    def limit(self) -> str:
        """`0.4 … 1.6`, `≤ 10`, `≥ 0.3`; empty where there is none now."""
        if self.level is None:
            return "off" if self.state == "off" else ""
        low, high = self.level.low, self.level.high
        if not math.isfinite(low) and not math.isfinite(high):
            return ""
        if math.isfinite(low) and math.isfinite(high):
            return f"{low:.3g} … {high:.3g}"
        return f"≤ {high:.3g}" if math.isfinite(high) else f"≥ {low:.3g}"


class Health:
    """The guard's rules, fed with what a run's state gains. One per run."""

    def __init__(self) -> None:
        self._guard = Guard(Limits())
        self._course: tuple[Any, ...] = ()
        self._places: dict[str, int] = {}
        self._fed = 0
        self.not_finite = 0
        """The last step at which a figure was not finite; 0 for none."""

    def take(self, train: TrainState) -> list[Standing]:
        """The rules as they stand at the training's last step, those that its method has."""
        course = (id(train), train.continued, len(train.collapses), len(train.steers), train.method)
        if course != self._course or train.step < self._fed:
            self._course, self._guard = course, Guard(limits_of(train.settings))
            self._places, self._fed, self.not_finite = {}, 0, 0
        for step, _ in train.figures.get("loss", ())[self._places.get("loss", 0) :]:
            self._feed(train, step)
        return self._standings(train)

    def _feed(self, train: TrainState, step: int) -> None:
        for steer in train.steers:
            if steer.until is not None and steer.step < step <= steer.until:
                self._guard.pardon(steer.until)
        figures = {}
        for name, values in train.figures.items():
            at = self._places.get(name, 0)
            while at < len(values) and values[at][0] < step:
                at += 1
            if at < len(values) and values[at][0] == step:
                value = values[at][1]
                figures[name] = math.nan if value is None else value
                at += 1
            self._places[name] = at
        if any(not math.isfinite(value) for value in figures.values()):
            self.not_finite = step
        self._guard.see(step, figures)
        self._fed = step

    def _standings(self, train: TrainState) -> list[Standing]:
        found = [self._standing(name, train) for name in RULES if self._concerns(name, train)]
        if self._guard.limits.not_finite:
            broken = int(0 < self.not_finite == self._fed)
            found.append(
                Standing("not_finite", LABELS["not_finite"], "alarm" if broken else "ok", None, broken, 1)
            )
        return found

    def _standing(self, rule: str, train: TrainState) -> Standing:
        level, broken = self._guard.levels.get(rule), self._guard.broken.get(rule, 0)
        patience = self._guard.patience(rule)
        if getattr(self._guard.limits, rule) is None:
            state = "off"
        elif broken >= patience:
            state = "alarm"
        elif broken:
            state = "strained"
        else:
            state = "ok" if level else "waiting"
        alarm = train.alarm
        if alarm and alarm.rule == rule and alarm.step >= train.step:
            state = "alarm"
        return Standing(rule, LABELS[rule], state, level, broken, patience)

    def _concerns(self, rule: str, train: TrainState) -> bool:
        """Whether the method has what the rule looks at."""
        supervised = train.method == "sft"
        if rule == "loss":
            return supervised
        if rule == "entropy" or rule in _OF_RL:
            figure = {"length": "clipped"}.get(rule, rule)
            return not supervised and (figure in train.figures or not train.figures)
        return True


def limits_of(settings: dict[str, Any]) -> Limits:
    """The guard's limits as the run's order has them; settings that are the default are not recorded."""
    given = {name: value for name, value in settings.get("guard", {}).items() if name in Limits.model_fields}
    if "epsilon" in settings:
        given["epsilon"] = settings["epsilon"]
    try:
        return Limits.model_validate(given)
    except ValidationError:  # recorded by a later version, with limits that this one does not know
        return Limits()
