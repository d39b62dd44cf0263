"""What all configured providers offer now, asked at once. What each said last is kept on disk, so that one
that fails, or that answers with nothing, does not wipe what is known of it: it is shown with its age and its
error.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gpusess import paths
from gpusess.errors import AuthRefused, GpusessError, ProviderError
from gpusess.providers import PROVIDERS, open_provider
from gpusess.providers.base import Offer, Provider

ANSWER_LIMIT = 45.0
NOT_OFFERING = ("local", "ssh")
"""Machines of the user's own: they are no market. Asked only by name."""


@dataclass(slots=True)
class Answer:
    """What one provider offers. Times are seconds since the epoch."""

    provider: str
    offers: list[Offer] = field(default_factory=list)
    at: float = 0.0
    """When it said so; 0: never."""
    error: str = ""
    """Why the newest try brought nothing new; empty: it did."""
    hint: str = ""


Opener = Callable[[str], Provider]


async def ask_all(
    names: Iterable[str] | None = None,
    clock: Callable[[], float] = time.time,
    opener: Opener = open_provider,
    on_answer: Callable[[Answer], None] | None = None,
) -> list[Answer]:
    """Ask the providers at the same time: all for which there is a key, or those named.

    on_answer: told of each answer as it comes. The result is in the order of the names.
    """
    wanted = [n for n in PROVIDERS if n not in NOT_OFFERING] if names is None else list(names)

    async def one(name: str) -> Answer | None:
        answer = await _ask(name, clock, opener, named=names is not None)
        if answer and on_answer:
            on_answer(answer)
        return answer

    answers = await asyncio.gather(*(one(name) for name in wanted))
    return [answer for answer in answers if answer is not None]


def last_answers(names: Iterable[str] | None = None) -> list[Answer]:
    """What the providers said last, without asking them."""
    every = PROVIDERS if names is None else names
    return [answer for name in every if (answer := _read(name)).at]


async def _ask(name: str, clock: Callable[[], float], opener: Opener, *, named: bool) -> Answer | None:
    """One provider's answer; None where there is no key for it and nobody named it."""
    try:
        provider = opener(name)
    except AuthRefused as exc:
        return _trouble(name, exc.message, exc.hint) if named else None
    except GpusessError as exc:
        # Such as an option that is needed: it cannot be asked without a spec.
        return _trouble(name, exc.message, exc.hint) if named else None
    try:
        async with asyncio.timeout(ANSWER_LIMIT):
            offers = await provider.offers()
    except TimeoutError:
        return _trouble(name, f"no answer within {ANSWER_LIMIT:.0f} s")
    except ProviderError as exc:
        return _trouble(name, exc.message, exc.hint)
    finally:
        await provider.close()
    if not offers:
        return _trouble(name, "it answered with no offers at all")
    answer = Answer(name, offers, clock())
    _write(answer)
    return answer


def _trouble(name: str, error: str, hint: str = "") -> Answer:
    """What it said before, with why there is nothing newer."""
    known = _read(name)
    known.error, known.hint = error, hint
    return known


def _path(name: str) -> Path:
    return paths.cache() / "offers" / f"{name}.json"


def _read(name: str) -> Answer:
    try:
        kept = json.loads(_path(name).read_text(encoding="utf-8"))
        return Answer(name, [Offer(**offer) for offer in kept["offers"]], float(kept["at"]))
    except (OSError, ValueError, TypeError, KeyError):
        return Answer(name)  # nothing was kept, or an older gpusess wrote it: it is asked anew


def _write(answer: Answer) -> None:
    path = _path(answer.provider)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}.tmp")
    new.write_text(
        json.dumps({"at": answer.at, "offers": [asdict(o) for o in answer.offers]}), encoding="utf-8"
    )
    new.replace(path)


def facts(answers: Iterable[Answer], keep: Callable[[Offer], bool], now: float) -> dict[str, Any]:
    """For `--json`: the providers with the age of what they said, and the offers that are kept."""
    answers = list(answers)
    return {
        "providers": [
            {
                "provider": a.provider,
                "at": a.at or None,
                "age_seconds": round(now - a.at, 3) if a.at else None,
                "offers": len(a.offers),
                "error": a.error or None,
            }
            for a in answers
        ],
        "offers": [{**asdict(o), "as_of": a.at} for a in answers for o in a.offers if keep(o)],
    }
