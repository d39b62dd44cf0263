"""Reports: one page that needs nothing else, and no text of a run that can act."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusess.analysis.answers import SampleIndex
from gpusess.analysis.compare import Side
from gpusess.analysis.report import svg
from gpusess.analysis.report.blocks import Bullets, Heading, Paragraph, Table
from gpusess.analysis.report.building import report
from gpusess.analysis.report.writing import html, markdown
from gpusess.sessions.answers import read_run

from .results import journal, planned, result, side

EVIL = "<script>alert(1)</script>\x1b]0;x\x07 | [x](http://a.b) `c` \u202e"


class Tags(HTMLParser):
    """What elements and attributes a page has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "line", "circle", "polygon", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


def several(folder: Path, index: SampleIndex) -> Side:
    """A run with four answers a sample and a reranker, its texts as evil as they come."""
    rows = [
        result(i, (i + c) % 4 == 0, candidate=c, category=f"{EVIL}{i % 2}")
        for i in range(40)
        for c in range(4)
    ]
    scores = [
        {
            "kind": "scored",
            "task": "t",
            "sample": f"s{i}",
            "candidate": c,
            "reranker": "energy",
            "score": -float(c),
        }
        for i in range(40)
        for c in range(4)
    ]
    head = planned(160, samples=40, candidates=4, model=EVIL, settings={"instruction": EVIL}, forced=[EVIL])
    run = read_run(EVIL, journal(folder, [head, *rows, *scores]), index)
    return Side(run.label, run.state, run.answers)


def test_a_page_needs_nothing_else_and_nothing_in_it_acts(tmp_path: Path) -> None:
    index = SampleIndex()
    sides = [side(tmp_path / "a", [i % 3 > 0 for i in range(60)], index), several(tmp_path / "b", index)]
    page = html(EVIL, report(sides, EVIL, "made now"))
    found = Tags(page)
    assert found.open == []
    assert not {"script", "img", "link", "iframe", "a", "form", "object"} & set(found.tags)
    assert "http" not in " ".join(v or "" for name, v in found.attributes if name in ("src", "href", "style"))
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "default-src 'none'" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert found.tags.count("svg") >= 5
    assert "&lt;script&gt;" in page


def test_markdown_holds_the_same_numbers_and_no_markup_of_a_run(tmp_path: Path) -> None:
    index = SampleIndex()
    text = markdown(report([several(tmp_path / "b", index)], "R", "made now"))
    assert "random pick (baseline) | 25.0 %" in text
    assert "oracle (any right) | 100.0 %" in text
    assert "pass@k" in text
    assert "<script>" not in text
    assert "](http" not in text.replace("\\]", "")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for head in ("| run |", "| setting |"):
        at = next(i for i, line in enumerate(rows) if line.startswith(head))
        unescaped = [len(re.findall(r"(?<!\\)\|", line)) for line in rows[at : at + 3]]
        assert len(set(unescaped)) == 1


def test_runs_are_held_against_the_first(tmp_path: Path) -> None:
    index = SampleIndex()
    sides = [
        side(tmp_path / "base", [i % 2 == 0 for i in range(200)], index),
        side(tmp_path / "tuned", [i % 5 > 0 for i in range(200)], index, dtype="bfloat16"),
    ]
    text = markdown(report(sides, "R", "now"))
    assert "## Against base" in text
    assert "| tuned | accuracy | +30.0 points" in text
    assert "| dtype | float32 | bfloat16 |" in text


def test_blocks_are_escaped_one_by_one() -> None:
    blocks = [Heading(EVIL, 1), Paragraph(EVIL), Bullets([EVIL]), Table([EVIL], [[EVIL]])]
    page = html("t", blocks)
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 5


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_few_and_inside(low: float, span: float) -> None:
    found = svg.steps(low, low + span)
    assert 1 <= len(found) <= 7
    slack = 1e-9 * max(1.0, abs(low) + span)
    assert all(low - slack <= value <= low + span + slack for value in found)
    assert found == sorted(found)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_degenerate_interval_is_drawn(value: float) -> None:
    drawn = svg.intervals([svg.Interval("x", value, value, value, "text")], "title")
    assert "nan" not in drawn
    assert "inf" not in drawn
