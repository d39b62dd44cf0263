"""Completions may be megabytes of noise: every rule of every family ends in time, and none of them raises."""

from __future__ import annotations

import json
import time

import pytest

from remote_agent.protocol import TaskSpec
from remote_agent.registry import METRICS, load
from remote_agent.tasks import grading
from remote_agent.tasks.base import AnswerFormat, Sample

SMALL, LARGE = 1 << 17, 1 << 20
"""Characters of a noise."""
SECONDS = 2.0
"""CPU time for the small one. Generous: a rule of quadratic time would take a hundred times as long."""


def noises(size: int) -> dict[str, str]:
    return {
        "digits": "1" * size,
        "digits at a cut": "x " + "7" * (size // 2) + "x" + "8" * (size // 2),
        "numbers": "1 " * (size // 2),
        "thousands": "1,000" + ",000" * (size // 4),
        "thousands that fail": "1" + " 000" * (size // 4) + "0",
        "commas and dots": "1,.,.,.,$" * (size // 8),
        "fractions": "1/2/3/" * (size // 6),
        "hashes": "#" * size,
        "hashes with blanks": "#### " * (size // 5),
        "hashes, then blanks": "####" + " " * size,
        "hashes with stars": "####" + "*_`" * (size // 3) + "x",
        "answers": "answer: " * (size // 8),
        "answers with stars": "answer" + "*" * size,
        "answers of sums": "answer is 1 + " * (size // 14),
        "open boxes": "\\boxed{" * (size // 7),
        "a box of blanks": "\\boxed" + " " * size,
        "braces": "{" * size,
        "nested braces": "\\boxed{" + "{" * (size // 2) + "}" * (size // 2),
        "brackets": "[" * size,
        "objects": '{"a":' * (size // 5),
        "an object that never ends": '{"answer": "' + "x" * size,
        "lists": "[" + "1," * (size // 2),
        "small objects": "{} " * (size // 3),
        "tool calls": "<tool_call>" * (size // 11),
        "whole tool calls": '<tool_call>{"name": "f", "arguments": {}}</tool_call>' * (size // 50),
        "parentheses": "f(" * (size // 2),
        "short parentheses": "f(" * 3000,
        "dots": "a." * 4000 + "f(a=1)",
        "signs": "f(a=" + "-" * 7000 + "1)",
        "sums": "f(a=" + "1+" * 3000 + "1)",
        "nested lists": "f(a=" + "[" * 90 + "]" * 90 + ")",
        "deep lists": "f(a=" + "[" * 3000 + "]" * 3000 + ")",
        "not not": "f(a=" + "not " * 1500 + "1)",
        "letters": "A " * (size // 2),
        "marked letters": "(A) " * (size // 4),
        "options": "option " * (size // 7),
        "blanks": " " * size,
        "lines": "\n" * size,
        "thoughts": "<think>" * (size // 7),
        "ends of thoughts": "</think>" * (size // 8),
        "surrogates": "\ud800" * 1000,
        "zeros": "\x00" * size,
        "combining": "é\u0301" * (size // 4),
    }  # fmt: skip


SAMPLES = {
    "number": Sample("s", "q", "18"),
    "choice": Sample("s", "q", "B", choices=("one", "two", "three", "....")),
    "text": Sample("s", "q", "Paris"),
    "call": Sample("s", "q", json.dumps([{"name": "f", "arguments": {}}]), data={"tools": []}),
}


def read(family: str, text: str, limit: float, *finishes: str) -> None:
    rules = load(METRICS[family]).rules
    format = AnswerFormat("", "", tuple(rules), family=family)
    for finish in finishes:
        started = time.process_time()
        grade = grading.grade(SAMPLES[family], text, finish, format, TaskSpec(name="gsm8k"))
        assert time.process_time() - started < limit
        assert grade.verdict in ("right", "wrong", "no_answer")
        assert all(len(shown or "") <= grading.SHOWN for shown in grade.readings.values())


@pytest.mark.parametrize("family", sorted(SAMPLES))
@pytest.mark.parametrize("name", noises(SMALL))
def test_noise_is_read_in_time(family: str, name: str) -> None:
    read(family, noises(SMALL)[name], SECONDS, "stop", "length")


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(SAMPLES))
@pytest.mark.parametrize("name", noises(8))
def test_a_megabyte_of_noise_is_read_in_time(family: str, name: str) -> None:
    read(family, noises(LARGE)[name], SECONDS * LARGE / SMALL, "stop")
