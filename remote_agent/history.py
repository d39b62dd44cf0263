"""What a journal's records tell the next attempt: whether all is done, what was in flight, who is suspect.

Pure functions of the records, in their order.
"""

from __future__ import annotations

from remote_agent.journal import Record
from remote_agent.plan import Pair


def is_complete(records: list[Record]) -> bool:
    return any(r["kind"] == "finished" and r["outcome"] == "complete" for r in records)


def in_flight(records: list[Record]) -> list[Pair]:
    """What was being computed where the records end: of the last attempt's last `begin`, the unsettled."""
    keys: list[Pair] = []
    for record in records:
        if record["kind"] == "opened":
            keys = []
        elif record["kind"] == "begin":
            keys = [(sample, candidate) for sample, candidate in record["keys"]]
        elif record["kind"] in ("result", "failed"):
            keys = [key for key in keys if key != (record["sample"], record["candidate"])]
    return keys


def _blamed(records: list[Record]) -> list[tuple[str, list[Pair]]]:
    """Cause and keys of each crash that is blamed on what was in flight."""
    return [
        (r["cause"], [(sample, candidate) for sample, candidate in r["keys"]])
        for r in records
        if r["kind"] == "crash" and r["blamed"]
    ]


def suspects(records: list[Record]) -> set[Pair]:
    """What was in flight in a blamed crash; it is computed alone from then on."""
    return {key for _, keys in _blamed(records) for key in keys}


def crashes_alone(records: list[Record]) -> dict[Pair, list[str]]:
    """The causes of the blamed crashes in which a key was alone in flight."""
    causes: dict[Pair, list[str]] = {}
    for cause, keys in _blamed(records):
        if len(keys) == 1:
            causes.setdefault(keys[0], []).append(cause)
    return causes
