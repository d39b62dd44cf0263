"""What a report is made of. Texts are plain: whoever writes them down escapes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    items: Sequence[str]
    alarming: bool = False
    """Warnings: they stand out where the form can show it."""


@dataclass(frozen=True, slots=True)
class Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Plot:
    """An SVG drawing, already escaped, with what it shows in words."""

    svg: str
    caption: str


Block = Heading | Paragraph | Bullets | Table | Plot
