"""The code of a run: what git sees, what its id is over, and that it arrives as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gpusess.errors import SyncError
from gpusess.sync.code import CodeTree, pack, read_code
from gpusess.sync.tree import Skipped

from .conftest import git, snapshot, unpacked, write


def paths(tree: CodeTree) -> list[str]:
    return [entry.path for entry in tree.entries]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = write(tmp_path / "repo", {"a.py": "1\n", "pkg/b.py": "2\n", ".gitignore": "*.log\n"})
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "-m", "x")
    return root


def test_two_thousand_files_arrive_as_they_were(tmp_path: Path) -> None:
    root = write(tmp_path / "big", {f"d{n % 40}/f{n}.txt": f"{n}\n" * (n % 50) for n in range(2000)})
    odd = {
        "with space/a b.txt": "1",
        "línea/日本語/🚀.py": "2",
        "new\nline.txt": "3",
        "-dash": "4",
        'quo"te\\back\ttab': "5",
        "x" * 200 + "/" + "y" * 200: "6",
        "empty": "",
    }
    write(root, odd)
    Path(os.fsdecode(os.fsencode(root) + b"/not-utf8-\xff")).write_text("7")
    (root / "with space" / "run.sh").write_text("#!/bin/sh\n")
    (root / "with space" / "run.sh").chmod(0o755)
    (root / "link").symlink_to("with space/a b.txt")
    (root / "d1" / "up").symlink_to("../línea/")
    (root / "folder-link").symlink_to("d2")
    (root / "dangling").symlink_to("./no//where")
    git(root, "init")
    git(root, "add", "d0", "d1", "link")
    tree = read_code(root)
    stream = b"".join(pack(tree))
    done = unpacked(stream, tmp_path / "dest")
    assert done.returncode == 0, done.stderr
    sent = {name: what for name, what in snapshot(root).items() if not name.startswith(b".git/")}
    assert len(sent) == 2000 + len(odd) + 6
    assert snapshot(tmp_path / "dest") == sent
    assert f'"id": "{tree.content_id}"'.encode() in done.stdout
    assert tree.skipped == ()
    assert (tree.provenance.commit, tree.provenance.dirty) == (None, True)
    # What arrived is a folder without git, and has the same id.
    assert read_code(tmp_path / "dest").content_id == tree.content_id
    assert b"".join(pack(read_code(root))) == stream


def _swap(root: Path) -> None:
    text = (root / "a.py").read_text()
    (root / "a.py").write_text((root / "pkg/b.py").read_text())
    (root / "pkg/b.py").write_text(text)


RELEVANT: dict[str, Callable[[Path], object]] = {
    "content": lambda r: (r / "a.py").write_text("3\n"),
    "contents swapped": _swap,
    "exec bit": lambda r: (r / "a.py").chmod(0o755),
    "new file": lambda r: (r / "new").write_text(""),
    "deleted": lambda r: (r / "a.py").unlink(),
    "renamed": lambda r: (r / "a.py").rename(r / "c.py"),
    "became a link": lambda r: ((r / "a.py").unlink(), (r / "a.py").symlink_to("pkg/b.py")),
    "folder became a link": lambda r: (shutil.move(r / "pkg", r / "lib"), (r / "pkg").symlink_to("lib")),
}
IRRELEVANT: dict[str, Callable[[Path], object]] = {
    "time": lambda r: os.utime(r / "a.py", (0, 0)),
    "other bits": lambda r: (r / "a.py").chmod(0o600),
    "ignored": lambda r: (r / "x.log").write_text("1"),
    "empty folder": lambda r: (r / "void").mkdir(),
    "staged": lambda r: git(r, "rm", "--cached", "a.py"),
    "commit": lambda r: git(r, "commit", "--allow-empty", "-m", "y"),
    "branch": lambda r: git(r, "checkout", "-b", "other"),
}


@pytest.mark.parametrize("name", [*RELEVANT, *IRRELEVANT])
def test_the_id_changes_if_and_only_if_the_code_does(repo: Path, name: str) -> None:
    before = read_code(repo).content_id
    {**RELEVANT, **IRRELEVANT}[name](repo)
    assert (read_code(repo).content_id != before) == (name in RELEVANT)


def test_what_git_ignores_stays_and_what_is_new_goes(repo: Path) -> None:
    write(repo, {"new.py": "", "x.log": "", "pkg/y.log": "", ".git/info/exclude": "secret\n", "secret": ""})
    tree = read_code(repo)
    assert paths(tree) == [".gitignore", "a.py", "new.py", "pkg/b.py"]
    assert tree.skipped == ()


def test_the_own_ignore_file_holds_for_tracked_files_too(repo: Path) -> None:
    write(repo, {".gpusessignore": "*.py\n!b.py\n/big/\n", "big/x": "", "pkg/big/x": ""})
    tree = read_code(repo)
    assert paths(tree) == [".gitignore", ".gpusessignore", "pkg/b.py", "pkg/big/x"]
    assert tree.skipped == (Skipped("a.py", ".gpusessignore"), Skipped("big/x", ".gpusessignore"))


def test_a_folder_of_a_repository_is_sent_alone(repo: Path) -> None:
    tree = read_code(repo / "pkg")
    assert paths(tree) == ["b.py"]
    assert not tree.provenance.dirty
    assert len(tree.provenance.commit) == 40


def test_provenance(repo: Path) -> None:
    clean = read_code(repo).provenance
    assert (clean.dirty, clean.diff) == (False, None)
    (repo / "a.py").write_text("3\n")
    one = read_code(repo).provenance
    (repo / "a.py").write_text("4\n")
    two = read_code(repo).provenance
    assert one.commit == two.commit == clean.commit
    assert one.dirty
    assert len({None, one.diff, two.diff}) == 3


def test_a_surrounding_git_does_not_redirect(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "no-index"))
    assert paths(read_code(repo)) == [".gitignore", "a.py", "pkg/b.py"]


def test_reading_writes_nothing(repo: Path) -> None:
    (repo / "a.py").write_text("3\n")
    index = (repo / ".git/index").stat()
    read_code(repo)
    after = (repo / ".git/index").stat()
    assert (after.st_mtime_ns, after.st_ino) == (index.st_mtime_ns, index.st_ino)


def test_a_folder_without_git(tmp_path: Path) -> None:
    root = write(
        tmp_path / "plain",
        {
            "a.py": "1",
            "__pycache__/a.pyc": "",
            "sub/.venv/x": "",
            "sub/b": "2",
            "out/x": "",
            ".gpusessignore": "out/\n",
        },
    )
    (root / "leads-out").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe")
    tree = read_code(root)
    assert tree.provenance is None
    assert paths(tree) == [".gpusessignore", "a.py", "sub/b"]
    assert tree.skipped == (
        Skipped("__pycache__/", "left out by default"),
        Skipped("leads-out", "a link that leads out of the folder"),
        Skipped("out/", ".gpusessignore"),
        Skipped("sub/.venv/", "left out by default"),
    )
    assert not (root / ".git").exists()


def test_a_repository_inside_is_named(repo: Path) -> None:
    inner = write(repo / "inner", {"x": ""})
    git(inner, "init")
    assert read_code(repo).skipped == (
        Skipped("inner/", "a repository of its own (submodule); its files are not sent"),
    )


@pytest.mark.parametrize("change", ["longer", "other", "gone", "link"])
def test_a_file_that_changes_while_it_is_sent_leaves_nothing(tmp_path: Path, repo: Path, change: str) -> None:
    (repo / "a.bin").write_bytes(os.urandom(5_000_000))
    tree = read_code(repo)
    stream = pack(tree)
    sent = [next(stream)]
    b = repo / "pkg/b.py"
    if change in ("gone", "link"):
        b.rename(repo / "c.py")
        if change == "link":
            b.symlink_to("../c.py")
    else:
        b.write_text({"longer": "2\n\n", "other": "3\n"}[change])
    with pytest.raises(SyncError, match=r"^pkg/b\.py: (changed while|cannot be read any more)"):
        sent.extend(stream)
    (tmp_path / "around").mkdir()
    assert unpacked(b"".join(sent), tmp_path / "around" / "dest").returncode == 1
    assert list((tmp_path / "around").iterdir()) == []


def test_what_holds_no_code(tmp_path: Path) -> None:
    with pytest.raises(SyncError, match=r"nowhere: not a folder$"):
        read_code(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SyncError, match=r"empty: holds no code to send$") as caught:
        read_code(tmp_path / "empty")
    assert caught.value.hint == "it is empty"
    write(tmp_path / "hidden", {".gpusessignore": "*\n", "a": ""})
    with pytest.raises(SyncError) as caught:
        read_code(tmp_path / "hidden")
    assert caught.value.hint == "git or .gpusessignore ignores everything in it"


def test_without_git_installed(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SyncError, match="git is not installed here") as caught:
        read_code(repo)
    assert caught.value.hint.startswith("install git")
