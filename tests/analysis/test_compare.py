"""Comparing runs: what is paired, what differs beside the model, and what a reader must be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpusess.analysis.answers import SampleIndex
from gpusess.analysis.compare import ACCURACY, Side, arm, arm_warnings, compare, settings_of
from gpusess.errors import SessionError
from gpusess.sessions.answers import read_run

from .results import SETTINGS, journal, planned, result, side

SVAMP_30 = [i % 10 < 6 for i in range(30)]


def test_flips_are_counted_in_both_directions(tmp_path: Path) -> None:
    index = SampleIndex()
    first = side(tmp_path / "a", [True] * 60 + [False] * 40, index)
    second = side(tmp_path / "b", [True] * 50 + [False] * 10 + [True] * 25 + [False] * 15, index)
    found = compare([first, second])
    (row,) = found.against
    assert (row.metric, row.paired.n, row.paired.gained, row.paired.lost) == (ACCURACY, 100, 25, 10)
    assert row.paired.difference == pytest.approx(0.15)
    assert row.paired.p == pytest.approx(0.0167, abs=1e-4)
    assert found.arms[0].figures[ACCURACY].value == 0.6
    assert found.warnings == []
    assert found.differences == []


def test_thirty_samples_do_not_tell_three_points(tmp_path: Path) -> None:
    index = SampleIndex()
    better = [*SVAMP_30[:-1], not SVAMP_30[-1]]
    found = compare([side(tmp_path / "a", SVAMP_30, index), side(tmp_path / "b", better, index)])
    (warning,) = found.warnings
    assert warning.startswith("30 samples do not tell b from a: they show differences of about")
    assert "the 3.3 points seen here would take about" in warning


def test_everything_that_differs_beside_the_model_is_named(tmp_path: Path) -> None:
    index = SampleIndex()
    other = {**SETTINGS, "few-shots": "8", "sampling": "temperature 0.7, seed 0"}
    found = compare(
        [
            side(tmp_path / "a", SVAMP_30, index, model="one"),
            side(tmp_path / "b", SVAMP_30, index, model="other", settings=other, dtype="bfloat16"),
        ]
    )
    named = {row.name: row.values for row in found.differences}
    assert named == {
        "few-shots": ["none", "8"],
        "sampling": ["greedy", "temperature 0.7, seed 0"],
        "dtype": ["float32", "bfloat16"],
    }


def test_older_journals_without_settings_are_compared_by_what_they_have(tmp_path: Path) -> None:
    old = side(tmp_path / "a", SVAMP_30, SampleIndex(), settings={})
    assert settings_of(old.state)["extractor"] == "hashes"


def test_what_makes_a_number_doubtful_is_said(tmp_path: Path) -> None:
    records = [planned(200, forced=["asked for boxed, read as hashes"])]
    records += [
        result(i, i % 2 == 0, disagree=i < 5, reason="truncated" if i >= 90 else "parsed") for i in range(100)
    ]
    run = read_run("r", journal(tmp_path / "r", records), SampleIndex())
    own = Side("r", run.state, run.answers)
    said = " | ".join(arm_warnings(arm(own), run.state))
    assert "r was forced: asked for boxed, read as hashes" in said
    assert "not complete: 100 of 200" in said
    assert "in 5.0 % of the results another rule reads otherwise" in said
    assert "lost 10.0 % of the answers to the token limit" in said


def test_other_data_and_other_prompts_are_noticed(tmp_path: Path) -> None:
    index = SampleIndex()
    first = side(tmp_path / "a", SVAMP_30, index)
    records = [planned(30), *(result(i, True, gold="9", prompt_sha="x") for i in range(10, 40))]
    run = read_run("b", journal(tmp_path / "b", records), index)
    found = compare([first, Side("b", run.state, run.answers)])
    said = " | ".join(found.warnings)
    assert "share 20 samples; 10 are only in the first, 10 only in the second" in said
    assert "different right answers for 20 of 20 samples" in said
    assert "different prompts" in said


def test_runs_without_a_common_sample_are_not_paired(tmp_path: Path) -> None:
    index = SampleIndex()
    first = side(tmp_path / "a", SVAMP_30, index)
    run = read_run("b", journal(tmp_path / "b", [planned(1), result("other", True)]), index)
    found = compare([first, Side("b", run.state, run.answers)])
    assert found.against == []
    assert any("no sample in common" in text for text in found.warnings)


def test_metrics_are_compared_beside_the_verdict(tmp_path: Path) -> None:
    index = SampleIndex()
    sides = []
    for name, shift in (("a", 0.0), ("b", 0.5)):
        rows = [
            result(i, True, metrics={"nll": 1.0 + i % 7 + shift, "acc_norm": float(i % 2)}) for i in range(60)
        ]
        run = read_run(name, journal(tmp_path / name, [planned(60), *rows]), index)
        sides.append(Side(name, run.state, run.answers))
    found = compare(sides)
    by_name = {row.metric: row.paired for row in found.against}
    assert by_name["nll"].difference == pytest.approx(0.5)
    assert by_name["nll"].told_apart
    assert by_name["acc_norm"].difference == 0.0
    assert found.arms[0].figures["acc_norm"].value == 0.5


def test_three_runs_are_adjusted_for_their_number(tmp_path: Path) -> None:
    index = SampleIndex()
    sides = [side(tmp_path / str(n), [i % 5 < 2 + n for i in range(100)], index) for n in range(3)]
    found = compare(sides)
    assert [row.second for row in found.against] == ["1", "2"]
    assert all(row.adjusted is not None and row.paired.p is not None for row in found.against)
    assert found.against[0].adjusted == pytest.approx(found.against[0].paired.p)
    assert found.against[1].adjusted == pytest.approx(2 * (found.against[1].paired.p or 0.0))


def test_several_answers_a_sample_are_paired_by_sample(tmp_path: Path) -> None:
    index = SampleIndex()
    sides = []
    for name, right in (("a", 1), ("b", 3)):
        rows = [result(i, c < right, candidate=c) for c in range(4) for i in range(50)]
        run = read_run(name, journal(tmp_path / name, [planned(200, candidates=4), *rows]), index)
        sides.append(Side(name, run.state, run.answers))
    (row,) = compare(sides).against
    assert (row.paired.n, row.paired.p) == (50, None)
    assert row.paired.difference == pytest.approx(0.5)


def test_a_damaged_mirror_is_refused_with_its_line(tmp_path: Path) -> None:
    folder = journal(tmp_path / "r", [planned(3), result(1, True), result(2, True)])
    data = (folder / "journal.jsonl").read_bytes()
    (folder / "journal.jsonl").write_bytes(data.replace(b'"verdict":"right"', b'"verdict":"wrong"', 1))
    with pytest.raises(SessionError, match=r"journal\.jsonl, line 2: checksum does not match"):
        read_run("r", folder, SampleIndex())
    with pytest.raises(SessionError, match="no results at home"):
        read_run("r", tmp_path, SampleIndex())


def test_a_half_line_at_the_end_is_left_out(tmp_path: Path) -> None:
    folder = journal(tmp_path / "r", [planned(3), result(1, True), result(2, True)])
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"v":1,"seq":3,"ts":1.0,"kind":"result"')
    assert read_run("r", folder, SampleIndex()).answers.total == 2


def test_texts_with_half_a_surrogate_pair_are_read(tmp_path: Path) -> None:
    folder = journal(tmp_path / "r", [planned(1), result("\ud83d", True, completion="\udc00")])
    assert read_run("r", folder, SampleIndex()).answers.total == 1
