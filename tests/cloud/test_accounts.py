"""Two laptops on one account, and one laptop with two accounts: nobody's instance is ended by another, and what another
account does not list proves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gpusess.providers import PROVIDERS
from gpusess.sessions.store import Store

from .client import REPOSITORY, Simulator
from .matrix_actor import Stage
from .serve import CLOUDS, cloud_class

NAMES = [name for name in CLOUDS if name in PROVIDERS]


def each(names: list[str]) -> list[Any]:
    """All slow, since each process of ours starts from nothing; CI runs the first."""
    first = pytest.param(names[0], marks=[pytest.mark.slow, pytest.mark.sample])
    return [first, *(pytest.param(name, marks=pytest.mark.slow) for name in names[1:])]


def stage_of(sim: Simulator, folder: Path, session: str) -> Stage:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    return Stage(sim.name, folder, sim.origin, sim.folder / "clock", dict(sim.env), session)


def play(stage: Stage, verb: str, fault: dict[str, Any] | None = None) -> str:
    """One process of ours, started by one of its own since it forks; what it logged."""
    program = (
        "import json, sys; from pathlib import Path; from tests.cloud.matrix_actor import Stage, play;"
        "told = json.loads(sys.stdin.read()); s = told['stage'];"
        "s['folder'], s['clock'] = Path(s['folder']), Path(s['clock']);"
        "print(play(Stage(**s), told['verb'], told['fault'], None)[1])"
    )
    told = json.dumps({"stage": asdict(stage), "verb": verb, "fault": fault}, default=str)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        input=told,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def ids(machines: list[dict[str, Any]]) -> set[str]:
    return {m["id"] for m in machines}


@pytest.mark.parametrize("name", each(NAMES))
def test_two_laptops_on_one_account(name: str, tmp_path: Path) -> None:
    """Each recovers from a lost answer, and ends its own alone, while the other's is there."""
    with Simulator(name, tmp_path / "sim", frozen=True) as sim:
        one = stage_of(sim, tmp_path / "one", "0ne00001")
        two = stage_of(sim, tmp_path / "two", "tw000002")
        lost = {"kind": "lost", "op": "launch", "when": "after"}
        play(one, "launch", lost)
        of_one = ids(sim.billing())
        assert len(of_one) == 1
        play(two, "launch", lost)
        assert len(sim.billing()) == 2, "each looked for its own name, and found it"
        play(one, "terminate")
        assert ids(sim.billing()).isdisjoint(of_one)
        assert len(sim.billing()) == 1
        play(two, "terminate")
        assert sim.billing() == []
        assert len(sim.machines()) == 2
        assert sim.touched() == []


@pytest.mark.parametrize("name", each([n for n in NAMES if not cloud_class(n).environment]))
@pytest.mark.parametrize("verb", ["resume", "terminate"])
def test_another_accounts_list_proves_nothing(name: str, verb: str, tmp_path: Path) -> None:
    """Killed after a launch, then another key in the environment: the session says so and stays open."""
    with (
        Simulator(name, tmp_path / "sim", frozen=True) as sim,
        Simulator(name, tmp_path / "other", frozen=True, key="another-accounts-key-123456") as other,
    ):
        stage = stage_of(sim, tmp_path / "one", "0ne00001")
        play(stage, "launch", {"kind": "kill", "op": "launch", "when": "after"})
        assert len(sim.billing()) == 1
        elsewhere = Stage(
            name, stage.folder, other.origin, other.folder / "clock", dict(other.env), stage.session
        )
        said = play(elsewhere, verb)
        assert "another key" in said
        assert other.machines() == []
        store = Store(stage.database)
        assert [r.name for r in store.ledger.rentals() if r.bills] == [m["name"] for m in sim.billing()]
        store.close()
        play(stage, "terminate")
        assert sim.billing() == []
        assert other.touched() + sim.touched() == []
