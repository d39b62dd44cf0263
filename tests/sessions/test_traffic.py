"""What was sent and what is at home, noted and read again: real files, half lines included."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpusess import paths
from gpusess.sessions import traffic
from remote_agent import checkpoints


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))


def test_nothing_is_known_of_a_session_that_sent_nothing() -> None:
    assert traffic.read("s", ["r"]) == traffic.Traffic()


def test_what_was_sent_is_read_again_and_a_half_line_is_not() -> None:
    sent = traffic.Sent(1.5, "code", 3, 4000, 2, 1000, 0.5)
    traffic.note("s", sent)
    traffic.note("s", traffic.Sent(2.5, "model", 1, 10, 0, 0, 0.1))
    with (paths.session_dir("s") / traffic.SENT).open("a") as file:
        file.write('{"at": 3.5, "sou')
    found = traffic.read("s", []).sent
    assert [one.source for one in found] == ["code", "model"]
    assert (found[0], found[0].rate, found[1].rate) == (sent, 2000.0, None)


def test_mirrors_and_whole_checkpoints_are_at_home() -> None:
    run = paths.run_dir("s", "r")
    run.mkdir(parents=True)
    (run / "journal.jsonl").write_bytes(b"x" * 300)
    (run / "worker.log").write_bytes(b"y" * 20)
    for step in (10, 20):
        aside = checkpoints.begin(run, f"step-{step}")
        (aside / "model.bin").write_bytes(b"z" * step)
        checkpoints.publish(run, f"step-{step}", step)
    (checkpoints.folder(run) / "half").mkdir()
    found = traffic.read("s", ["r", "never"])
    assert found.home == 320
    assert {(c.name, c.step, c.bytes) for c in found.checkpoints} == {
        ("step-10", 10, 10),
        ("step-20", 20, 20),
    }
