"""Makes the arithmetic probes that ship: `python -m` this module prints `data/arithmetic.jsonl`."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator

PER_CATEGORY = 50
KINDS = {
    "1 digit +": (1, "+"), "1 digit -": (1, "-"), "2 digits +": (2, "+"),
    "2 digits -": (2, "-"), "3 digits +": (3, "+"), "2 digits *": (2, "*"),
}  # fmt: skip
"""Category: digits of both operands, and the operation."""


def rows(seed: int = 0, per_category: int = PER_CATEGORY) -> Iterator[dict[str, str]]:
    """Distinct calculations, the categories taking turns."""
    draw = random.Random(seed)
    seen: set[str] = set()
    for number in range(per_category):
        for category, (digits, sign) in KINDS.items():
            context, result = _calculation(draw, digits, sign)
            while context in seen:
                context, result = _calculation(draw, digits, sign)
            seen.add(context)
            yield {
                "id": f"{category.replace(' ', '-')}-{number + 1:03d}",
                "context": context,
                "continuation": f" {result}",
                "category": category,
            }


def _calculation(draw: random.Random, digits: int, sign: str) -> tuple[str, int]:
    low, high = 10 ** (digits - 1), 10**digits - 1
    a, b = draw.randint(low, high), draw.randint(low, high)
    result = {"+": a + b, "-": a - b, "*": a * b}[sign]
    return f"{a} {sign} {b} =", result


def jsonl() -> str:
    """The shipped file, `data/arithmetic.jsonl`."""
    return "".join(json.dumps(row) + "\n" for row in rows())


if __name__ == "__main__":
    sys.stdout.write(jsonl())
