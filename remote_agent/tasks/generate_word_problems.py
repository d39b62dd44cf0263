"""Makes the word problems that ship with the package: `python -m remote_agent.tasks.generate_word_problems`.

The problems are our own: templates, names and numbers drawn with a fixed seed, so that the shipped file is
exactly what this module generates. Four categories from easy to hard, equally many of each.
"""

from __future__ import annotations

import json
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

Problem = tuple[str, int]
Draw = random.Random


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
    return text, a + b


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
    return text, left


def _two_steps(r: Draw) -> Problem:
    (name, other), thing = r.sample(_NAMES, 2), r.choice(_THINGS)
    a, b, c = r.randint(2, 10), r.randint(2, 8), r.randint(2, 5)
    n, each = r.randint(2, 6), r.randint(2, 5)
    return r.choice(
        [
            (
                f"{name} has {a + c} {thing}. {name} buys {b} more and then gives {c} to {other}. "
                f"How many {thing} does {name} have now?",
                a + b,
            ),
            (
                f"{name} fills {n} {r.choice(_BOXES)} with {each} {thing} each and has {c} {thing} left. "
                f"How many {thing} does {name} have in all?",
                n * each + c,
            ),
            (
                f"{name} has {a + b + c} {thing}. {name} gives {b} to {other} and loses {c}. "
                f"How many {thing} are left?",
                a,
            ),
            (
                f"{name} buys {n} {thing} for {each} dollars each and pays with {n * each + c} dollars. "
                f"How many dollars does {name} get back?",
                c,
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
                n * each + m,
            ),
            (
                f"A shop sells {thing} for {few} dollars each. {name} buys {n} on Monday and {m} on Tuesday, "
                f"and has {gone} dollars left. How many dollars did {name} have at first?",
                (n + m) * few + gone,
            ),
            (
                f"{name} puts {n * few} {thing} into {few} equal {box}, takes {m} of these {box} and adds "
                f"{gone} single {thing}. How many {thing} does {name} take?",
                n * m + gone,
            )
            if m < few
            else (
                f"{name} has {n} {thing}. {other} has {few} times as many. Together they give away {gone}. "
                f"How many {thing} do they have left together?",
                n + n * few - gone,
            ),
            (
                f"{name} reads {n} pages a day for {each} days, {other} reads {few} pages a day for {m} "
                f"days. How many pages do they read together?",
                n * each + few * m,
            ),
        ]
    )


CATEGORIES: dict[str, Callable[[Draw], Problem]] = {
    "one addition": _one_addition,
    "one subtraction": _one_subtraction,
    "two steps": _two_steps,
    "three steps": _three_steps,
}


def rows(seed: int = SEED, per_category: int = PER_CATEGORY) -> Iterator[dict[str, str]]:
    """Distinct problems, the categories taking turns: each has `id`, `question`, `answer`, `category`."""
    draw = random.Random(seed)
    seen: set[str] = set()
    for number in range(per_category):
        for category, make in CATEGORIES.items():
            question, answer = make(draw)
            while question in seen or answer < 0:
                question, answer = make(draw)
            seen.add(question)
            name = category.replace(" ", "-")
            yield {
                "id": f"{name}-{number + 1:03d}",
                "question": question,
                "answer": str(answer),
                "category": category,
            }


def jsonl() -> str:
    """The shipped file, `data/word_problems.jsonl`."""
    return "".join(json.dumps(row) + "\n" for row in rows())


if __name__ == "__main__":
    sys.stdout.write(jsonl())
