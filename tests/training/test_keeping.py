"""Which checkpoints stay, what they hold, and going on from one on another instance."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from remote_agent import checkpoint_contract, checkpoints, models
from remote_agent.train_protocol import Evaluated
from remote_agent.training.evaluating import Evaluator
from tests.training.runs import losses, of_kind, order_into, records, work

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, rows_file: Path) -> Path:
    """A training of six steps that nothing disturbed, with all of its checkpoints."""
    run = order_into(
        tmp_path_factory.mktemp("trained") / "run", tiny_model, rows_file, steps=6, save_every=2, keep=9,
        eval_every=None, lora={"r": 4},
    )  # fmt: skip
    assert work(run) == 0
    return run


def test_the_best_one_stays_whenever_it_was(
    tmp_path: Path, tiny_model: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {0: 0, 2: 1, 3: 3, 4: 2, 6: 0}

    def evaluate(_self: Evaluator, _model: Any, step: int, before: float | None) -> Evaluated:
        better = before is None or right[step] / 3 > before
        return Evaluated(step=step, task="t", samples=3, right=right[step], seconds=0.0, best=better)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    run = order_into(
        tmp_path / "run", tiny_model, rows_file, steps=6, eval_every=3, save_every=100, keep=1, lora={"r": 4}
    )
    assert work(run) == 0
    kept = {made.step: made.score for made in checkpoints.whole(run)}
    assert kept == {3: 1.0, 6: 0.0}, "the best one by the task, and the newest"


def test_each_checkpoint_says_how_and_on_what_it_was_trained(trained: Path, tiny_model: Path) -> None:
    for made in checkpoints.whole(trained):
        contract = checkpoint_contract.read(checkpoints.folder(trained) / made.name)
        assert contract is not None
        assert (contract.task, contract.line, contract.base) == ("word_problems", "#### {}", str(tiny_model))
        assert contract.base_sha == models.fingerprint(tiny_model)
        assert contract.template_sha
        assert contract.markers


def test_it_goes_on_from_its_newest_checkpoint_on_another_instance(
    tmp_path: Path, trained: Path, tiny_model: Path, rows_file: Path
) -> None:
    """What is at home of a run whose instance is gone: the journal, and the newest checkpoint."""
    model = Path(shutil.copytree(tiny_model, tmp_path / "elsewhere" / "model"))
    rows = Path(shutil.copy(rows_file, tmp_path / "elsewhere" / "rows.jsonl"))
    run = order_into(
        tmp_path / "elsewhere" / "run", model, rows, steps=6, save_every=2, keep=9, eval_every=None,
        lora={"r": 4},
    )  # fmt: skip
    lines = (trained / "journal.jsonl").read_bytes().splitlines(keepends=True)
    at = next(n for n, r in enumerate(records(trained), 1) if r["kind"] == "step" and r["step"] == 5)
    (run / "journal.jsonl").write_bytes(b"".join(lines[:at]))
    newest = "step-000004"
    shutil.copytree(checkpoints.folder(trained) / newest, checkpoints.folder(run) / newest)
    assert work(run) == 0
    assert of_kind(run, "continued")[-1]["name"] == newest
    assert losses(run) == pytest.approx(losses(trained), abs=1e-6)
