"""Trainings are held against each other by their newest evaluations, with the numbers of every comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpusess.analysis.compare_training import flat
from gpusess.analysis.paired import compare_shares
from gpusess.sessions.comparing import compare_places
from gpusess.sessions.find_runs import RunPlace
from remote_agent.journal import encode
from tests.tui import trainings, world


def place(folder: Path, name: str, records: Any) -> RunPlace:
    (folder / name).mkdir()
    lines = (encode(record, i, world.NOW - before) for i, (before, record) in enumerate(records))
    (folder / name / "journal.jsonl").write_bytes(b"".join(lines))
    return RunPlace(name, folder / name)


def test_the_newest_evaluations_are_paired_sample_by_sample(tmp_path: Path) -> None:
    first = place(tmp_path, "sft", trainings.sft(60, 5000.0))
    second = place(tmp_path, "grpo", trainings.grpo(200, 150, 400, 5000.0))
    found = compare_places([first, second])
    a, b = trainings.evaluated(0, 29), trainings.evaluated(0, 27)
    pairs: dict[tuple[float, float], int] = {}
    for sample, verdict in a["verdicts"].items():
        key = (float(verdict == "right"), float(b["verdicts"][sample] == "right"))
        pairs[key] = pairs.get(key, 0) + 1
    (against,) = found.against
    assert against.paired == compare_shares(pairs)
    assert [(arm.done, arm.total, arm.right) for arm in found.arms] == [(64, 64, 29), (64, 64, 27)]
    differing = {d.name: d.values for d in found.differences}
    assert differing["train.lr"] == ["0.0005", "2e-05"]
    assert differing["train.method"] == ["sft", "grpo"]
    assert differing["train.kl"] == ["not recorded", "0.04"]
    assert differing["evaluated at step"] == ["60", "150"]
    assert any("64 samples do not tell grpo from sft" in text for text in found.warnings)
    assert not any("prompts" in text for text in found.warnings)


def test_a_training_beside_an_evaluation_says_what_is_not_known(tmp_path: Path) -> None:
    first = place(tmp_path, "eval", world.evaluation(total=64, done=64, start=900, pace=1.0))
    second = place(tmp_path, "sft", trainings.sft(60, 5000.0))
    found = compare_places([first, second])
    assert found.against[0].paired.n == 64
    assert any("whether their prompts are equal is not recorded" in text for text in found.warnings)
    assert not any("different prompts" in text for text in found.warnings)
    assert any("eval on gsm8k, sft on word_problems" in text for text in found.warnings)


def test_a_training_without_an_evaluation_has_no_number(tmp_path: Path) -> None:
    records = [r for r in trainings.sft(10, 500.0) if r[1]["kind"] != "evaluated"]
    found = compare_places([place(tmp_path, "a", records), place(tmp_path, "b", trainings.sft(60, 5000.0))])
    assert not found.arms[0].figures
    assert not found.against


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"lr": 1.0}, [("lr", "1.0")]), ({"guard": {"kl": 5}, "lora": {}}, [("guard.kl", "5"), ("lora", "{}")])],
)
def test_settings_are_named_by_their_path(settings: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert flat(settings) == expected
