"""A measurement as one printed row: ours, what it is held against, the ratio, the goal, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Row:
    """`ours` held against `other`, which is a limit, a peer measured beside us, or a recorded figure."""

    name: str
    ours: float
    other: float
    unit: str
    against: Literal["limit", "peer", "recorded"] = "limit"
    who: str = ""
    """The peer's name."""
    more_is_better: bool = False
    digits: int = 2
    times: float | None = None
    """How many times better than the other ours is to be; the ratio then says how many times it is."""

    @property
    def ratio(self) -> float:
        above, below = self.ours, self.other
        if self.times is not None and not self.more_is_better:
            above, below = below, above
        if not below:
            return 1.0 if above == below else float("inf")
        return above / below

    @property
    def ok(self) -> bool:
        if self.times is not None:
            return self.ratio >= self.times
        return self.ratio >= 1.0 if self.more_is_better else self.ratio <= 1.0

    @property
    def verdict(self) -> str:
        """`ok`, `short`, or `recorded`: a figure from another day decides nothing."""
        if self.against == "recorded":
            return "recorded"
        return "ok" if self.ok else "short"

    def cells(self) -> tuple[str, ...]:
        better = self.more_is_better or self.times is not None
        goal = f"{'>=' if better else '<='} {1.0 if self.times is None else self.times}"
        goal = "-" if self.against == "recorded" else goal
        other = f"{self.who or self.against} {self._value(self.other)}"
        return (self.name, self._value(self.ours), other, f"{self.ratio:.2f}x", goal, self.verdict)

    def _value(self, value: float) -> str:
        return f"{value:.{self.digits}f} {self.unit}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that was not measured. It is no `ok`."""

    name: str
    why: str

    verdict = "skipped"

    def cells(self) -> tuple[str, ...]:
        return (self.name, "-", "-", "-", "-", "skipped")


@dataclass(frozen=True, slots=True)
class Note:
    """A figure that stands beside the rows and is held against nothing."""

    text: str


Line = Row | Skipped | Note

WIDTHS = (36, 11, 25, 8, 8, 8)


def show(line: Line) -> str:
    """One printed line. Widths are fixed, so that rows can be printed as they come."""
    if isinstance(line, Note):
        return f"  {line.text}"
    cells = zip(line.cells(), WIDTHS, strict=True)
    text = "  ".join(cell.ljust(width) for cell, width in cells).rstrip()
    return f"{text}: {line.why}" if isinstance(line, Skipped) else text


def heading() -> str:
    names = ("ROW", "OURS", "LIMIT OR PEER", "RATIO", "GOAL", "VERDICT")
    return "  ".join(name.ljust(width) for name, width in zip(names, WIDTHS, strict=True)).rstrip()


def closing(lines: Sequence[Line]) -> str:
    """How many rows are what, in one line."""
    verdicts = [line.verdict for line in lines if not isinstance(line, Note)]
    return ", ".join(f"{verdicts.count(v)} {v}" for v in ("ok", "short", "skipped"))


def exit_status(lines: Sequence[Line]) -> int:
    """1 where a row is short; skipped rows fail nothing, but they pass nothing either."""
    return int(any(isinstance(line, Row) and line.verdict == "short" for line in lines))
