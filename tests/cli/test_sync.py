"""`gpusess sync` on a session that lives: what it says, what it sends, and what it brings home."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.close()


def test_what_has_changed_is_previewed_and_sent(world: World) -> None:
    code = world.folder / "code"
    code.mkdir()
    for name in ("a.py", "b c.py", ".gpusessignore", "x.log"):
        (code / name).write_text("*.log\n")
    git = ["git", "-C", str(code), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in ("init -q", "add a.py", "commit -qm x"):
        subprocess.run([*git, *command.split()], check=True)
    (world.folder / "data.bin").write_bytes(b"z" * 5_000_000)
    sync = {"code": "./code", "push": [{"from": "data.bin", "to": "data/data.bin"}]}
    spec = world.write_spec(samples=2, batch=2, pace=0.0, sync=sync, after="keep")
    world.gpusess("up", str(spec), "--detach")
    world.wait(lambda: world.session.state == "ready" and world.run.status == "complete", "the run's end")
    facts = json.loads((world.mirror / "code.json").read_text())
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert (facts["commit"], facts["dirty"], facts["diff"]) == (commit, True, None)

    (code / "a.py").write_text("changed")
    (code / "b c.py").unlink()
    (code / "out").symlink_to("/etc")
    said = world.gpusess("sync", "--dry-run")
    assert said.splitlines() == [
        "code: would send 1 of 2 files, 7 B",
        "  send a.py (7 B)",
        "  remove b c.py",
        "  left out out: a link that leads out of the folder",
        "  left out x.log: .gpusessignore",
        "data.bin: would send 0 of 1 files, 0 B",
    ]
    folder = world.instance_folder / "home/.gpusess/sessions" / world.session.id
    assert (folder / "code/b c.py").exists(), "a preview changes nothing"
    said = world.gpusess("sync")
    assert said.splitlines() == [
        "code: 2 files, 13 B; sent 1, 7 B; 1 gone; left out 2",
        "  left out out: a link that leads out of the folder",
        "  left out x.log: .gpusessignore",
        "data.bin: 1 file, 5.0 MB; all of it was there",
    ]
    assert (folder / "code/a.py").read_text() == "changed"
    assert sorted(path.name for path in (folder / "code").iterdir()) == [".gpusessignore", "a.py"]
    now = json.loads((world.home / "sessions" / world.session.id / "code.json").read_text())
    assert now["tree"] != facts["tree"]
    assert now["diff"]

    (folder / "outputs").mkdir()
    (folder / "outputs/x.txt").write_text("result")
    (folder / "outputs/pw").symlink_to("/etc/passwd")
    to = world.folder / "got"
    said = world.gpusess("sync", "--fetch", "outputs", "--to", str(to))
    assert said.splitlines() == [
        "outputs: 1 file, 6 B; fetched 6 B",
        "  left out pw: a link that leads out of the folder",
    ]
    assert (to / "x.txt").read_text() == "result"
    assert "does not exist on the instance" in world.gpusess("sync", "--fetch", "nothing", code=5)
    world.gpusess("terminate", "--yes")
    assert "has no instance now" in world.gpusess("sync", code=6)


@pytest.mark.slow
@pytest.mark.sample
def test_a_result_leads_to_its_code_when_that_was_changed_under_way(world: World) -> None:
    """A worker that is started again has the new code: the journal and what lies beside it say so."""
    code = world.folder / "code"
    code.mkdir()
    (code / "a.py").write_text("1")
    git = ["git", "-C", str(code), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in ("init -q", "add a.py", "commit -qm x"):
        subprocess.run([*git, *command.split()], check=True)
    world.up_until(2, world.write_spec(samples=120, pace=0.4, sync={"code": "./code"}, after="keep"))
    before = json.loads((world.mirror / "code.json").read_text())
    (code / "a.py").write_text("2")
    world.gpusess("sync")
    after = json.loads((world.home / "sessions" / world.session.id / "code.json").read_text())
    assert before["tree"] != after["tree"]
    world.worker().kill()
    world.wait(lambda: world.run.status == "complete", "the run's end", 60)
    opened = [record["code"] for record in world.records() if record["kind"] == "opened"]
    assert opened == [before["tree"], after["tree"]]
    world.wait(
        lambda: "before" in json.loads((world.mirror / "code.json").read_text()), "what lies beside it"
    )
    assert json.loads((world.mirror / "code.json").read_text()) == {**after, "before": [before]}
    said = world.gpusess("status", world.session.id).splitlines()
    trees = [facts["tree"][:12] for facts in (before, after)]
    assert f"note      the code was changed between its attempts: {trees[0]}, then {trees[1]}" in said
    commit = before["commit"][:12]
    assert (
        f"code      eval: commit {commit} with changes ({after['diff'][:12]}), tree {trees[1]}; "
        f"before commit {commit}, tree {trees[0]}"
    ) in said
    world.gpusess("terminate", "--yes")
