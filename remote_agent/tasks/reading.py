"""What a rule finds in a completion, and what a family of answers is: rules, and how they are compared.

The families are in `families.py`, the rules in `extraction.py` (numbers), `letters.py` (choices), `texts.py`
and `calls.py`; `peers.py` has the rules of another harness. A rule does not know the right answer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from remote_agent.tasks.base import Sample


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule read: as written, its place (characters, end exclusive), and what is compared."""

    text: str
    span: tuple[int, int]
    value: Hashable
    marks: tuple[str, ...] = ()
    """What is uncertain about it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to read an answer. `read` gets the completion and the sample; None: nothing found."""

    read: Callable[[str, Sample], Reading | None]
    anchored: bool = False
    """It looks where the answer is announced, so it holds in a cut-off text as well."""
    right: Callable[[Reading, Sample], bool] | None = None
    """Another comparison than the family's."""
    raw: bool = False
    """It reads the completion as it is, with its chain of thought and cut-off end: a rule of another harness,
    kept to be compared with."""
    guess: bool = False
    """It takes what happens to stand there: where it is a fallback and decides, the result is marked."""
    votes: bool = True
    """Where it reads something else than others do, the result is marked as `disagree`."""


@dataclass(frozen=True, slots=True)
class Family:
    """Answers of one kind."""

    rules: Mapping[str, Rule]
    right: Callable[[Reading, Sample], bool]
    """Whether a reading is the right answer."""
    shown: str
    """An answer of this kind, by which a format is tried out."""
    doubts: Callable[[Reading, Sample], tuple[str, ...]] = lambda _reading, _sample: ()
    """What is uncertain about a comparison."""
    metrics: Callable[[str, Reading | None, Sample], Mapping[str, float]] = lambda *_: {}
    """Figures beside the verdict."""
    settled: Callable[[str], str] = lambda text: text
    """A cut-off text without what the cut may have shortened."""
