"""Reading the letter of a choice: the traps that are known, and what holds for every reply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.aqua import Aqua
from remote_agent.tasks.base import Grade, Sample
from remote_agent.tasks.families import CHOICE

CITIES = Sample("s", "q", "B", choices=("Berlin", "Paris", "New York", "York"))
NINE = Sample("s", "q", "I", choices=tuple(f"number {n}" for n in range(9)))

CASES = [
    # text, rule, letter
    ("Answer: B", "answer_is", "B"),
    ("answer: b", "answer_is", "B"),
    ("**Answer:** B", "answer_is", "B"),
    ("**Answer: B**", "answer_is", "B"),
    ("Answer: (B)", "answer_is", "B"),
    ("Answer: [B]", "answer_is", "B"),
    ("Answer: B) Paris", "answer_is", "B"),
    ("Answer: B. Paris", "answer_is", "B"),
    ("The answer is B", "answer_is", "B"),
    ("The answer is B.", "answer_is", "B"),
    ("The correct answer is option C, since it is far.", "answer_is", "C"),
    ("The correct choice is: (D).", "answer_is", "D"),
    ("The answer is therefore C.", "answer_is", "C"),
    ("Final answer: $\\boxed{C}$", "answer_is", "C"),
    ("The answer is $\\text{C}$", "answer_is", "C"),
    ("Answer:\nB", "answer_is", "B"),
    ("Answer:\n**B**", "answer_is", "B"),
    ("Answer: A\nNo, wait.\nAnswer: D", "answer_is", "D"),
    ("Answer: A or B", "answer_is", "A"),  # marked
    ("Answer: A because it is large", "answer_is", "A"),
    ("Answer: A cow is not a city", "answer_is", None),
    ("The answer is a city", "answer_is", None),
    ("The answer is a", "answer_is", "A"),
    ("Answer: I think it is B", "answer_is", None),
    ("The answer is not B", "answer_is", None),
    ("Answer seems to be A", "answer_is", None),  # `S` must not be read
    ("Antwort: B", "answer_is", "B"),
    ("Die Antwort ist C.", "answer_is", "C"),
    ("Answer: E", "answer_is", None),  # there is no E
    ("Answer: Berlin", "answer_is", None),
    ("Answer: B's capital", "answer_is", None),
    ("Answer: Beta", "answer_is", None),
    ("Answer: none of them", "answer_is", None),
    ("\\boxed{B}", "boxed", "B"),
    ("\\boxed{\\text{B}}", "boxed", "B"),
    ("\\boxed{(B)}", "boxed", "B"),
    ("\\boxed{B) Paris}", "boxed", "B"),
    ("\\boxed{A} \\boxed{B}", "boxed", "B"),
    ("\\boxed{Paris}", "boxed", None),
    ("\\boxed{B", "boxed", None),
    ('{"answer": "B"}', "json", "B"),
    ('```json\n{"reasoning": "A is wrong", "choice": "c"}\n```', "json", "C"),
    ('{"answer": "Paris"}', "json", None),
    ("#### B", "hashes", "B"),
    ("#### (C)", "hashes", "C"),
    ("B", "only_letter", "B"),
    (" b \n", "only_letter", "B"),
    ("(B)", "only_letter", "B"),
    ("**B.** Paris", "only_letter", "B"),
    ("B) Paris", "only_letter", "B"),
    ("A", "only_letter", "A"),
    ("A city in France", "only_letter", None),
    ("I am not sure", "only_letter", None),
    ("Because of B", "only_letter", None),
    ("The answer is Paris.", "choice_text", "B"),
    ("Answer: New York", "choice_text", "C"),  # not York
    ("The answer is York", "choice_text", "D"),
    ("new york", "choice_text", "C"),
    ("Paris is in France, Berlin in Germany", "choice_text", None),
    ("The answer is Parisian bread", "choice_text", None),
    ("A is wrong. (B) it is.", "last_letter", "B"),
    ("I would take option C", "last_letter", "C"),
    ("**B**", "last_letter", "B"),
    ("A cow and I", "last_letter", None),
    ("It can only be D", "last_letter", "D"),
    ("no letter here", "last_letter", None),
    # Who repeats the choices has chosen none of them.
    ("A. Berlin\nB. Paris\nC. New York\nD. York", "only_letter", None),
    ("A. Berlin\nB. Paris\nC. New York\nD. York", "last_letter", None),
    ("A) Berlin\nB) Paris\n\nThe capital is (B)", "last_letter", "B"),
    ("A. Berlin\nB. Paris\nThe answer is C. New York", "answer_is", "C"),
    ("B. Paris\nIt is in France.", "only_letter", "B"),
    # Who counts the options up, or names a wrong one, has not chosen it.
    ("The first option is A, which is 6 minutes.\nThe second option is B, which is 48", "answer_is", None),
    ("The last choice is D. The answer is C.", "answer_is", "C"),
    ("The wrong answer is B.", "answer_is", None),
    ("An incorrect answer: A\nThe correct answer: C", "answer_is", "C"),
    ("The correct option is B", "answer_is", "B"),
    ("The second option is Paris", "choice_text", None),
]


@pytest.mark.parametrize(("text", "rule", "letter"), CASES)
def test_rule(text: str, rule: str, letter: str | None) -> None:
    found = CHOICE.rules[rule].read(text, CITIES)
    assert (found and found.value) == letter
    if found and rule != "json":
        assert found.text == text[slice(*found.span)]


def test_the_pronoun_is_a_choice_only_where_there_are_nine() -> None:
    assert CHOICE.rules["last_letter"].read("It is I.", NINE).value == "I"  # type: ignore[union-attr]
    assert CHOICE.rules["answer_is"].read("Answer: I", NINE).value == "I"  # type: ignore[union-attr]
    assert CHOICE.rules["answer_is"].read("Answer: I", CITIES) is None
    assert CHOICE.rules["last_letter"].read("I think it is H.", NINE).value == "H"  # type: ignore[union-attr]


def test_what_is_uncertain_is_marked() -> None:
    assert CHOICE.rules["answer_is"].read("Answer: A or B", CITIES).marks == ("several letters",)  # type: ignore[union-attr]
    assert CHOICE.rules["boxed"].read("\\boxed{A} \\boxed{B}", CITIES).marks == ("two boxes",)  # type: ignore[union-attr]
    assert CHOICE.rules["last_letter"].read("(A) is wrong, (B) right", CITIES).marks == ("several letters",)  # type: ignore[union-attr]

    differs = ("letter and text differ",)
    for text, rule in (
        ("Answer: A. Paris", "answer_is"),
        ("A) New York.", "only_letter"),
        ("**A.** Paris", "only_letter"),
    ):
        assert CHOICE.rules[rule].read(text, CITIES).marks == differs  # type: ignore[union-attr]
    assert CHOICE.rules["answer_is"].read("Answer: B. Paris", CITIES).marks == ()  # type: ignore[union-attr]


@given(
    letter=st.sampled_from("ABCD"),
    lead=st.sampled_from(
        ["Answer: ", "The answer is ", "So the correct answer is: ", "**Answer:** ", "Final answer: "]
    ),
    shape=st.sampled_from(
        ["{}", "({})", "**{}**", "{}.", "$\\boxed{{{}}}$", "option {}", "`{}`", "{})", "[{}]"]
    ),
    before=st.sampled_from(["", "A is tempting. ", "I thought of C first.\n", "(D) is not it.\n\n"]),
    after=st.sampled_from(["", "\n", " ", "\nI hope this helps."]),
)
def test_any_announced_letter(letter: str, lead: str, shape: str, before: str, after: str) -> None:
    found = CHOICE.rules["answer_is"].read(before + lead + shape.format(letter) + after, CITIES)
    assert found is not None
    assert found.value == letter


@given(st.text(alphabet=st.sampled_from("ABCDEI abcis.,:()*[]\\boxed{}#\n\"'answerio`$-"), max_size=200))
def test_no_text_raises_and_spans_hold(text: str) -> None:
    for name, rule in CHOICE.rules.items():
        found = rule.read(text, CITIES)
        if found and not rule.raw and name != "json":
            assert found.text == text[slice(*found.span)]
            assert found.value in "ABCD"  # type: ignore[operator]


SPEC = TaskSpec(name="aqua")


def grade(completion: str, finish: str = "stop") -> Grade:
    return Aqua().grade(CITIES, completion, finish, SPEC)


def test_the_first_rule_that_reads_something_decides() -> None:
    both = grade("\\boxed{A}\nAnswer: B")
    assert (both.verdict, both.rule, both.disagree) == ("right", "answer_is", True)
    assert both.readings["boxed"] == "A"
    assert grade("Answer: Paris").rule == "choice_text"
    assert grade("Answer: Berlin").verdict == "wrong"
    assert (grade("I cannot say.").verdict, grade("I cannot say.").reason) == ("no_answer", "unparsed")


def test_a_letter_at_the_cut_is_not_trusted() -> None:
    assert grade("Answer: B", "length").reason == "truncated"  # it may have become `Berlin`
    assert grade("Answer: B.\nThis", "length").verdict == "right"
    assert grade("(B) may be", "length").reason == "truncated"
