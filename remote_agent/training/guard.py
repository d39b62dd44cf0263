"""The collapse guard: a pure fold over a training's logged figures that says when it has gone wrong.

Each rule has its reason and a default. It decides nothing: what to do about a finding is the run's spec's. It
knows no trainer and no journal, so a recorded run can be held against it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

Figures = Mapping[str, float]
"""One logged step. Names are those of `protocol.Step.figures`; what a method does not have is left out."""


class Limits(BaseModel):
    """Where each rule fires. None switches a rule off."""

    model_config = ConfigDict(extra="forbid")

    patience: int = Field(default=3, ge=1)
    """Logged steps in a row that a rule must be broken for. A step without its figure does not count: over
    several passes of the same answers only the first has a reward."""
    not_finite: bool = True
    """NaN or infinity in any figure; fires at once."""
    ratio: float | None = Field(default=3.0, gt=0)
    """Mean probability ratio outside of 1 ± that many ε."""
    epsilon: float = Field(default=0.2, gt=0)
    """The clip range ε that `ratio` counts in; the run's own is put here."""
    kl: float | None = Field(default=10.0, gt=0)
    """KL divergence from the reference, in nats, as the trainer logs it."""
    entropy: float | None = Field(default=0.1, gt=0)
    """Mean entropy of the next token below that share of the first steps'."""
    reward: float | None = Field(default=3.0, gt=0)
    """Mean reward that many of the first steps' standard deviations below its best."""
    grad_norm: float | None = Field(default=20.0, gt=1)
    """Gradient norm that many times its running median."""
    repetition: float | None = Field(default=0.5, gt=0, le=1)
    """Share of the answers' tokens that only repeat what stands just before."""
    length: float | None = Field(default=0.9, gt=0, le=1)
    """Share of answers cut off at the limit, while their mean length is at least doubled."""
    logprob: float | None = Field(default=4.0, gt=0)
    """Mean log-probability of the answers' tokens that many nats below the first steps'."""
    no_signal: int | None = Field(default=20, ge=1)
    """Logged steps in a row in which all answers to each prompt were worth the same; has its own patience."""
    loss: float | None = Field(default=3.0, gt=1)
    """For supervised training: loss that many times its running median."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that is broken."""

    rule: str
    step: int
    message: str


@dataclass
class _History:
    """What the rules look back on."""

    first: dict[str, list[float]] = field(default_factory=dict)
    recent: dict[str, deque[float]] = field(default_factory=dict)
    smooth_reward: float | None = None
    best_reward: float = -math.inf

    def add(self, figures: Figures) -> None:
        for name, value in figures.items():
            if math.isfinite(value):
                start = self.first.setdefault(name, [])
                if len(start) < FIRST:
                    start.append(value)
                self.recent.setdefault(name, deque(maxlen=RECENT)).append(value)
        reward = figures.get("reward")
        if reward is not None and math.isfinite(reward):
            before = self.smooth_reward
            self.smooth_reward = reward if before is None else 0.8 * before + 0.2 * reward
            if len(self.first["reward"]) == FIRST:
                self.best_reward = max(self.best_reward, self.smooth_reward)

    def start(self, name: str) -> float | None:
        """The mean of the first steps; None until there are enough."""
        values = self.first.get(name, [])
        return sum(values) / len(values) if len(values) == FIRST else None

    def usual(self, name: str) -> float | None:
        """The running median before this step; None until there are enough."""
        values = self.recent.get(name, ())
        return median(values) if len(values) >= FIRST else None


FIRST = 5
"""Logged steps that make the starting level of a figure."""
RECENT = 50


class Level(NamedTuple):
    """How one rule stands at one step: what it looks at, and where it is broken."""

    value: float
    broken: bool
    message: str
    """What is said of it where it is broken."""
    low: float = -math.inf
    high: float = math.inf
    """The value may lie between these."""


Rule = Callable[[Limits, Figures, _History], Level | None]
"""None: it is switched off, or the method or the first few steps give it nothing to look at."""


def _ratio(limits: Limits, figures: Figures, _past: _History) -> Level | None:
    # Schulman et al. 2017, "Proximal Policy Optimization": the clipped objective gives no reason to leave
    # 1 ± ε; a mean far outside says that the policy is no longer the one that the answers came from.
    ratio = figures.get("ratio")
    if limits.ratio is None or ratio is None:
        return None
    band = limits.ratio * limits.epsilon
    message = f"the mean probability ratio is {ratio:.3g}, outside of {1 - band:.2g} … {1 + band:.2g}"
    return Level(ratio, abs(ratio - 1) > band, message, 1 - band, 1 + band)


def _kl(limits: Limits, figures: Figures, _past: _History) -> Level | None:
    # Gao, Schulman, Hilton 2022, "Scaling Laws for Reward Model Overoptimization": the true reward falls
    # again as the policy moves away from where it began.
    kl = figures.get("kl")
    if limits.kl is None or kl is None:
        return None
    message = f"the KL divergence from the reference is {kl:.3g}, above {limits.kl:g}"
    return Level(kl, kl > limits.kl, message, high=limits.kl)


def _entropy(limits: Limits, figures: Figures, past: _History) -> Level | None:
    # Yu et al. 2025, "DAPO": entropy that falls to nothing ends exploration; all answers become one.
    entropy, start = figures.get("entropy"), past.start("entropy")
    if limits.entropy is None or entropy is None or start is None or "ratio" not in figures:
        return None  # supervised training makes the model surer, which is its aim
    low = limits.entropy * start
    message = (
        f"the entropy is {entropy:.3g}, below {limits.entropy:.0%} of the {start:.3g} that it began with"
    )
    return Level(entropy, entropy < low, message, low)


def _reward(limits: Limits, figures: Figures, past: _History) -> Level | None:
    smooth, values = past.smooth_reward, past.first.get("reward", [])
    if limits.reward is None or "reward" not in figures or smooth is None or len(values) < FIRST:
        return None
    mean, best = sum(values) / len(values), past.best_reward
    spread = max(math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)), 0.05 * abs(mean), 1e-6)
    low = min(best - limits.reward * spread, mean)
    message = f"the smoothed reward is {smooth:.3g}; it began at {mean:.3g} and was {best:.3g} at best"
    return Level(smooth, smooth < low, message, low)


def _grad_norm(limits: Limits, figures: Figures, past: _History) -> Level | None:
    # Chowdhery et al. 2022, "PaLM": spikes came with gradients far above the usual; going back before one
    # and on past it cured them.
    norm, usual = figures.get("grad_norm"), past.usual("grad_norm")
    if limits.grad_norm is None or norm is None or usual is None:
        return None
    usual_or_some = max(usual, 1e-8)
    high = limits.grad_norm * usual_or_some
    message = f"the gradient norm is {norm:.3g}, {norm / usual_or_some:.0f} times its usual {usual:.3g}"
    return Level(norm, norm > high, message, high=high)


def _repetition(limits: Limits, figures: Figures, _past: _History) -> Level | None:
    # Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration".
    share = figures.get("repetition")
    if limits.repetition is None or share is None:
        return None
    message = f"{share:.0%} of the answers' tokens only repeat what stands before them"
    return Level(share, share > limits.repetition, message, high=limits.repetition)


def _length(limits: Limits, figures: Figures, past: _History) -> Level | None:
    # Singhal et al. 2023, "A Long Way to Go": reward is often gained by length alone.
    cut, length, start = figures.get("clipped"), figures.get("length"), past.start("length")
    if limits.length is None or cut is None or length is None or start is None:
        return None
    message = (
        f"{cut:.0%} of the answers are cut off; their length went from {start:.0f} to {length:.0f} tokens"
    )
    high = limits.length if length >= 2 * start else math.inf
    return Level(cut, cut > high, message, high=high)


def _logprob(limits: Limits, figures: Figures, past: _History) -> Level | None:
    logprob, start = figures.get("logprob"), past.start("logprob")
    if limits.logprob is None or logprob is None or start is None:
        return None
    low = start - limits.logprob
    message = f"the answers' log-probability a token fell from {start:.3g} to {logprob:.3g}"
    return Level(logprob, logprob < low, message, low)


def _loss(limits: Limits, figures: Figures, past: _History) -> Level | None:
    if limits.loss is None or "ratio" in figures:  # reinforcement learning's loss says nothing
        return None
    loss, usual = figures.get("loss"), past.usual("loss")
    if loss is None or usual is None or usual <= 0:
        return None
    high = limits.loss * usual
    message = f"the loss is {loss:.3g}, {loss / usual:.1f} times its usual {usual:.3g}"
    return Level(loss, loss > high, message, high=high)


def _no_signal(limits: Limits, figures: Figures, _past: _History) -> Level | None:
    # A group's advantages are its rewards against their mean (Shao et al. 2024): equal rewards teach
    # nothing. TRL logs the share of such groups and goes on.
    share = figures.get("no_signal")
    if limits.no_signal is None or share is None:
        return None
    message = f"for {limits.no_signal} steps all answers to a prompt were worth the same: nothing is learned"
    return Level(share, share >= 1, message, high=1.0)


RULES: dict[str, Rule] = {
    "no_signal": _no_signal,
    "ratio": _ratio,
    "kl": _kl,
    "entropy": _entropy,
    "reward": _reward,
    "grad_norm": _grad_norm,
    "repetition": _repetition,
    "length": _length,
    "logprob": _logprob,
    "loss": _loss,
}


class Guard:
    """Feed it each logged step in order; it says which rules have been broken for long enough.

    A rule that has fired is quiet until it has been kept again.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.levels: dict[str, Level] = {}
        """How the rules that could be looked at stood at the last step."""
        self.broken: dict[str, int] = {}
        """For how many steps in a row, of those that it could look at, each rule has been broken."""
        self._past = _History()
        self._pardoned = -1

    def pardon(self, until: int) -> None:
        """Find only figures that are not finite up to that step; what is still broken then is found."""
        self._pardoned = max(self._pardoned, until)

    def see(self, step: int, figures: Figures) -> list[Finding]:
        """Findings of this step. Steps that were seen before a resume are fed again, in order."""
        found = self._not_finite(step, figures)
        pardoned = step <= self._pardoned
        looked = {name: rule(self.limits, figures, self._past) for name, rule in RULES.items()}
        self.levels = {name: level for name, level in looked.items() if level}
        for name, level in looked.items():
            count = self.broken.get(name, 0)
            if level:  # where a step has nothing to look at, such as a later pass over answers, it counts on
                count = count + 1 if level.broken else 0
            self.broken[name] = min(count, self.patience(name) - 1) if pardoned else count
            if level and self.broken[name] == self.patience(name):
                found.append(Finding(name, step, level.message))
        self._past.add(figures)
        return found

    def patience(self, rule: str) -> int:
        """Steps in a row that a rule must be broken for."""
        return self.limits.no_signal or 1 if rule == "no_signal" else self.limits.patience

    def _not_finite(self, step: int, figures: Figures) -> list[Finding]:
        names = [name for name, value in figures.items() if not math.isfinite(value)]
        if not names or not self.limits.not_finite:
            return []
        return [Finding("not_finite", step, f"{', '.join(names)}: not a finite number")]


def repetition(tokens: list[int], longest: int = 4) -> float:
    """The share of an answer's tokens that continue a loop: each equals the one `n` places before it, over at
    least 3 rounds, for some n up to `longest`. `4444…` and `the the the …` are near 1, prose is near 0.
    """
    if not tokens:
        return 0.0
    looping = [False] * len(tokens)
    for n in range(1, longest + 1):
        run = 0
        for at in range(n, len(tokens)):
            run = run + 1 if tokens[at] == tokens[at - n] else 0
            if run >= 2 * n:
                looping[at - run + 1 : at + 1] = [True] * run
    return sum(looping) / len(tokens)
