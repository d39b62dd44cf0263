"""The search for a text in the journal's bytes against looking at each text by itself, whatever they hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpusess.analysis.text_search import Needle

ALPHABET = st.sampled_from(list('abAB1 .*[]()\\"\n\x00\x7f\x80éÉßİıſK漢\U0001f600\ud83d'))
"""Letters of both cases, what means something to a regular expression or in JSON, and letters whose lower case is
another length or that of an ASCII letter."""
NEEDLES = st.text(ALPHABET, min_size=1, max_size=4)
BROKEN = st.binary(max_size=6) | st.sampled_from([b"\xff", b"\xc3", b"ab\xe6\xbc", b"\xed\xa0\xbd"])
"""Bytes that are mostly no UTF-8: a checksum vouches for them all the same."""


def in_journal(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "backslashreplace")


TEXTS = st.text(ALPHABET, max_size=12).map(in_journal)


@given(NEEDLES, st.lists(TEXTS | TEXTS | BROKEN, max_size=6), st.booleans())
@example("\u212a", [b"k", b"K"], False)  # the Kelvin sign, whose lower case is a plain k
@example("k", ["\u212a".encode()], False)
@example("ab", [b"\xff ab", b"xAB", b"\xffAB"], False)
@example("\x7f", [b"\x7f"], True)
def test_it_finds_what_looking_at_each_text_finds(needle: str, texts: list[bytes], whole: bool) -> None:
    wanted = in_journal(needle).lower()
    naive = [text.lower() == wanted if whole else wanted in text.lower() for text in texts]
    found = Needle(needle, whole)
    assert list(found.among(texts)) == naive
    lines = b'{"completion":"' + b'"}\n{"completion":"'.join(texts) + b'"}\n'
    assert not found.nowhere_in(lines) or not any(naive)


@pytest.mark.parametrize("whole", [False, True])
def test_it_says_where_it_is_not_worth_looking(whole: bool) -> None:
    needle = Needle("per Hour", whole)
    lines = b'{"completion":"it makes 20 pages a minute, \xc3\xa9 each"}\n' * 100
    assert needle.nowhere_in(lines)
    assert not needle.nowhere_in(lines + b"PER hOUR")
    assert not needle.nowhere_in(lines + b"\xff"), "nothing can be said of what is no UTF-8"


def test_a_very_long_text_can_be_looked_for() -> None:
    long = "So 3 * 7 = 21. " * 700
    assert list(Needle(long, True).among([long.upper().encode(), long.encode() + b"!"])) == [1, 0]
