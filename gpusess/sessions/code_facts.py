"""Which code an instance had, and a run's attempts ran with, kept beside the results: they lead to its commit
and the hash of its changes. Nothing is sent here.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpusess.analysis.text import clean

if TYPE_CHECKING:
    from gpusess.sync.code import Provenance

FILE = "code.json"
"""In a session's folder and beside a run's results: the tree, its commit, the hash of its diff."""
ALL = "codes.jsonl"
"""In a session's folder: the same of each tree that the instance has had."""

Facts = dict[str, Any]


def note(session: Path, tree: str, found: Provenance | None) -> Facts:
    """Keep which tree the instance has now, in the session's folder. Raises OSError."""
    facts = {"tree": tree, "at": round(time.time(), 3), **(asdict(found) if found else {})}
    with (session / ALL).open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")
    _write(session / FILE, facts)
    return facts


def trace(session: Path, run: Path, trees: list[str]) -> None:
    """Keep beside a run's results which code it had. `trees`: what its attempts say, where some have begun;
    the newest one's facts are followed by those `before`. Raises OSError."""
    known: dict[str, Facts] = {}
    with suppress(FileNotFoundError):
        for line in (session / ALL).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # A last line may be half there.
                facts = json.loads(line)
                known[facts["tree"]] = facts
    found = [known.get(tree, {"tree": tree}) for tree in trees] or list(known.values())[-1:]
    if found:
        run.mkdir(parents=True, exist_ok=True)
        _write(run / FILE, found[-1] | ({"before": found[:-1]} if found[:-1] else {}))


def read(run: Path) -> Facts:
    """What stands beside a run's results; empty where nothing does."""
    try:
        facts: Facts = json.loads((run / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts


def text(facts: Facts) -> str:
    """`commit 041203b049ba with changes (7cb101553fd9), tree 621ae1f46f7c`; of several the newest first."""
    commit, diff = (str(facts.get(name) or "")[:12] for name in ("commit", "diff"))
    changes = f" with changes ({diff})" if diff else " with new files" if facts.get("dirty") else ""
    what = f"commit {commit}{changes}, " if commit else ""
    before = "".join(f"; before {text(other)}" for other in reversed(facts.get("before", [])))
    return clean(f"{what}tree {str(facts.get('tree'))[:12]}{before}")


def _write(path: Path, facts: Facts) -> None:
    partial = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
