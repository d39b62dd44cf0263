"""Makes the word problems that ship with the package: `python -m remote_agent.tasks.generate_word_problems`.

The problems are our own: templates, names and numbers drawn with a fixed seed, so that the shipped file is
exactly what this module generates. Four categories from easy to hard, equally many of each.
"""

from __future__ import annotations

import json
import operator
import random
import sys
from collections.abc import Callable, Iterator

SEED = 20261121
PER_CATEGORY = 75

_NAMES = (
    "Ada",
    "Ben",
    "Carla",
    "Dan",
    "Emma",
    "Felix",
    "Grace",
    "Hugo",
    "Ines",
    "Jack",
    "Kira",
    "Liam",
    "Maya",
    "Noah",
    "Olga",
    "Paul",
    "Rosa",
    "Sam",
    "Tina",
    "Uma",
    "Victor",
    "Wendy",
    "Yusuf",
    "Zoe",
)
_THINGS = (
    "apples",
    "books",
    "marbles",
    "stickers",
    "cookies",
    "pencils",
    "coins",
    "shells",
    "stamps",
    "balloons",
    "cards",
    "flowers",
    "oranges",
    "candles",
)
_BOXES = ("bags", "boxes", "baskets", "packs")
_PLACES = ("the garden", "the market", "the library", "the beach", "the school")

Step = tuple[int, str, int]
"""One calculation: `(12, "+", 5)`."""
Problem = tuple[str, list[Step]]
"""The question, and the calculations that answer it; the last one's result is the answer."""
Draw = random.Random

_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
}


def _one_addition(r: Draw) -> Problem:
    (name, other), thing, a, b = r.sample(_NAMES, 2), r.choice(_THINGS), r.randint(2, 20), r.randint(2, 12)
    text = r.choice(
        [
            f"{name} has {a} {thing}. {other} gives {name} {b} more {thing}. "
            f"How many {thing} does {name} have now?",
            f"{name} finds {a} {thing} in the morning and {b} {thing} in the afternoon. "
            f"How many {thing} does {name} find in all?",
            f"There are {a} {thing} on one table and {b} {thing} on another table. "
            f"How many {thing} are there in total?",
            f"{name} has {a} {thing} and {other} has {b} {thing}. How many {thing} do they have together?",
        ]
    )
    return text, [(a, "+", b)]


def _one_subtraction(r: Draw) -> Problem:
    (name, other), thing, b, left = r.sample(_NAMES, 2), r.choice(_THINGS), r.randint(2, 9), r.randint(2, 11)
    a = b + left
    text = r.choice(
        [
            f"{name} has {a} {thing}. {name} gives {b} {thing} to {other}. How many {thing} are left?",
            f"There are {a} {thing} in a box. {name} takes {b} of them out. "
            f"How many {thing} are still in the box?",
            f"{name} had {a} {thing} and lost {b} of them at {r.choice(_PLACES)}. "
            f"How many {thing} does {name} have now?",
            f"{name} has {a} {thing} and {other} has {b} {thing}. "
            f"How many more {thing} does {name} have than {other}?",
        ]
    )
    return text, [(a, "-", b)]


def _two_steps(r: Draw) -> Problem:
    (name, other), thing = r.sample(_NAMES, 2), r.choice(_THINGS)
    a, b, c = r.randint(2, 10), r.randint(2, 8), r.randint(2, 5)
    n, each = r.randint(2, 6), r.randint(2, 5)
    return r.choice(
        [
            (
                f"{name} has {a + c} {thing}. {name} buys {b} more and then gives {c} to {other}. "
                f"How many {thing} does {name} have now?",
                [(a + c, "+", b), (a + b + c, "-", c)],
            ),
            (
                f"{name} fills {n} {r.choice(_BOXES)} with {each} {thing} each and has {c} {thing} left. "
                f"How many {thing} does {name} have in all?",
                [(n, "*", each), (n * each, "+", c)],
            ),
            (
                f"{name} has {a + b + c} {thing}. {name} gives {b} to {other} and loses {c}. "
                f"How many {thing} are left?",
                [(a + b + c, "-", b), (a + c, "-", c)],
            ),
            (
                f"{name} buys {n} {thing} for {each} dollars each and pays with {n * each + c} dollars. "
                f"How many dollars does {name} get back?",
                [(n, "*", each), (n * each + c, "-", n * each)],
            ),
        ]
    )


def _three_steps(r: Draw) -> Problem:
    (name, other), thing, box = r.sample(_NAMES, 2), r.choice(_THINGS), r.choice(_BOXES)
    n, each, m, few = r.randint(2, 6), r.randint(2, 5), r.randint(2, 5), r.randint(2, 5)
    gone = r.randint(2, 5)
    return r.choice(
        [
            (
                f"{name} has {n} {box} with {each} {thing} each. {other} brings {m + gone} more {thing}, "
                f"but {gone} of them are broken and thrown away. How many {thing} are there now?",
                [(n, "*", each), (m + gone, "-", gone), (n * each, "+", m)],
            ),
            (
                f"A shop sells {thing} for {few} dollars each. {name} buys {n} on Monday and {m} on Tuesday, "
                f"and has {gone} dollars left. How many dollars did {name} have at first?",
                [(n, "+", m), (n + m, "*", few), ((n + m) * few, "+", gone)],
            ),
            (
                f"{name} puts {n * few} {thing} into {few} equal {box}, takes {m} of these {box} and adds "
                f"{gone} single {thing}. How many {thing} does {name} take?",
                [(n * few, "/", few), (n, "*", m), (n * m, "+", gone)],
            )
            if m < few
            else (
                f"{name} has {n} {thing}. {other} has {few} times as many. Together they give away {gone}. "
                f"How many {thing} do they have left together?",
                [(n, "*", few), (n, "+", n * few), (n + n * few, "-", gone)],
            ),
            (
                f"{name} reads {n} pages a day for {each} days, {other} reads {few} pages a day for {m} "
                f"days. How many pages do they read together?",
                [(n, "*", each), (few, "*", m), (n * each, "+", few * m)],
            ),
        ]
    )


CATEGORIES: dict[str, Callable[[Draw], Problem]] = {
    "one addition": _one_addition,
    "one subtraction": _one_subtraction,
    "two steps": _two_steps,
    "three steps": _three_steps,
}


def _result(step: Step) -> int:
    left, sign, right = step
    return _OPERATORS[sign](left, right)


def _distinct(seed: int, per_category: int, seen: set[str]) -> Iterator[tuple[int, str, Problem]]:
    """Number, category and problem, the categories taking turns; no question that was `seen`."""
    draw = random.Random(seed)
    for number in range(per_category):
        for category, make in CATEGORIES.items():
            question, steps = make(draw)
            while question in seen or _result(steps[-1]) < 0:
                question, steps = make(draw)
            seen.add(question)
            yield number, category, (question, steps)


def rows(seed: int = SEED, per_category: int = PER_CATEGORY) -> Iterator[dict[str, str]]:
    """Distinct problems: each has `id`, `question`, `answer`, `category`."""
    for number, category, (question, steps) in _distinct(seed, per_category, set()):
        yield {
            "id": f"{category.replace(' ', '-')}-{number + 1:03d}",
            "question": question,
            "answer": str(_result(steps[-1])),
            "category": category,
        }


def training_rows(seed: int, per_category: int) -> Iterator[dict[str, str]]:
    """Problems to learn from, with the calculation written out; none of them is among the shipped ones."""
    shipped = {row["question"] for row in rows()}
    for _number, category, (question, steps) in _distinct(seed, per_category, shipped):
        lines = [f"{left} {sign} {right} = {_result((left, sign, right))}" for left, sign, right in steps]
        yield {
            "question": question,
            "answer": "\n".join([*lines, f"#### {_result(steps[-1])}"]),
            "category": category,
        }


def jsonl() -> str:
    """The shipped file, `data/word_problems.jsonl`."""
    return "".join(json.dumps(row) + "\n" for row in rows())


def training_jsonl(seed: int, per_category: int) -> str:
    """A file for `train.data`."""
    return "".join(json.dumps(row) + "\n" for row in training_rows(seed, per_category))


if __name__ == "__main__":
    # `train SEED COUNT`: problems to learn from, COUNT of each category.
    if sys.argv[1:2] == ["train"]:
        sys.stdout.write(training_jsonl(int(sys.argv[2]), int(sys.argv[3])))
    else:
        sys.stdout.write(jsonl())
