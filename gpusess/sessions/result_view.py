"""A run's results as somebody looks at them: how many there are of each kind, and the rows that a filter lets
through. The work is done in small steps, so that whoever draws is never kept waiting.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from gpusess.analysis.result_filter import Term, parse
from gpusess.analysis.result_frame import Frame, Kind
from gpusess.analysis.result_query import is_state, matching
from gpusess.sessions.result_index import ResultIndex
from gpusess.sessions.result_pairing import Pairing

READ_STEP = 256 << 10
"""Bytes of the journal that one step takes: some milliseconds."""
OPEN_FRAMES = 4
"""Frames whose columns are kept for drawing rows."""


class Row(NamedTuple):
    """One result's short fields. `number`: from 0, in the order of the journal."""

    number: int
    sample: str
    candidate: int
    kind: Kind
    extracted: str | None
    gold: str
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the filter has looked, of all rows that are known; the rest of the journal is still unread."""

    rows: int
    unread: int


class ResultView:
    """One reader's view. Not for several threads."""

    def __init__(self, index: ResultIndex) -> None:
        self.index = index
        self.counts: Counter[Kind] = Counter()
        self.pairing: Pairing | None = None
        self.text = ""
        """The filter as it was typed."""
        self.version = 0
        """Grows with every change of what is shown."""
        self._terms: list[Term] = []
        self._found = array("I")
        self._settled = 0
        """Of `_found`: rows of whole frames."""
        self._looked = 0
        """Whole frames that the filter has looked at."""
        self._tallied: Counter[Kind] = Counter()
        self._counted = 0
        self._seen = (-1, -1)
        self._open: list[Frame] = []

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(name for frame in self.index.frames for name in frame.metrics))

    @property
    def shown(self) -> int:
        """Rows that pass the filter, so far."""
        return len(self._found) if self._terms else self.index.rows

    @property
    def searching(self) -> bool:
        """The filter has not looked at every known row yet."""
        return bool(self._terms) and (self._looked < self.index.whole or self._seen[0] != self.index.version)

    @property
    def progress(self) -> Progress:
        frames = self.index.frames
        looked = frames[self._looked].first if self._looked < len(frames) else self.index.rows
        return Progress(looked if self.searching else self.index.rows, self.index.waiting)

    def count(self, state: str) -> int:
        """Results that are `right`, `wrong`, `no-answer`, … over all rows."""
        return sum(number for kind, number in self.counts.items() if is_state(kind, state))

    def filter(self, text: str) -> None:
        """Show the rows that pass. Raises FilterError, and shows what was shown."""
        self._terms = parse(text, self.metrics, paired=self.pairing is not None)
        self.text = text
        self._again()

    def pair(self, pairing: Pairing | None) -> None:
        """Hold another run's results beside these; None: no other."""
        self.pairing = pairing
        if pairing is None and any(term.what == "flip" for term in self._terms):
            self.text, self._terms = "", []
        self._again()

    def row_at(self, place: int) -> int:
        """The number of the row at a place of what is shown."""
        return self._found[place] if self._terms else place

    def place_of(self, row: int) -> int:
        """Where a row is shown, or the next one that is."""
        return bisect_left(self._found, row) if self._terms else row

    def row(self, number: int) -> Row:
        """Raises IndexError where there is none."""
        frame, at = self.index.frame_of(number)
        self._keep(frame)
        return Row(
            number,
            str(frame.texts("sample")[at]),
            frame.ints("candidate")[at],
            frame.kinds[frame.ints("kind")[at]],
            frame.texts("extracted")[at],
            str(frame.texts("gold")[at]),
            frame.ints("tokens_in")[at],
            frame.ints("tokens_out")[at],
        )

    def work(self, seconds: float) -> bool:
        """Read on, count and filter for about that long; True where there is more to do."""
        until = time.perf_counter() + seconds
        epoch = self.index.epoch
        more = self.index.refresh(READ_STEP)
        if self.index.epoch != epoch:
            self._tallied, self._counted = Counter(), 0
            self._again()
        while time.perf_counter() < until:
            if self._counted < self.index.whole:
                self._tallied.update(_tally(self.index.frames[self._counted]))
                self._counted += 1
            elif self._terms and self._looked < self.index.whole:
                self._look()
            elif more:
                more = self.index.refresh(READ_STEP)
            else:
                break
        self._take_tail()
        return more or self._counted < self.index.whole or self.searching

    def _again(self) -> None:
        self._found, self._settled, self._looked = array("I"), 0, 0
        self._seen = (-1, -1)
        self.version += 1

    def _look(self) -> None:
        frame = self.index.frames[self._looked]
        del self._found[self._settled :]
        self._found.extend(self._matching(frame))
        self._settled = len(self._found)
        self._looked += 1
        self.version += 1

    def _matching(self, frame: Frame) -> array[int]:
        others = self.pairing.codes if self.pairing else None
        return matching(self._terms, frame, self.index.read, others)

    def _take_tail(self) -> None:
        """What the frame that still grows adds, once all before it has been looked at."""
        index = self.index
        done = self._counted == index.whole and (not self._terms or self._looked == index.whole)
        seen = (index.version, index.epoch)
        if not done or seen == self._seen:
            return
        self._seen = seen
        tail = index.frames[index.whole :]
        self.counts = self._tallied.copy()
        del self._found[self._settled :]
        for frame in tail:
            self.counts.update(_tally(frame))
            if self._terms:
                self._found.extend(self._matching(frame))
        self.version += 1

    def _keep(self, frame: Frame) -> None:
        if frame in self._open:
            return
        frame.keep()
        self._open.append(frame)
        if len(self._open) > OPEN_FRAMES:
            self._open.pop(0).forget()


def _tally(frame: Frame) -> Counter[Kind]:
    return Counter({frame.kinds[code]: number for code, number in Counter(frame.ints("kind")).items()})
