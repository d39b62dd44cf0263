"""`gpusess replay --headless`: the lines of the run, with its own times, from files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gpusess.cli.replay import command
from remote_agent.journal import encode
from tests.tui import trainings, world


def test_a_bare_folder_is_told_again_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("gpusess.cli.replay.LOOK_EVERY", 0.0)
    records = enumerate(trainings.sft(60, 5000.0))
    (tmp_path / "run").mkdir()
    lines = b"".join(encode(record, i, world.NOW - before) for i, (before, record) in records)
    (tmp_path / "run" / "journal.jsonl").write_bytes(lines)
    done = CliRunner().invoke(command, [str(tmp_path / "run"), "--json", "--speed", "20000"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["runs"][0]["training"]["step"] == 60
    assert "evaluated at step 60: 45.3 %" in done.stderr
    assert "step 60/60" in done.stderr
    assert not (tmp_path / "home").exists()


def test_what_is_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    done = CliRunner().invoke(command, ["nope", "--headless"])
    assert done.exit_code != 0
    assert "nope" in str(done.exception)
