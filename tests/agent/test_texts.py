"""Reading answers that are texts: boxes with nested braces, JSON, lines, and how two texts are compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent.tasks.base import Sample
from remote_agent.tasks.families import NUMBER, TEXT
from remote_agent.tasks.spots import boxes, json_values
from remote_agent.tasks.texts import metrics, normal

ANY = Sample("s", "q", "Paris")
CASES = [
    # text, rule, what is read
    ("\\boxed{Paris}", "boxed", "Paris"),
    ("\\boxed{ Paris }", "boxed", "Paris"),
    ("\\boxed {Paris}", "boxed", "Paris"),
    ("\\boxed{\\frac{1}{2}}", "boxed", "\\frac{1}{2}"),
    ("\\boxed{\\text{a {nested} b}}", "boxed", "\\text{a {nested} b}"),
    ("\\boxed{f(x) = \\sqrt{x^{2}}}", "boxed", "f(x) = \\sqrt{x^{2}}"),
    ("\\boxed{one} then \\boxed{two}", "boxed", "two"),
    ("\\boxed{outer \\boxed{inner}}", "boxed", "outer \\boxed{inner}"),
    ("\\boxed{}", "boxed", None),
    ("\\boxed{left} and \\boxed{", "boxed", "left"),
    ("\\boxed{never closed", "boxed", None),
    ("} \\boxed{x} {", "boxed", "x"),
    ("\\[ \\boxed{42} \\]", "boxed", "42"),
    ("\\fbox{x}", "boxed", None),
    ("boxed{x}", "boxed", None),
    ('{"answer": "Paris"}', "json", "Paris"),
    ('{"answer": 42}', "json", "42"),
    ('{"answer": true}', "json", None),
    ('{"answer": ["Paris"]}', "json", None),
    ('{"answer": ""}', "json", None),
    ('{"other": 1} {"answer": "b"}', "json", "b"),
    ('{"answer": "a"} {"answer": "b"}', "json", "b"),
    ('```json\n{"answer": "Paris", "why": "it {is}"}\n```', "json", "Paris"),
    ('{"answer": "Paris"', "json", None),
    ("{'answer': 'Paris'}", "json", None),
    ('[{"answer": "Paris"}]', "json", None),
    ('text {"a": {"answer": "inner"}} text', "json", None),
    ("{{ not json }} and {\"answer\": \"x\"}", "json", "x"),
    ("#### Paris", "hashes", "Paris"),
    ("#### Paris\n####", "hashes", "Paris"),
    ("The answer is Paris.", "answer_is", "Paris."),
    ("**Answer:** *Paris*", "answer_is", "Paris"),
    ("Answer: one\nAnswer: two", "answer_is", "two"),
    ("Answer:\n", "answer_is", None),
    ("first\n\nlast\n", "last_line", "last"),
    ("\nfirst\nlast", "first_line", "first"),
    ("  Paris  ", "whole", "Paris"),
    ("...", "whole", None),
    ("", "whole", None),
    ("the", "whole", None),  # nothing is left to compare
]  # fmt: skip


@pytest.mark.parametrize(("text", "rule", "wanted"), CASES)
def test_rule(text: str, rule: str, wanted: str | None) -> None:
    found = TEXT.rules[rule].read(text, ANY)
    assert (found and found.text) == wanted
    if found and rule != "json":
        assert found.text == text[slice(*found.span)]


NUMBERS = [
    # boxed and JSON where a number is wanted
    ('{"answer": 18}', "json", "18"),
    ('{"answer": "18"}', "json", "18"),
    ('{"answer": "$1,250.00"}', "json", "$1,250.00"),
    ('{"answer": "about 18"}', "json", None),
    ('{"answer": null}', "json", None),
    ('{"steps": [1, 2], "final_answer": 3}', "json", "3"),
    ('{"answer": {"value": 3}}', "json", None),
    ("\\boxed{18 \\text{ apples}}", "boxed", "18"),
    ("\\boxed{x = 18}", "boxed", "18"),
    ("\\boxed{-18}", "boxed", "-18"),
    ("\\boxed{\\$18.50}", "boxed", "\\$18.50"),
    ("\\boxed{18\\%}", "boxed", "18"),
    ("\\boxed{\\dfrac{3}{4}}", "boxed", "\\dfrac{3}{4}"),
    ("\\boxed{3 + 4}", "boxed", None),
    ("\\boxed{3 + 4 = 7}", "boxed", "7"),
]


@pytest.mark.parametrize(("text", "rule", "wanted"), NUMBERS)
def test_a_number_in_a_box_or_in_json(text: str, rule: str, wanted: str | None) -> None:
    found = NUMBER.rules[rule].read(text, ANY)
    assert (found and found.text) == wanted


def test_two_boxes_are_marked() -> None:
    for family in (TEXT, NUMBER):
        two = family.rules["boxed"].read("\\boxed{840} and \\boxed{12}", ANY)
        assert two is not None
        assert (two.text, two.marks) == ("12", ("two boxes",))
        same = family.rules["boxed"].read("\\boxed{12} so \\boxed{12}", ANY)
        assert same is not None
        assert same.marks == ()


@given(st.text(alphabet=st.sampled_from("ab{}\\ "), max_size=40))
def test_a_box_holds_what_stands_between_its_braces(inner: str) -> None:
    depth = 0
    for char in inner:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth < 0:
            return
    if depth != 0 or "boxed" in inner:
        return
    text = f"so \\boxed{{{inner}}} done"
    assert [text[start:end] for start, end in boxes(text)] == [inner]


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.integers() | st.text(max_size=9) | st.lists(st.booleans(), max_size=3),
        max_size=4,
    )
)
def test_json_is_found_whatever_stands_around_it(value: dict[str, object]) -> None:
    import json

    written = json.dumps(value)
    for before, after in (("", ""), ("Sure: ", " ."), ("```json\n", "\n```"), ("{ oops ", "")):
        found = json_values(before + written + after)
        assert found[-1][0] == value
        assert (before + written + after)[slice(*found[-1][1])] == written


def test_texts_are_compared_as_squad_compares_them() -> None:
    assert normal("The  Eiffel-Tower!") == "eiffel tower"
    assert normal("an  Apple") == normal("apple.")
    assert normal("ＡＢＣ") == "abc"
    one = Sample("s", "q", "the red car", data={"answers": ["automobile"]})
    read = TEXT.rules["whole"].read

    def figures(text: str) -> dict[str, float]:
        return metrics(text, read(text, one), one)

    assert figures("A red car.") == {"exact": 1, "contains": 1, "f1": 1}
    assert figures("automobile")["exact"] == 1
    assert figures("It is a red car") == {"exact": 0, "contains": 1, "f1": pytest.approx(2 / 3)}
    assert figures("") == {"exact": 0, "contains": 0, "f1": 0}
    assert figures("blue boat")["f1"] == 0


@given(st.text(max_size=200))
def test_no_text_raises(text: str) -> None:
    for rule in TEXT.rules.values():
        found = rule.read(text, ANY)
        assert found is None or found.value != ""
