"""`gpusess sweep` on a sweep that is at home: its table, chart and facts, and its checkpoints as runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gpusess.analysis.run_state import RunState, fold
from gpusess.cli import cli
from gpusess.errors import SessionError
from gpusess.sessions.find_runs import find_run, find_runs
from gpusess.sessions.start import open_store
from gpusess.sessions.summary import sweep_facts, sweep_lines
from remote_agent import protocol
from remote_agent.protocol import PassedOver, SweepArm, Swept, payload
from tests.analysis.results import journal, planned, result

ARMS = [("base", 0), ("step-000020", 20), ("step-000040", 40)]
RIGHT = {"base": range(10, 40), "step-000020": range(60), "step-000040": range(15, 100)}
SAMPLES = 100


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path / "home"))
    return tmp_path


def swept_records() -> list[dict[str, Any]]:
    arms = [SweepArm(name=name, step=step, model=f"m-{name}") for name, step in ARMS]
    head = Swept(arms=arms, task="t", samples=SAMPLES, candidates=1, total=3 * SAMPLES)
    found = [payload(head), payload(PassedOver(name="step-000060", reason="it is torn"))]
    for name, step in ARMS:
        found.append(planned(SAMPLES, model=f"m-{name}", arm=name, step=step))
        rows = (result(i, i in RIGHT[name], category="c") for i in range(SAMPLES))
        found += [{**row, "sample": f"{name}/{row['sample']}"} for row in rows]
    return [*found, payload(protocol.Finished(outcome="complete"))]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return journal(tmp_path / "my-sweep", swept_records())


def run(*args: str) -> str:
    done = CliRunner().invoke(cli, args)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_table_pairs_each_checkpoint_with_the_base(sweep: Path) -> None:
    said = run("sweep", str(sweep))
    rows = [line.split() for line in said.splitlines()]
    (base,) = [row for row in rows if row[:2] == ["base", "0"]]
    assert base[2:5] == ["100", "30.0", "%"]
    (last,) = [row for row in rows if row[:2] == ["step-000040", "40"]]
    assert last[2:4] == ["100", "85.0"]
    assert "+55.0" in last
    assert last[-2:] == ["60", "5"]
    assert "passed over: step-000060: it is torn" in said
    assert "step-000040 is the best of 3" in said
    assert "Accuracy over the steps" in said


def test_the_facts_are_those_of_the_table(sweep: Path) -> None:
    facts = json.loads(run("sweep", str(sweep), "--json"))
    assert facts["against"] == "base"
    assert [(p["name"], p["step"], p["right"], p["n"]) for p in facts["points"]] == [
        ("base", 0, 30, 100), ("step-000020", 20, 60, 100), ("step-000040", 40, 85, 100),
    ]  # fmt: skip
    last = facts["points"][-1]["against"]
    assert (last["gained"], last["lost"]) == (60, 5)
    assert last["difference"] == pytest.approx(0.55)
    assert last["p"] <= last["p_adjusted"] < 0.001


def test_base_against_trained_is_one_command(sweep: Path) -> None:
    said = run("compare", f"{sweep}@base", f"{sweep}@step-000040")
    assert "60 gained, 5 lost" in said
    whole = run("compare", str(sweep))
    assert whole.count("against my-sweep@base, accuracy") == 2


def test_a_report_draws_the_accuracy_over_the_steps(sweep: Path, tmp_path: Path) -> None:
    run("report", str(sweep), "-o", str(tmp_path / "r"))
    assert "## Over the steps" in (tmp_path / "r.md").read_text()
    assert "steps</text>" in (tmp_path / "r.html").read_text()


def test_a_checkpoint_of_a_sweep_is_a_run_of_its_own(sweep: Path) -> None:
    store = open_store()
    assert [place.arm for place in find_runs(store, str(sweep))] == [name for name, _ in ARMS]
    assert find_run(store, f"{sweep}@step-000020").label == "my-sweep@step-000020"
    with pytest.raises(SessionError, match="no checkpoint 'step-9'"):
        find_run(store, f"{sweep}@step-9")


def test_the_state_never_mixes_checkpoints(sweep: Path) -> None:
    state = RunState()
    for number, record in enumerate(swept_records()):
        fold(state, {**record, "ts": float(number)})
        if state.sweep and state.sweep.current:
            tally = state.categories[state.sweep.current]
            assert (state.right, state.graded) == (tally.right, tally.graded)
    assert (state.done, state.total, state.curve_end) == (300, 300, 40)
    assert [(p.n, p.accuracy) for p in state.curve] == [(0, 0.3), (20, 0.6), (40, 0.85)]
    assert list(state.categories) == [name for name, _ in ARMS]
    assert "step-000040: 85.0 %" in "\n".join(sweep_lines(state))
    facts = sweep_facts(state)
    assert facts is not None
    assert facts["arms"][1] == {
        "name": "step-000020", "step": 20, "right": 60, "graded": 100,
        "wilson95": pytest.approx([0.502, 0.690], abs=1e-3),
    }  # fmt: skip


def test_what_is_no_training_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    done = CliRunner().invoke(cli, ["sweep", str(tmp_path / "folder")])
    assert isinstance(done.exception, SessionError)
    assert "--spec" in done.exception.hint
    done = CliRunner().invoke(cli, ["sweep", "nobody"])
    assert isinstance(done.exception, SessionError)
