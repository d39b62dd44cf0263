"""Reading answers: the known ways to read a wrong number, and what holds for every number."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent.protocol import TaskSpec
from remote_agent.tasks import extraction, numbers
from remote_agent.tasks.base import Grade, Sample
from remote_agent.tasks.families import NUMBER
from remote_agent.tasks.word_problems import WordProblems

ANY = Sample("s", "q", "1")
TASK, SPEC = WordProblems(), TaskSpec(name="word_problems")

CASES = [
    # text, rule, value
    ("#### 18", "hashes", 18),
    ("####18", "hashes", 18),
    ("####\n18", "hashes", 18),
    ("a\n#### 5\nno, wait\n#### 18", "hashes", 18),
    ("#### $1,250.00.", "hashes", 1250),
    ("#### **73**", "hashes", 73),
    ("#### $\\boxed{18}$.", "hashes", 18),
    ("#### Answer: 18", "hashes", 18),
    ("#### The answer is 18", "hashes", 18),
    ("#### 18 dollars per day for the next 7 days", "hashes", 18),
    ("#### 18, because 16 - 3 - 4 = 9 and eggs cost $2 each", "hashes", 18),
    ("#### 16 - 3 - 4 = 9", "hashes", 9),
    ("#### 2 * 3 = 6 + 1 = 7", "hashes", 7),
    ("#### 5 apples - 3 apples = 2 apples", "hashes", 2),
    ("#### 10 - 3", "hashes", None),
    ("#### Step 2: add them", "hashes", None),
    ("#### Step 2: add\n#### 7", "hashes", 7),
    ("#### 7\n#### Step 2: check", "hashes", 7),
    ("#### 3. Add 9.\n#### 4. Ines has 21.", "hashes", None),
    ("#### 1. Add\n#### 21", "hashes", 21),
    ("#### 21\n#### 2. Check", "hashes", 21),
    ("#### 18. That is all.", "hashes", 18),
    ("the answer is not 5", "answer_is", None),
    ("14\n20 - 6 = 14", "first_number", 14),
    ("18,5", "last_number", Fraction(37, 2)),
    ("7,13,19", "last_number", 7),  # marked
    ("1,250,000", "last_number", 1_250_000),
    ("#### −5", "hashes", -5),
    ("#### -\\$18", "hashes", -18),
    ("#### 1/2", "hashes", Fraction(1, 2)),
    ("#### 2 1/2", "hashes", Fraction(5, 2)),
    ("#### 2½", "hashes", Fraction(5, 2)),
    ("#### 10 000", "hashes", 10_000),
    ("#### 10\u202f000", "hashes", 10_000),
    ("#### 50%", "hashes", 50),
    ("#### 18...", "hashes", 18),
    ("#### <N>", "hashes", None),
    ("\\boxed{18}", "boxed", 18),
    ("\\boxed{1{,}250}", "boxed", 1250),
    ("\\boxed{10\\,000}", "boxed", 10_000),
    ("\\boxed{\\frac{1}{2}}", "boxed", Fraction(1, 2)),
    ("\\boxed{\\text{18 apples}}", "boxed", 18),
    ("\\boxed{840} and \\boxed{12}", "boxed", 12),
    ("\\boxed{18", "boxed", None),
    ("The answer is 180", "answer_is", 180),
    ("The answer is 70,000", "answer_is", 70_000),
    ("The answer is 1", "answer_is", 1),
    ("**Answer: \\$18 per day.**", "answer_is", 18),
    ("**Answer:** 18", "answer_is", 18),
    ("Final answer = 18 eggs", "answer_is", 18),
    ("The answer is\nabove. 5 eggs", "answer_is", None),
    ("answer is 3 + 4", "answer_is", None),
    ("The answer is 18, the wrong answer is 5", "answer_is", 18),
    ("10-12", "last_number", 12),
    ("XDY2K", "last_number", None),
    ("1e3", "last_number", 1000),
    ("2.5 million", "last_number", 2_500_000),
    ("$2K", "last_number", 2000),
    ("1/0", "last_number", None),
    ("0.50 and .5", "last_number", Fraction(1, 2)),
    ("３４", "last_number", 34),
    ("9" * 5000, "last_number", None),
]


@pytest.mark.parametrize(("text", "rule", "value"), CASES)
def test_rule(text: str, rule: str, value: object) -> None:
    found = NUMBER.rules[rule].read(text, ANY)
    assert (found and found.value) == value
    if found:
        assert text[slice(*found.span)] == found.text


@given(
    whole=st.integers(0, 10**12),
    cents=st.one_of(st.none(), st.integers(0, 99)),
    negative=st.booleans(),
    grouped=st.sampled_from(["", ",", "{,}", "\u202f", "\u00a0"]),
    currency=st.sampled_from(["", "$", "\\$", "€"]),
    minus=st.sampled_from(["-", "−"]),
    tail=st.sampled_from(["", ".", " apples", "%", "**", " per day.", "\n"]),
    lead=st.sampled_from(["#### ", "4 - 2 = 2\n#### ", "####", "#### **"]),
)
def test_any_formatted_number(
    whole: int,
    cents: int | None,
    negative: bool,
    grouped: str,
    currency: str,
    minus: str,
    tail: str,
    lead: str,
) -> None:
    digits = f"{whole:,}".replace(",", grouped)
    text = f"{minus if negative else ''}{currency}{digits}" + ("" if cents is None else f".{cents:02d}")
    value = (Fraction(whole) + Fraction(cents or 0, 100)) * (-1 if negative else 1)
    found = extraction.after_hashes(lead + text + tail)
    assert found is not None
    assert found.value == value
    assert numbers.value_of(text) == value or grouped == "{,}"


@given(st.text(alphabet=st.sampled_from("0123456789.,/-#$ \\boxed{}=answeris½×\n%kK٣e")))
def test_no_text_raises_and_spans_hold(text: str) -> None:
    for name, rule in NUMBER.rules.items():
        found = rule.read(text, ANY)
        if found and name != "json":
            assert text[slice(*found.span)] == found.text


def grade(completion: str, gold: str = "18", finish: str = "stop") -> Grade:
    return TASK.grade(Sample("s", "q", gold), completion, finish, SPEC)


def test_numbers_are_compared_as_numbers() -> None:
    assert grade("#### 18.0").verdict == "right"
    assert grade("#### 1,800", gold="1800.00").verdict == "right"
    assert grade("#### 1/2", gold="2").verdict == "wrong"
    assert grade("#### 18", gold="180").verdict == "wrong"


def test_the_four_cases_are_apart() -> None:
    assert grade("#### 18").reason == "parsed"
    assert (grade("I do not know.").verdict, grade("I do not know.").reason) == ("no_answer", "unparsed")
    cut = grade("First, 4 * 5 = 18 and", finish="length")
    assert (cut.verdict, cut.reason, cut.extracted) == ("no_answer", "truncated", None)
    assert (grade(" \n").verdict, grade(" \n").reason) == ("no_answer", "empty")


def test_a_number_that_the_cut_may_have_shortened_is_not_trusted() -> None:
    assert grade("so\n#### 18", finish="length").reason == "truncated"
    assert grade("so\n#### 18\nNow", finish="length").verdict == "right"
    assert grade("so \\boxed{18}", finish="length").verdict == "right"
    assert grade("the answer is $18,", finish="length").reason == "truncated"


def test_more_than_one_answer_is_marked() -> None:
    for text in ("#### 17\n#### 18", "The answer is 17. No, the answer is 18.", "\\boxed{17} \\boxed{18}"):
        said = grade(text)
        assert said.verdict == "right", text
        assert {"several answers", "two boxes"} & set(said.marks), text
    for text in ("#### 18\n#### 18.0", "The result is 17. The answer is 18.", "#### 17. Add\n#### 18"):
        assert "several answers" not in grade(text).marks, text


def test_the_headline_rule_decides_and_others_object() -> None:
    both = grade("The answer is 7.\n#### 18")
    assert (both.verdict, both.rule, both.disagree) == ("right", "hashes", True)
    assert grade("#### 18 dollars a day").disagree is False
    fallback = grade("The answer is 18.")
    assert (fallback.rule, fallback.verdict, fallback.span) == ("answer_is", "right", (14, 16))
    assert grade("It makes 18").rule == "last_number"
