"""The instance goes: lost in the middle of a run, out of disk, or given back by its user."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from gpusess.providers import local_state
from remote_agent.journal import key_of, read_ack

from .world import World, journal_is_valid

pytestmark = pytest.mark.slow


def lose_instance(world: World) -> None:
    """As if its machine had burnt: every process at once, then the disk."""
    folder = world.instance_folder
    for process in local_state.marked(folder.name):
        with contextlib.suppress(psutil.Error):
            process.kill()
    world.wait(lambda: not local_state.marked(folder.name), "the end of its processes")
    shutil.rmtree(folder / "home", ignore_errors=True)  # the driver may have seen it and clean up too


def keys_at_home(world: World) -> set[tuple[str, int]]:
    return {(k[1], k[2]) for k in map(key_of, world.records()) if k}


def begun_by_last_attempt(world: World) -> list[tuple[str, int]]:
    """What the last worker that was started began to compute."""
    records = world.records()
    last = max(i for i, r in enumerate(records) if r["kind"] == "opened")
    begins = [r["keys"] for r in records[last:] if r["kind"] == "begin"]
    return [(sample, candidate) for keys in begins for sample, candidate in keys]


def assert_resumes_with_the_rest(world: World) -> None:
    known = keys_at_home(world)
    assert 0 < len(known) < len(world.expected)
    copy = (world.mirror / "journal.jsonl").read_bytes()
    whole = copy[: copy.rfind(b"\n") + 1]
    world.gpusess("resume", "--headless")
    world.assert_complete()
    assert sorted(begun_by_last_attempt(world)) == sorted(set(world.expected) - known)
    assert (world.mirror / "journal.jsonl").read_bytes().startswith(whole)
    assert not list(world.mirror.glob("diverged-*")), "the new instance goes on where the mirror ends"
    world.assert_given_back()
    assert len(world.instances()) == 2


@pytest.mark.sample
def test_lost_instance(world: World) -> None:
    world.up_until(12, world.write_spec(samples=40, pace=0.4))
    world.wait(lambda: len(keys_at_home(world)) >= 12, "results at home")
    lose_instance(world)
    world.wait_state("failed", seconds=60)
    world.wait(lambda: not world.status()["driven"], "the driver's end")
    facts = world.status()
    assert facts["error"].startswith("the instance is gone")
    assert "gpusess resume" in facts["hint"]
    assert not facts["bills"]
    assert_resumes_with_the_rest(world)


@pytest.mark.sample
def test_terminate_while_running(world: World) -> None:
    world.up_until(12, world.write_spec(samples=60, pace=0.4))
    world.keep_originals()
    said = world.gpusess("terminate", "--yes")
    assert "stopped" in said
    world.assert_identical()
    world.assert_given_back()
    assert world.run.status == "stopped"
    assert_resumes_with_the_rest(world)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A disk of `size` bytes over a folder; what still uses it at the end does so until it dies."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(fd, b"\0" * size)
    finally:
        os.close(fd)


@pytest.mark.sample
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk takes root")
def test_full_disk(world: World) -> None:
    """The setup waits for a file, so that the small disk is in place before the run begins."""
    gate = "while [ ! -e go ]; do sleep 0.05; done"
    spec = world.write_spec(samples=80, pace=0.2, setup={"commands": [gate]}, after="keep")
    world.gpusess("up", str(spec), "--detach")
    world.wait_state("preparing")
    root = world.instance_folder / "home/.gpusess"
    session = root / "sessions" / world.session.id
    world.wait(lambda: session.exists() and (root / "runs").exists(), "the session's folder")
    with small_disk(root / "runs", 80 << 20):
        (session / "go").touch()
        world.wait_state("running")
        world.wait(lambda: world.done() >= 8, "results")
        world.keep_originals()
        fill(root / "runs/filler")
        paused = world.wait(lambda: world.status()["runs"][0]["paused"], "the pause")
        assert "the disk is full: free some space on the instance" in paused
        assert world.run.status == "running"
        journal = world.remote_run / "journal.jsonl"
        assert journal_is_valid(journal, read_ack(journal))
        known = world.done()
        time.sleep(2)
        assert world.done() == known
        assert journal_is_valid(journal, read_ack(journal))
        (root / "runs/filler").unlink()
        world.wait(lambda: world.run.status != "running", "the run's end", 60)
        world.assert_complete()
        world.assert_identical()
        assert sum(r["kind"] == "opened" for r in world.records()) == 1, "no worker died of it"
        pauses = [r["kind"] for r in world.records() if r["kind"] in ("paused", "unpaused")]
        assert pauses == ["paused", "unpaused"]
        assert world.status()["runs"][0]["paused"] is None
    world.gpusess("terminate", "--yes", "--now", "--detach")
    world.wait_state("terminated")
    world.assert_given_back()
