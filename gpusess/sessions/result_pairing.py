"""Two runs' results side by side: how each of one run's stands to the same sample's in the other, and the
paired figures, which are those of `gpusess compare`. It reads all of both, so it is made in a thread of
its own.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from gpusess.analysis.answers import Answers, SampleIndex
from gpusess.analysis.compare import Side, pair_warnings, share_pairs
from gpusess.analysis.paired import Paired, compare_shares
from gpusess.analysis.result_frame import Frame
from gpusess.analysis.result_query import ALONE, BOTH_RIGHT, GAINED, LOST, NEITHER
from gpusess.analysis.run_state import RunState
from gpusess.sessions.result_index import ResultIndex

_CODES = {(True, True): BOTH_RIGHT, (False, True): LOST, (True, False): GAINED, (False, False): NEITHER}
"""(right here, right there) → how it stands."""


class Pairing:
    """`label`: what the other run is called. Its results are those of the moment when this was made."""

    def __init__(self, label: str, mine: Sequence[Frame], other: ResultIndex, candidates: int) -> None:
        self.label = label
        self.other = other
        self._each = max(1, candidates)
        self._samples = SampleIndex()
        self._codes: dict[tuple[int, int], bytes] = {}
        there, here = Answers(self._samples), Answers(self._samples)
        for frame in other.frames:
            there.take(frame)
        self._rows = self._places(other)
        for frame in mine:
            here.take(frame)
            self._codes[frame.header.start, frame.header.end] = self._compare(frame)
        self.paired: Paired | None = compare_shares(share_pairs(there, here))
        """The other run is the first, this one the second."""
        self.warnings = pair_warnings(Side(label, RunState(), there), Side("this run", RunState(), here))
        """What is doubtful about the figures."""
        if other.damage:
            self.warnings.insert(0, f"{label}: {other.damage}; what is behind it is missing here")

    def codes(self, frame: Frame) -> bytes:
        """How each of a frame's rows stands to the other run's; see `result_query`."""
        found = self._codes.get((frame.header.start, frame.header.end))
        return self._compare(frame) if found is None else found

    def row_of(self, sample: str, candidate: int) -> int | None:
        """The other run's row of the same sample and candidate."""
        number = self._samples.numbers.get(sample)
        if number is None or candidate >= self._each:
            return None
        at = number * self._each + candidate
        return self._rows[at] - 1 if at < len(self._rows) and self._rows[at] else None

    def verdict_of(self, sample: str, candidate: int) -> str:
        """Of the same sample and candidate in the other run; empty where there is none."""
        row = self.row_of(sample, candidate)
        if row is None:
            return ""
        frame, at = self.other.frame_of(row)
        return frame.kinds[frame.number("kind", at)].verdict

    def _places(self, other: ResultIndex) -> array[int]:
        """By sample and candidate: the other run's row, counted from 1; 0 where there is none."""
        numbers = self._samples.numbers
        rows = array("I", bytes(4 * len(numbers) * self._each))
        for frame in other.frames:
            answers = zip(frame.texts("sample"), frame.ints("candidate"), strict=True)
            for row, (sample, candidate) in enumerate(answers, frame.first + 1):
                number = numbers.get(sample)
                if number is not None and candidate < self._each:
                    rows[number * self._each + candidate] = row
        self._right = bytearray(other.rows)
        for frame in other.frames:
            table = [_MARKS.get(kind.verdict, _NOT_RIGHT) for kind in frame.kinds]
            codes = bytes(map(table.__getitem__, frame.ints("kind")))
            self._right[frame.first : frame.first + len(frame)] = codes
        return rows

    def _compare(self, frame: Frame) -> bytes:
        marks = [_MARKS.get(kind.verdict, _NOT_RIGHT) for kind in frame.kinds]
        found = bytearray(len(frame))
        answers = zip(frame.texts("sample"), frame.ints("candidate"), frame.ints("kind"), strict=True)
        for at, (sample, candidate, kind) in enumerate(answers):
            row = self.row_of(sample, candidate)
            here, there = marks[kind], _FAILED if row is None else self._right[row]
            if here == _FAILED or there == _FAILED:
                found[at] = ALONE
            else:
                found[at] = _CODES[here == _RIGHT, there == _RIGHT]
        return bytes(found)


_FAILED, _NOT_RIGHT, _RIGHT = range(3)
_MARKS = {"failed": _FAILED, "right": _RIGHT}
