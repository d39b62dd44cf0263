"""Parity of verdicts with lm-evaluation-harness 0.4.13: its documented filters, written here a second time as an
oracle, against our rules of the same names, on hand-made, recorded and real answers, one by one."""

from __future__ import annotations

import json
import os
import re
import string
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent.protocol import TaskSpec
from remote_agent.tasks import base, mathqa
from remote_agent.tasks.aqua import Aqua
from remote_agent.tasks.base import Sample
from remote_agent.tasks.gsm8k import Gsm8k
from remote_agent.tasks.hellaswag import HellaSwag

INVALID = "[invalid]"
RECORDED = Path(__file__).with_name("recorded_outputs.jsonl")
SHARED = Path(os.environ.get("GPUSESS_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data"


# --- the oracle: filters and metric as documented -------------------------------------------------------


def regex_filter(pattern: str, text: str, group_select: int = 0) -> str:
    matches = re.findall(pattern, text)
    if not matches:
        return INVALID
    chosen = matches[group_select]
    if isinstance(chosen, tuple):
        chosen = next((group for group in chosen if group), INVALID)
    return chosen.strip()


def exact_match(answer: str, gold: str) -> bool:
    for pattern in (",", "\\$", "(?s).*#### ", "\\.$"):
        answer, gold = re.sub(pattern, "", answer), re.sub(pattern, "", gold)
    return answer.lower() == gold.lower()


FILTERS = {
    "lm_eval_strict": ("#### (\\-?[0-9\\.\\,]+)", 0),
    "lm_eval_flexible": ("(-?[$0-9.,]{2,})|(-?[0-9]+)", -1),
    "lm_eval_answer_is": ("The answer is (\\-?[0-9\\.\\,]+).", 0),
}


def bare(text: str) -> str:
    return "".join(c for c in text.lower() if not unicodedata.category(c).startswith("P"))


def multi_choice_filter(text: str, choices: tuple[str, ...]) -> str:
    matches = re.findall("(\\([A-Z]\\))", text)
    if matches:
        return str(matches[-1])
    texts = [bare(choice.strip()) for choice in choices]
    by_text = {t: f"({letter})" for t, letter in zip(texts, string.ascii_uppercase, strict=False)}
    found = re.findall("|".join(re.escape(t) for t in sorted(texts, key=len, reverse=True)), bare(text))
    if found and found[-1].strip():
        return by_text.get(found[-1].strip(), found[-1].strip())
    letters = "|".join(string.ascii_uppercase[: len(choices)])
    found = re.findall(rf":[\s]*({letters})", text)
    return f"({found[-1]})" if found else INVALID


def letters_match(answer: str, gold: str) -> bool:
    return bare(answer) == bare(gold)


# --- numbers --------------------------------------------------------------------------------------------

GOLDS = ["18", "70,000", "-5", "1,250", "0.5", "2"]
TEXTS = [
    "#### 18", "#### 18.", "####18", "#### 7\n#### 18", "#### $18", "#### $18.00", "#### 18.0", "#### 18 dollars",
    "The answer is 18.", "The answer is 18", "The answer is 180", "The answer is 70,000", "The answer is 70,000.",
    "The answer is 1", "The answer is -5.", "Janet makes 18 dollars a day for 7 days", "18, because each costs $2",
    "It is 1/2", "18...", "$\\boxed{18}$.", "$18.00", "18.0", "\\boxed{1{,}250}", "−5", "$50,00", "10-12", "", "none",
    "#### 1,250", "#### -5", "#### −5", "#### 0.5", "#### .5", "The answer is .5.", "70000", "70,000", "#### 70000",
    "1e3", "#### ....", "...", "#### ,", "a\nb\n#### 18\nQuestion: 5", "#### #### 18", "$", "$$", "-$18", "18%",
]  # fmt: skip


def verdicts(rule: str, text: str, gold: str) -> tuple[bool, bool]:
    """Ours, and the oracle's."""
    spec = TaskSpec(name="gsm8k", extractors=[rule])
    ours = Gsm8k().grade(Sample("s", "q", gold), text, "stop", spec)
    pattern, select = FILTERS[rule]
    return ours.verdict == "right", exact_match(regex_filter(pattern, text, select), f"so\n#### {gold}")


@pytest.mark.parametrize("rule", FILTERS)
def test_numbers_get_the_peers_verdicts(rule: str) -> None:
    for text in TEXTS:
        for gold in GOLDS:
            ours, theirs = verdicts(rule, text, gold)
            assert ours is theirs, (text, gold)


@given(
    st.sampled_from(sorted(FILTERS)),
    st.text(alphabet=st.sampled_from("0123456789.,$#- \nTheanswri"), max_size=60),
    st.sampled_from(["", "#### ", "The answer is "]),
    st.sampled_from(GOLDS),
)
def test_any_text_gets_the_peers_verdict(rule: str, tail: str, lead: str, gold: str) -> None:
    ours, theirs = verdicts(rule, lead + tail, gold)
    assert ours is theirs


def test_our_own_rules_are_right_where_the_peers_are_not() -> None:
    def right(text: str, gold: str) -> tuple[bool, bool, bool, bool]:
        own = Gsm8k().grade(Sample("s", "q", gold), text, "stop", TaskSpec(name="gsm8k")).verdict == "right"
        return own, *(verdicts(rule, text, gold)[0] for rule in FILTERS)  # type: ignore[return-value]

    cases = [
        ("The answer is 180", "180"), ("The answer is 70,000", "70,000"), ("18 dollars.\nThe answer is 18", "18"),
        ("#### 18.0", "18"), ("$\\boxed{18}$.", "18"), ("\\boxed{1{,}250}", "1,250"), ("#### −5", "-5"),
        ("**Answer: \\$18 per day.**", "18"), ("#### 18 dollars a day for 7 days", "18"),
    ]  # fmt: skip
    ours = sum(right(text, gold)[0] for text, gold in cases)
    theirs = [sum(right(text, gold)[n] for text, gold in cases) for n in (1, 2, 3)]
    assert ours == len(cases) > max(theirs)
    # The peer's false positives are none of ours.
    assert right("The answer is 180", "18") == (False, False, False, True)
    assert right("It is 1/2", "2") == (False, False, True, False)


# --- letters --------------------------------------------------------------------------------------------

CHOICES = ("Berlin", "Paris", "New York", "York")
REPLIES = [
    "(B)", "The answer is (B).", "(A) is wrong, so (B)", "Paris", "It is in paris.", "New York", "York", "new york!",
    "Answer: B", "answer:B", "B", "b", "The answer is B", "**B**", "none", "", "(E)", "Answer: E", "(b)", "York: B",
    ": A\n: C", "Ber lin", "B.", "  B  ", "B\nParis", "Bp", "(A", "C)",
]  # fmt: skip


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("gold", list("ABCD"))
def test_letters_get_the_peers_verdicts(reply: str, gold: str) -> None:
    sample = Sample("s", "q", gold, choices=CHOICES)

    def ours(rule: str) -> bool:
        spec = TaskSpec(name="aqua", extractors=[rule])
        return Aqua().grade(sample, reply, "stop", spec).verdict == "right"

    assert ours("lm_eval_multi_choice") is letters_match(multi_choice_filter(reply, CHOICES), f"({gold})")
    first = re.findall("^(.*?)(?=\\n|$)", reply)[0].strip()
    assert ours("lm_eval_first_line") is letters_match(first, gold)


@given(
    st.text(alphabet=st.sampled_from("ABCDE()aparisnewyork:. \n"), max_size=40),
    st.sampled_from("ABCD"),
    st.sampled_from([CHOICES, ("1", "12", "2", "..."), ("a", "A b", "b", "x (C)")]),
)
def test_any_reply_gets_the_peers_verdict(reply: str, gold: str, choices: tuple[str, ...]) -> None:
    sample = Sample("s", "q", gold, choices=choices)
    spec = TaskSpec(name="aqua", extractors=["lm_eval_multi_choice"])
    ours = Aqua().grade(sample, reply, "stop", spec).verdict == "right"
    assert ours is letters_match(multi_choice_filter(reply, choices), f"({gold})")


# --- recorded and real answers --------------------------------------------------------------------------


def recorded() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORDED.read_text().splitlines()]


@pytest.mark.parametrize("rule", FILTERS)
def test_recorded_outputs_get_the_peers_verdicts(rule: str) -> None:
    rows = [row for row in recorded() if row["task"] == "word_problems"]
    assert len(rows) >= 30
    for row in rows:
        ours, theirs = verdicts(rule, row["completion"], row["gold"])
        assert ours is theirs, row["sample"]


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
def test_gsm8ks_own_solutions_get_the_peers_verdicts() -> None:
    spec = TaskSpec(name="gsm8k", path=str(SHARED / "gsm8k/test.jsonl"))
    samples = Gsm8k().load(spec).samples
    rows = [json.loads(line) for line in (SHARED / "gsm8k/test.jsonl").read_text().splitlines()]
    for sample, row, other in zip(samples, rows, [*rows[1:], rows[0]], strict=True):
        for text in (row["answer"], other["answer"], row["answer"].split("####")[0], row["question"]):
            for rule in FILTERS:
                ours, theirs = verdicts(rule, text, sample.gold)
                assert ours is theirs, (rule, text)
        assert Gsm8k().grade(sample, row["answer"], "stop", spec).verdict == "right"


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
def test_mathqas_choices_are_the_peers_where_its_pattern_reads_them_whole() -> None:
    path = SHARED / "mathqa/test1000.jsonl"
    equal, cut, mended = 0, 0, 0
    for line in path.read_text().splitlines():
        text = json.loads(line)["options"]
        found = re.findall(r"[abcd] \) .*?, |e \) .*?$", text)
        theirs = tuple(choice[4:].rstrip(" ,") for choice in found)
        ours, repair = mathqa.options(text)
        equal += ours == theirs
        mended += bool(repair)
        # Where a choice holds ", ", the peer takes the first part of it.
        cut += (
            not repair and ours != theirs and all(o.startswith(t) for o, t in zip(ours, theirs, strict=True))
        )
    assert (equal, cut, mended) == (960, 3, 37)


# --- HellaSwag's texts ----------------------------------------------------------------------------------


def documented(text: str) -> str:
    text = text.strip()
    text = text.replace(" [title]", ". ")
    text = re.sub("\\[.*?\\]", "", text)
    return text.replace("  ", " ")


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
@pytest.mark.parametrize("name", ["val_first200.jsonl", "val_reconstructed.jsonl"])
def test_hellaswags_texts_are_the_peers(name: str) -> None:
    path = SHARED / "hellaswag" / name
    spec, task = TaskSpec(name="hellaswag", path=str(path)), HellaSwag()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for sample, row in zip(task.load(spec).samples, rows, strict=True):
        context = row["ctx_a"] + " " + row["ctx_b"].capitalize()
        assert task.context(sample, spec) == documented(row["activity_label"] + ": " + context)
        assert task.continuations(sample, spec) == tuple(" " + documented(e) for e in row["endings"])
        assert "ABCD".index(sample.gold) == int(row["label"])
    assert base.template_of(task, spec) == "none"
