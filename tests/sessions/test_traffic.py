"""What was sent and what is at home, noted and read again: real files, half lines included."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpusess import paths
from gpusess.sessions import traffic
from gpusess.sync.progress import Progress
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


def test_a_checkpoint_on_its_way_is_seen_with_its_pace_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "NOTED_EVERY", 0.0)
    home = paths.run_dir("s", "r")
    home.mkdir(parents=True)
    seconds = iter(range(10))
    with traffic.coming(home, "r", "step-7", 7) as tell:
        progress = Progress(tell, clock=lambda: float(next(seconds)))
        progress.expect(1000)
        progress.spare(400)
        progress.send(100)
        progress.send(100)
        (found,) = traffic.read("s", ["r"]).coming
    assert (found.run, found.name, found.step, found.bytes, found.done) == ("r", "step-7", 7, 1000, 600)
    assert (found.rate, found.left) == (100.0, 4.0)
    assert found.silent(found.at + 5) is None
    assert found.silent(found.at + 60) == 60
    assert traffic.read("s", ["r"]).coming == ()
    assert list(home.iterdir()) == []


def test_what_a_killed_driver_left_of_it_is_forgotten_by_the_next() -> None:
    home = paths.run_dir("s", "r")
    home.mkdir(parents=True)
    with traffic.coming(home, "r", "step-7", 7) as tell:
        tell(Progress())
        kept = (home / traffic.COMING).read_bytes()
    (home / traffic.COMING).write_bytes(kept)
    (found,) = traffic.read("s", ["r"]).coming
    assert found.left is None, "nothing has come so far"
    traffic.forget_coming(home)
    traffic.forget_coming(home)
    assert traffic.read("s", ["r"]).coming == ()


def test_a_disk_that_takes_no_note_holds_up_no_transfer(tmp_path: Path) -> None:
    with traffic.coming(tmp_path / "not there", "r", "step-7", 7) as tell:
        tell(Progress())


def test_what_came_is_noted_with_how() -> None:
    came = traffic.Received(1.0, "r", "step-7", 7, 1000, 100, 2.0, "1 file as what differs from step-6")
    traffic.note("s", came)
    found = traffic.read("s", [])
    assert found.received == (came,)
    assert found.sent == ()
    assert came.rate == 50.0
