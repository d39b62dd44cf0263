from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from remote_agent import unpack as module


@pytest.fixture(autouse=True)
def _own_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that knows no user and no global ignore file."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


def git(root: Path, *args: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *who, *args], cwd=root, check=True, capture_output=True)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def unpacked(stream: bytes, dest: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    """`unpack` as the instance runs it: a process that reads the stream from its input."""
    code = "import sys; from remote_agent import unpack; sys.exit(unpack.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *args, str(dest)]
    return subprocess.run(command, input=stream, capture_output=True, timeout=60, check=False)


def snapshot(root: Path) -> dict[bytes, tuple[str, bytes]]:
    """Every file and link below a folder: its kind and its bytes or target."""
    found = {}
    for path in root.rglob("*"):
        name = os.fsencode(path.relative_to(root))
        if path.is_symlink():
            # Not Path.readlink: it would tidy the target up.
            found[name] = ("link", os.fsencode(os.readlink(path)))  # noqa: PTH115
        elif path.is_file():
            found[name] = ("exec" if path.stat().st_mode & 0o100 else "file", path.read_bytes())
    return found


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: Any
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def stream_of(rows: Any, *members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar stream with a manifest of these rows (or these bytes) and these members."""
    data = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in (member(module.MANIFEST, data), *members):
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
