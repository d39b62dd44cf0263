"""Mirrors of a training's figures: they get what the journal holds, and never hold it up."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from remote_agent.evaluation import PatientWriter
from remote_agent.journal import Journal
from remote_agent.train_protocol import Evaluated, Step
from remote_agent.training import mirrors
from remote_agent.training.mirrors import Figures, Mirror, MirroringWriter, without_secrets
from tests.training.runs import of_kind, order_into, records, work

STEPS = [Step(step=n, figures={"loss": 1.0 / n, "kl": None}) for n in (1, 2)]


class Kept:
    """A target that keeps what it gets; a None among its errors lets one through."""

    def __init__(self, error: BaseException | None = None, pause: float = 0.0) -> None:
        self.rows: list[tuple[int, Figures]] = []
        self.closed = False
        self._error, self._pause = error, pause

    def log(self, step: int, figures: Figures) -> None:
        time.sleep(self._pause)
        if self._error:
            raise self._error
        self.rows.append((step, figures))

    def close(self) -> None:
        self.closed = True


def write(folder: Path, target: Kept) -> list[dict[str, object]]:
    """The journal of a writer with this one mirror."""
    with Journal(folder / "journal.jsonl") as journal:
        writer = MirroringWriter(PatientWriter(journal), [Mirror("board", lambda: target)])
        writer.write(*STEPS)
        writer.write(Evaluated(step=2, task="t", samples=4, right=1, seconds=1.0))
        writer.close()
        return journal_records(folder)


def journal_records(folder: Path) -> list[dict[str, object]]:
    return records(folder)


def test_a_mirror_gets_what_the_journal_holds(tmp_path: Path) -> None:
    target = Kept()
    found = write(tmp_path, target)
    assert [r["kind"] for r in found] == ["step", "step", "evaluated"]
    assert target.rows == [(1, {"loss": 1.0}), (2, {"loss": 0.5}), (2, {"accuracy": 0.25})]
    assert target.closed


@pytest.mark.parametrize("error", [OSError("no route"), SystemExit(1)])
def test_a_mirror_that_fails_is_said_once(tmp_path: Path, error: BaseException) -> None:
    found = write(tmp_path, Kept(error))
    (said,) = [r for r in found if r["kind"] == "check"]
    assert said["status"] == "warn"
    assert str(said["message"]).startswith(f"board takes no figures: {type(error).__name__}")


def test_a_mirror_that_hangs_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "END_SECONDS", 0.1)
    started = time.monotonic()
    found = write(tmp_path, Kept(pause=3.0))
    assert time.monotonic() - started < 2.0
    assert "has not taken everything" in str(found[-1]["message"])


def test_no_secret_of_the_environment_stands_in_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    assert without_secrets("key 0123456789abcdef is refused") == "key (WANDB_API_KEY) is refused"


@pytest.mark.model
def test_a_training_whose_mirror_is_not_installed_goes_on(
    tmp_path: Path, tiny_model: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trackio", None)  # as if it were not installed
    run = order_into(
        tmp_path / "run", tiny_model, rows_file, steps=2, save_every=2, eval_every=None, mirrors=["trackio"]
    )
    assert work(run) == 0
    (said,) = [c for c in of_kind(run, "check") if c["name"] == "mirror"]
    assert "trackio takes no figures: ModuleNotFoundError" in said["message"]
    assert len(of_kind(run, "step")) == 2


@pytest.mark.model
def test_a_training_in_tensorboard(tmp_path: Path, tiny_model: Path, rows_file: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = order_into(
        tmp_path / "run",
        tiny_model,
        rows_file,
        steps=2,
        save_every=2,
        eval_every=None,
        mirrors=["tensorboard"],
    )
    assert work(run) == 0
    found = events.EventAccumulator(str(run / "mirrors" / "tensorboard"))
    found.Reload()
    wanted = [(r["step"], r["figures"]["loss"]) for r in of_kind(run, "step")]
    assert [(s.step, s.value) for s in found.Scalars("loss")] == pytest.approx(wanted)
