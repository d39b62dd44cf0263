"""`unpack DEST`: a tar stream from the user's side → a folder, whole or not at all.

Standard library only. The stream's first member is a manifest; only what it lists is written, each file is
held against its hash, and the folder takes its name when everything is there and durable. What a hostile
stream could try (absolute names, `..`, links, devices, setuid) is refused before a byte of it is written.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

MANIFEST = ".gpusess-manifest.json"
"""The stream's first member: JSON, a list of [path, mode, size, digest or link target]."""
MANIFEST_LIMIT = 64 * 1024 * 1024
"""Bytes."""
CHUNK = 1024 * 1024

_USAGE = "usage: unpack [--file] DEST"
_MODES = {"file": 0o644, "exec": 0o755}


class UnpackError(Exception):
    """The stream is refused. Nothing is left at the destination."""


@dataclass(frozen=True)
class Item:
    """One line of the manifest."""

    path: str
    mode: str
    """`file`, `exec` or `link`."""
    size: int
    """Bytes; 0 for a link."""
    content: str
    """SHA-256 of the file, or the link's target."""


@dataclass(frozen=True)
class Unpacked:
    files: int
    bytes: int
    id: str
    """The SHA-256 of the manifest: the sender's id of the tree."""


def safe_path(path: str) -> bool:
    """Whether a path is relative, in its normal form, and stays inside the folder it starts from."""
    if not path or "\0" in path or path == MANIFEST or path != str(PurePosixPath(path)):
        return False
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts


def safe_link(path: str, target: str) -> bool:
    """Whether a link at `path` stays inside the folder.

    `..` is allowed only at the start of the target, where it climbs real folders; after the name of another
    link it could climb from somewhere else.
    """
    if not target or "\0" in target or target.startswith("/"):
        return False
    parts = target.split("/")
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    return climbs < len(PurePosixPath(path).parts) and ".." not in parts[climbs:]


def unpack(stream: IO[bytes], dest: Path, *, single: bool = False) -> Unpacked:
    """Read a tar stream (plain or gzip) into `dest`, which appears complete or not at all.

    `single`: the stream holds one file, and `dest` is to be that file. A destination that is there already
    is left as it is.

    Raises:
        UnpackError: the stream is incomplete, damaged or hostile.
        OSError: the disk is full, or the destination cannot be written.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    _sweep(dest)
    partial = dest.with_name(f"{dest.name}.tmp-{os.getpid()}")
    partial.mkdir(mode=0o700)
    try:
        items, digest = _extract(stream, partial)
        if single and (len(items) != 1 or items[0].mode == "link"):
            raise UnpackError(f"one file was expected, the stream holds {len(items)} entries")
        _make_durable(partial)
        _publish(partial / items[0].path if single else partial, dest)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Unpacked(len(items), sum(item.size for item in items), digest)


def is_there(dest: Path) -> bool:
    """Whether an earlier unpack has finished here: an empty folder does not count."""
    return dest.is_file() or (dest.is_dir() and any(dest.iterdir()))


def _extract(stream: IO[bytes], root: Path) -> tuple[list[Item], str]:
    try:
        with tarfile.open(fileobj=_plain(stream), mode="r|", errorlevel=1) as archive:
            items, digest = _manifest(archive)
            _write_files(archive, items, root)
        _make_links(items, root)  # last, so that no file was ever written through one
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise UnpackError(f"the stream is damaged or ended early ({error})") from None
    return items, digest


def _make_links(items: list[Item], root: Path) -> None:
    for item in items:
        if item.mode == "link":
            place = root / item.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(item.content)


def _plain(stream: IO[bytes]) -> io.BufferedIOBase:
    """The stream without gzip. `GzipFile` checks the length and the CRC at the end; tarfile would not."""
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
    if buffered.peek(2)[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=buffered, mode="rb")
    return buffered


def _manifest(archive: tarfile.TarFile) -> tuple[list[Item], str]:
    member = archive.next()
    if member is None or member.name != MANIFEST or member.type != tarfile.REGTYPE:
        raise UnpackError("the stream does not start with a manifest")
    if member.size > MANIFEST_LIMIT:
        raise UnpackError(f"the manifest has {member.size} bytes; at most {MANIFEST_LIMIT} are read")
    reader = archive.extractfile(member)
    data = reader.read() if reader else b""
    try:
        items = [_item(row) for row in json.loads(data)]
    except (ValueError, TypeError, RecursionError):
        raise UnpackError("the manifest cannot be read") from None
    _check(items)
    return items, hashlib.sha256(data).hexdigest()


def _item(row: Any) -> Item:
    path, mode, size, content = row
    if not (isinstance(path, str) and isinstance(content, str) and type(size) is int and size >= 0):
        raise ValueError("not a manifest's line")
    if mode not in ("file", "exec", "link"):
        raise ValueError("not a mode")
    return Item(path, mode, size, content)


def _check(items: list[Item]) -> None:
    """Every path by itself, and that none lies below a file or link."""
    paths = {item.path for item in items}
    if len(paths) != len(items):
        raise UnpackError("a path is listed twice")
    for item in items:
        if not safe_path(item.path):
            raise UnpackError(f"{item.path!r} leads out of the folder")
        if item.mode == "link" and not safe_link(item.path, item.content):
            raise UnpackError(f"the link {item.path!r} leads out of the folder")
        for parent in PurePosixPath(item.path).parents:
            if str(parent) in paths:
                raise UnpackError(f"{item.path!r} lies below a file or link")


def _write_files(archive: tarfile.TarFile, items: list[Item], root: Path) -> None:
    waiting = {item.path: item for item in items if item.mode != "link"}
    for member in iter(archive.next, None):
        item = waiting.pop(member.name, None)
        if item is None or member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.size != item.size:
            raise UnpackError(f"{member.name!r} is not what the manifest lists")
        reader = archive.extractfile(member)
        if reader is None:
            raise UnpackError(f"{member.name!r} holds no bytes")
        _write(reader, item, root)
    if waiting:
        raise UnpackError(f"the stream ended early: {len(waiting)} files are missing")


def _write(reader: IO[bytes], item: Item, root: Path) -> None:
    place = root / item.path
    place.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with place.open("xb") as file:
        while block := reader.read(CHUNK):
            digest.update(block)
            file.write(block)
        os.fchmod(file.fileno(), _MODES[item.mode])
    if digest.hexdigest() != item.content:
        raise UnpackError(f"{item.path!r} arrived damaged: its hash differs")


def _make_durable(root: Path) -> None:
    """Everything below `root`, files before the folders that name them."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            place = Path(folder, name)
            if not place.is_symlink():
                _fsync(place)
        _fsync(Path(folder))


def _publish(partial: Path, dest: Path) -> None:
    if is_there(dest):
        return
    if partial.is_dir():
        partial.chmod(0o755)
    try:
        partial.rename(dest)
    except OSError:
        # Somebody else was faster. The name is the content: theirs will do.
        if not is_there(dest):
            raise
    _fsync(dest.parent)


def _sweep(dest: Path) -> None:
    """Remove what earlier processes left behind when they died."""
    for left in dest.parent.glob(f"{_escaped(dest.name)}.tmp-*"):
        pid = left.name.rpartition("-")[2]
        if pid.isdigit() and (int(pid) == os.getpid() or not _alive(int(pid))):
            shutil.rmtree(left, ignore_errors=True)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process
        return True
    return True


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def main(argv: list[str]) -> int:
    """`unpack [--file] DEST`: prints one JSON line, or an error on stderr and returns 1."""
    args = list(argv)
    single = "--file" in args
    if single:
        args.remove("--file")
    if len(args) != 1 or args[0].startswith("--"):
        print(_USAGE, file=sys.stderr)
        return 2
    dest = Path(args[0]).absolute()
    try:
        line = _run(dest, single)
    except UnpackError as error:
        print(f"unpack {dest}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"unpack {dest}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(json.dumps(line))
    return 0


def _run(dest: Path, single: bool) -> dict[str, Any]:
    if is_there(dest):
        # Read to the end, so that the sender sees a stream that was taken and not a broken pipe.
        while sys.stdin.buffer.read(CHUNK):
            pass
        return {"files": 0, "bytes": 0, "there": True}
    done = unpack(sys.stdin.buffer, dest, single=single)
    return {"files": done.files, "bytes": done.bytes, "id": done.id, "there": False}
