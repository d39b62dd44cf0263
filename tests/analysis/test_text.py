"""Text of models and instances: whatever comes, what is drawn is harmless; and logs merge by time."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusess.analysis.logs import LogBook
from gpusess.analysis.text import MAX_LINE, clean, clean_block


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]52;c;aGFjaw==\x07clipboard", "clipboard"),
        ("\x1b]0;title\x1b\\x", "x"),
        ("\x1b]8;;http://x\x07link", "link"),
        ("a\x00b\x08c", "a\ufffdb\ufffdc"),
        ("abc\u202edef", "abcdef"),
        ("a\tb", "a    b"),
        ("\x9b31m8-bit", "\ufffd31m8-bit"),
        ("👩\u200d🔬 ok", "👩\u200d🔬 ok"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
    ],
)
def test_cases(hostile: str, harmless: str) -> None:
    assert clean(hostile) == harmless


@given(st.text(alphabet=st.characters(codec=None), max_size=200))
def test_nothing_that_acts_on_a_terminal_is_left(text: str) -> None:
    for char in clean(text):
        assert unicodedata.category(char) not in ("Cc", "Cs", "Co", "Zl", "Zp")
        assert unicodedata.category(char) != "Cf" or char == "\u200d"


def test_a_megabyte_line_is_cut_quickly() -> None:
    cut = clean("x" * 1_000_000)
    assert len(cut) == MAX_LINE + 1
    assert cut.endswith("…")
    assert len(clean("\x1b[31m" * 200_000)) <= MAX_LINE + 1


def test_blocks_keep_their_lines() -> None:
    assert clean_block("a\x1b[2J\nb") == "a\nb"


def test_logs_merge_by_time_and_keep_tracebacks_together() -> None:
    book = LogBook()
    book.add("worker", ["2026-01-01T00:00:02.500Z ERROR run failed", "Traceback", "  ValueError"])
    book.add(
        "local", ["2026-01-01T00:00:01.000Z INFO driver begins", "2026-01-01T00:00:03.000Z INFO driver ends"]
    )
    assert [line.text for line in book.lines] == ["begins", "failed", "Traceback", "  ValueError", "ends"]
    assert [line.level for line in book.lines][1:4] == ["ERROR"] * 3
    assert {line.source for line in book.lines} == {"worker", "local"}


def test_what_is_said_of_the_link_is_a_source_of_its_own() -> None:
    book = LogBook()
    stamp = "2026-01-01T00:00:0"
    book.add(
        "local",
        [
            f"{stamp}1Z INFO driver running",
            f"{stamp}2Z WARNING ssh the link broke; connecting again",
            "  a line that belongs to it",
            f"{stamp}3Z WARNING asyncssh.client refused",
            f"{stamp}4Z INFO driver ready",
        ],
    )
    book.add("worker", [f"{stamp}5Z INFO ssh a model's own word"])
    assert [line.source for line in book.lines] == ["local", "ssh", "ssh", "ssh", "local", "worker"]


def test_a_log_line_cannot_act_on_the_terminal() -> None:
    book = LogBook()
    book.add("worker", ["2026-01-01T00:00:02Z INFO w \x1b[2Jgone\u202e"])
    assert book.lines[0].text == "gone"
