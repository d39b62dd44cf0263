"""The code of a run: what git sees, what its id is over, and that it arrives as it was."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpusess.errors import SyncError
from gpusess.sync.code import CodeTree, read_code, read_provenance
from gpusess.sync.index import Index
from gpusess.sync.push import push
from gpusess.sync.tree import Changed, Skipped

from .conftest import Agents, git, snapshot, write


def paths(tree: CodeTree) -> list[str]:
    return [entry.path for entry in tree.entries]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = write(tmp_path / "repo", {"a.py": "1\n", "pkg/b.py": "2\n", ".gitignore": "*.log\n"})
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "-m", "x")
    return root


async def test_two_thousand_files_arrive_as_they_were(tmp_path: Path, agents: Agents) -> None:
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
    (root / "empty folder" / "inner").mkdir(parents=True)
    (root / "d3" / "empty").mkdir()
    git(root, "init")
    git(root, "add", "d0", "d1", "link")
    tree = read_code(root)
    done = await push(tree, ".gpusess/sessions/s/code", agents)
    sent = {name: what for name, what in snapshot(root).items() if not name.startswith(b".git/")}
    assert len(sent) == 2000 + len(odd) + 8
    assert snapshot(agents.home / ".gpusess/sessions/s/code") == sent
    assert (done.id, done.sent_files) == (tree.content_id, 2000 - 40 + len(odd) + 2)
    assert tree.skipped == ()
    # What arrived is a folder without git, and has the same id.
    assert read_code(agents.home / ".gpusess/sessions/s/code").content_id == tree.content_id


def _swap(root: Path) -> None:
    text = (root / "a.py").read_text()
    (root / "a.py").write_text((root / "pkg/b.py").read_text())
    (root / "pkg/b.py").write_text(text)


RELEVANT: dict[str, Callable[[Path], object]] = {
    "content": lambda r: (r / "a.py").write_text("3\n"),
    "contents swapped": _swap,
    "exec bit": lambda r: (r / "a.py").chmod(0o755),
    "empty folder": lambda r: (r / "void").mkdir(),
    "empty folder in a new one": lambda r: (r / "a" / "void").mkdir(parents=True),
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


def test_provenance(repo: Path, tmp_path: Path) -> None:
    clean = read_provenance(repo)
    assert (len(clean.commit), clean.dirty, clean.diff) == (40, False, None)
    (repo / "new").write_text("")
    assert read_provenance(repo) == type(clean)(clean.commit, True, None)
    (repo / "a.py").write_text("3\n")
    one = read_provenance(repo)
    (repo / "a.py").write_text("4\n")
    two = read_provenance(repo)
    assert one.commit == two.commit == clean.commit
    assert one.dirty
    assert len({None, one.diff, two.diff}) == 3
    assert read_provenance(repo / "pkg") == clean
    write(tmp_path / "fresh", {"a": ""})
    assert read_provenance(tmp_path / "fresh") is None
    git(tmp_path / "fresh", "init")
    assert read_provenance(tmp_path / "fresh") == type(clean)(None, True, None)


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
    assert paths(tree) == [".gpusessignore", "a.py", "sub/b"]
    write(root, {"out/deeper/y": ""})
    tree = read_code(root)
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
        Skipped("inner/", "a repository of its own, which is no submodule; its files are not sent"),
    )


@pytest.fixture
def with_module(repo: Path, tmp_path: Path) -> Path:
    """A repository with a submodule `lib`."""
    lib = write(tmp_path / "lib", {"l.py": "1\n", ".gitignore": "*.o\n"})
    git(lib, "init")
    git(lib, "add", ".")
    git(lib, "commit", "-m", "x")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "add", str(lib), "lib")
    git(repo, "commit", "-m", "with a submodule")
    return repo


def test_the_files_of_a_submodule_go_along_as_its_own_git_sees_them(with_module: Path) -> None:
    write(with_module, {"lib/new.py": "", "lib/x.o": "", "lib/drop.tmp": "", "lib/.gpusessignore": "*.tmp\n"})
    (with_module / "lib/void").mkdir()
    tree = read_code(with_module)
    inside = [path for path in paths(tree) if path.startswith("lib")]
    assert inside == ["lib/.gitignore", "lib/.gpusessignore", "lib/l.py", "lib/new.py", "lib/void"]
    assert tree.skipped == (Skipped("lib/drop.tmp", ".gpusessignore"),)
    write(with_module, {".gpusessignore": "lib/\n"})
    tree = read_code(with_module)
    assert not any(path.startswith("lib/") for path in paths(tree))
    assert tree.skipped == (Skipped("lib", ".gpusessignore"),)


def test_a_change_in_a_submodule_is_part_of_the_diff(with_module: Path) -> None:
    clean = read_provenance(with_module)
    assert (clean.dirty, clean.diff) == (False, None)
    write(with_module, {"lib/l.py": "2\n"})
    one = read_provenance(with_module)
    write(with_module, {"lib/l.py": "3\n"})
    two = read_provenance(with_module)
    assert len({None, one.diff, two.diff}) == 3


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("not checked out", "a submodule that is not checked out"),
        ("broken", "a submodule that cannot be read: .*lib: not a git repository"),
    ],
)
def test_a_submodule_that_is_not_there_is_named(with_module: Path, how: str, why: str) -> None:
    if how == "broken":
        (with_module / "lib/.git").write_text("gitdir: nowhere\n")
    else:
        shutil.rmtree(with_module / "lib")
        (with_module / "lib").mkdir()
    tree = read_code(with_module)
    ((path, reason),) = [(item.path, item.reason) for item in tree.skipped]
    assert path == "lib"
    assert re.fullmatch(why, reason)
    assert "a.py" in paths(tree)


def test_a_folder_in_the_place_of_a_file_goes_along(repo: Path) -> None:
    (repo / "a.py").unlink()
    write(repo, {"a.py/inner.py": ""})
    tree = read_code(repo)
    assert paths(tree) == [".gitignore", "a.py/inner.py", "pkg/b.py"]
    assert tree.skipped == ()


def test_why_a_link_stays_is_true(repo: Path) -> None:
    (repo / "out").symlink_to("../elsewhere")
    (repo / "round").symlink_to("pkg/../a.py")
    assert [(item.path, item.reason) for item in read_code(repo).skipped] == [
        ("out", "a link that leads out of the folder"),
        ("round", "a link with `..` behind another name: it may lead out of the folder"),
    ]


@pytest.mark.parametrize("change", ["longer", "other", "gone", "link"])
async def test_a_file_that_changes_while_it_is_sent_leaves_nothing(
    repo: Path, agents: Agents, change: str
) -> None:
    tree = read_code(repo)
    tree.kept._data.clear()  # as where there is more than is kept in memory
    b = repo / "pkg/b.py"
    if change in ("gone", "link"):
        b.rename(repo / "c.py")
        if change == "link":
            b.symlink_to("../c.py")
    else:
        b.write_text({"longer": "2\n\n", "other": "3\n"}[change])
    with pytest.raises(Changed, match=r"^pkg/b\.py: changed while it was being sent"):
        await push(tree, "code", agents)
    assert not (agents.home / "code").exists()
    done = await push(read_code(repo), "code", agents)
    files = {k: v for k, v in snapshot(repo).items() if b".git/" not in k and v[0] != "folder"}
    assert snapshot(agents.home / "code") == files
    assert done.changed


async def test_what_was_read_is_what_arrives(repo: Path, agents: Agents) -> None:
    tree = read_code(repo)
    (repo / "pkg/b.py").write_text("later")
    await push(tree, "code", agents)
    assert (agents.home / "code/pkg/b.py").read_text() == "2\n"


def test_a_known_file_is_not_read_again_and_a_changed_one_is(repo: Path) -> None:
    old = time.time() - 10
    for name in ("a.py", "pkg/b.py"):
        os.utime(repo / name, (old, old))
    time.sleep(0.15)
    tree = read_code(repo, Index.of(repo))
    tree.index.save()
    again = Index.of(repo)
    assert again.content("a.py", (repo / "a.py").stat()) == tree.entries[1].content
    before = (repo / "a.py").stat()
    (repo / "a.py").write_text("7\n")
    os.utime(repo / "a.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert again.content("a.py", (repo / "a.py").stat()) is None
    assert read_code(repo, Index.of(repo)).content_id == read_code(repo).content_id != tree.content_id


def test_a_file_of_this_moment_is_hashed_again(repo: Path) -> None:
    (repo / "a.py").write_text("5\n")
    tree = read_code(repo, Index.of(repo))
    tree.index.save()
    assert Index.of(repo).content("a.py", (repo / "a.py").stat()) is None


def test_a_damaged_index_is_none(repo: Path) -> None:
    index = Index.of(repo)
    read_code(repo, index)
    index._changed = True
    index.save()
    index._file.write_bytes(index._file.read_bytes()[:-3])
    assert Index.of(repo)._known == {}


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
