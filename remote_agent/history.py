"""What a journal's records tell the next attempt: whether all is done, what was in flight, who is suspect.

Pure functions of the records, in their order.
"""

from __future__ import annotations

from remote_agent.journal import Record
from remote_agent.plan import Pair


def is_complete(records: list[Record]) -> bool:
    return any(r["kind"] == "finished" and r["outcome"] == "complete" for r in records)


def has_passed(records: list[Record], check: str) -> bool:
    """Whether a check of that name was fine in an earlier attempt."""
    return any(r["kind"] == "check" and r["name"] == check and r["status"] == "ok" for r in records)


def in_flight(records: list[Record]) -> list[Pair]:
    """What was being computed where the records end: of the last attempt, what was begun and not settled.

    A `begin` replaces what was in flight before it, unless it says that it adds to it.
    """
    keys: dict[Pair, None] = {}  # in the order of their beginning
    for record in records:
        if record["kind"] == "opened":
            keys = {}
        elif record["kind"] == "begin":
            begun: dict[Pair, None] = dict.fromkeys(
                (sample, candidate) for sample, candidate in record["keys"]
            )
            keys = {**keys, **begun} if record.get("more") else begun
        elif record["kind"] in ("result", "failed"):
            keys.pop((record["sample"], record["candidate"]), None)
    return list(keys)


def _blamed(records: list[Record]) -> list[tuple[str, list[Pair]]]:
    """Cause and keys of each crash that is blamed on what was in flight."""
    return [
        (r["cause"], [(sample, candidate) for sample, candidate in r["keys"]])
        for r in records
        if r["kind"] == "crash" and r["blamed"]
    ]


SUSPECTS_SHARE = 16
"""Of so many in flight at a crash, one at a time is computed from then on; of more, groups of a sixteenth."""


def suspects(records: list[Record]) -> dict[Pair, int]:
    """What was in flight in a blamed crash, and how many of it may be computed at once from then on.

    Mostly that is one. Where hundreds were in flight, each of them alone would take too long: they are
    divided, and divided again if a group ends its worker.
    """
    sizes: dict[Pair, int] = {}
    for _, keys in _blamed(records):
        size = max(1, len(keys) // SUSPECTS_SHARE)
        sizes.update({key: min(size, sizes.get(key, size)) for key in keys})
    return sizes


def crashes_alone(records: list[Record]) -> dict[Pair, list[str]]:
    """The causes of the blamed crashes in which a key was alone in flight."""
    causes: dict[Pair, list[str]] = {}
    for cause, keys in _blamed(records):
        if len(keys) == 1:
            causes.setdefault(keys[0], []).append(cause)
    return causes
