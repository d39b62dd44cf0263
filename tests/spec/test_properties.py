"""What must hold for any text and any typing error."""

from __future__ import annotations

import string
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusess.errors import SpecError
from gpusess.spec import parse_spec

from .conftest import GOOD

KEYS = [
    (number, line.split(":")[0].lstrip(" -"))
    for number, line in enumerate(GOOD.splitlines(), 1)
    if ":" in line and "LEVEL" not in line
]


def _refused(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "x.yaml", Path(), files=False)
    return caught.value.message


@given(st.sampled_from(KEYS), st.data())
@settings(max_examples=150, deadline=None)
def test_a_doubled_letter_in_any_key_is_reported_with_line_and_nearest(
    place: tuple[int, str], data: st.DataObject
) -> None:
    number, key = place
    at = data.draw(st.integers(0, len(key) - 1))
    typo = key[: at + 1] + key[at:]
    rows = GOOD.splitlines()
    rows[number - 1] = rows[number - 1].replace(f"{key}:", f"{typo}:", 1)
    said = [line for line in _refused("\n".join(rows)).split("\n") if f"unknown key '{typo}'" in line]
    assert len(said) == 1
    assert said[0].startswith(f"x.yaml:{number}: ")
    assert f"did you mean '{key}'?" in said[0]


YAMLISH = st.text(st.sampled_from(" \n\t-:[]{}&*!|>'\"%@`#?,ab01._~<=\\\x00\x85\u2028\ud800é"), max_size=60)


@given(st.one_of(st.text(max_size=80), YAMLISH))
@settings(max_examples=400, deadline=None)
def test_no_text_raises_anything_but_a_spec_error(text: str) -> None:
    assert _refused(text).startswith("x.yaml:")


@given(
    st.integers(0, len(GOOD)), st.integers(0, 12), st.one_of(YAMLISH, st.text(string.printable, max_size=8))
)
@settings(max_examples=300, deadline=None)
def test_no_damage_to_a_good_spec_raises_anything_but_a_spec_error(at: int, cut: int, put: str) -> None:
    with suppress(SpecError):
        parse_spec(GOOD[:at] + put + GOOD[at + cut :], "x.yaml", Path("/nowhere"))
