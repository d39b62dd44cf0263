"""The journal: crash-safe append, repair of a torn tail, and reading up to what is acknowledged.

One line is one record: `{"v":1,"seq":7,"ts":1.5,"kind":…,…,"crc":"89abcdef"}`. The checksum is the CRC-32
of the line's bytes before `,"crc":`. A batch counts only after fdatasync; then the acknowledged length is
published in `<name>.ack`, beside the journal, and readers go no further than that. Standard library only:
readers start fast, and the format needs nothing but `tail`, `wc -l` and `jq`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote_agent import SCHEMA_VERSION

BALLAST_BYTES = 256 * 1024
"""Kept beside the journal so that a run on a full disk can still say that it waits."""

_CRC_MARK = b',"crc":"'
_CRC_TAIL = len(_CRC_MARK) + 8 + 2  # ,"crc":"89abcdef"}

Record = dict[str, Any]
Key = tuple[str, str, int]
"""What a result or a failed sample settles: (task, sample, candidate)."""
ScoreKey = tuple[str, str, int, str]
"""What a score settles: (task, sample, candidate, reranker)."""


class JournalError(Exception):
    """Something is wrong with a journal; the message names the file, the place and the next step."""


class BadLine(JournalError):
    """A line that is not a whole record."""


class Corrupt(JournalError):
    """A damaged line in the middle of a journal, with good ones after it."""


class Busy(JournalError):
    """Another process writes this journal."""


class DuplicateKey(JournalError):
    """A result with this key stands already."""


class NoSpace(JournalError):
    """The disk is full. The batch was not written, not even in part."""


def encode(record: Record, seq: int, ts: float) -> bytes:
    """One line, newline included. `record` must hold `kind` and plain JSON values."""
    head = {"v": SCHEMA_VERSION, "seq": seq, "ts": round(ts, 3), **record}
    body = json.dumps(head, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    raw = body.encode("utf-8", "backslashreplace")[:-1]
    return raw + _CRC_MARK + b"%08x" % zlib.crc32(raw) + b'"}\n'


def decode(line: bytes) -> Record:
    """The record of one line (with or without its newline). Raises BadLine and says why."""
    line = line.rstrip(b"\n")
    cut = len(line) - _CRC_TAIL
    if cut <= 0 or line[cut : cut + len(_CRC_MARK)] != _CRC_MARK or line[-2:] != b'"}':
        raise BadLine("no checksum at its end")
    if b"%08x" % zlib.crc32(line[:cut]) != line[-10:-2]:
        raise BadLine("checksum does not match")
    try:
        record = json.loads(line)
    except ValueError as exc:
        raise BadLine(f"not JSON: {exc}") from None
    if not isinstance(record, dict) or "kind" not in record or "seq" not in record:
        raise BadLine("not a record")
    return record


def intact(line: bytes) -> bool:
    """Whether a line (without its newline) ends with its checksum, and that holds: half of `decode`."""
    cut = len(line) - _CRC_TAIL
    if cut <= 0 or line[cut:-10] != _CRC_MARK or line[-2:] != b'"}':
        return False
    return b"%08x" % zlib.crc32(line[:cut]) == line[-10:-2]


def decode_all(data: bytes) -> Iterator[Record]:
    """The records of whole lines. Raises BadLine at the first that is none."""
    for line in data.split(b"\n"):
        if line:
            yield decode(line)


def key_of(record: Record) -> Key | ScoreKey | None:
    """What a record settles, so that it must stand only once; None for records that settle nothing."""
    if record["kind"] in ("result", "failed"):
        return record["task"], record["sample"], record["candidate"]
    if record["kind"] == "scored":
        return record["task"], record["sample"], record["candidate"], record["reranker"]
    return None


# --- the acknowledged length ---------------------------------------------------------------------------


def ack_path(journal: Path) -> Path:
    return journal.with_name(journal.name + ".ack")


def read_ack(journal: Path) -> int:
    """The journal's acknowledged length in bytes; 0 where nothing is acknowledged yet."""
    for _ in range(20):
        try:
            raw = ack_path(journal).read_bytes()
        except FileNotFoundError:
            return 0
        digits, _, check = raw.strip().partition(b" ")
        if check == b"%08x" % zlib.crc32(digits):
            return int(digits)
        time.sleep(0.0005)  # a write was under way
    return 0


def _ack_bytes(length: int) -> bytes:
    digits = b"%020d" % length
    return digits + b" %08x\n" % zlib.crc32(digits)


# --- reading at open -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Scan:
    """What a journal holds from where it was read on: records, its good length, and the bytes after that."""

    records: list[Record]
    good: int
    torn: bytes


def scan(path: Path, start: int = 0) -> Scan:
    """Read a journal from a line's beginning on. A damaged tail is returned apart; damage before good lines
    raises Corrupt."""
    data = b""
    if path.exists():
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
    records: list[Record] = []
    good = 0
    while good < len(data):
        end = data.find(b"\n", good) + 1
        try:
            if not end:
                raise BadLine("no newline")
            records.append(decode(data[good:end]))
        except BadLine as exc:
            place = f"line {len(records) + 1} (byte {good})" if not start else f"byte {start + good}"
            _refuse_damage_before_good_lines(path, data, good, place, str(exc))
            break
        good = end
    return Scan(records, start + good, data[good:])


def _refuse_damage_before_good_lines(path: Path, data: bytes, at: int, place: str, why: str) -> None:
    first_end = data.find(b"\n", at)
    if first_end < 0:
        return
    for later in data[first_end + 1 :].split(b"\n"):
        with contextlib.suppress(BadLine):
            decode(later)
            raise Corrupt(
                f"{path}, {place}: {why}, and whole records follow it. "
                "Nothing was changed. The copy at home may be whole: `gpusess resume` can start from it."
            )


# --- writing -------------------------------------------------------------------------------------------


class Journal:
    """The one writer of a journal. Opening it takes its lock, repairs its tail and reads what it holds.

    Errors: Busy (another writer), Corrupt (damage in the middle), NoSpace, JournalError.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, ballast: bool = True) -> None:
        self.path = path
        self._clock = clock
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _lock(self._fd, path)
            found = scan(path)
            self.records = found.records
            self.repaired = len(found.torn)
            self.length = found.good
            if found.torn:
                _set_aside(self._fd, path, found)
            os.fdatasync(self._fd)
            self._ack_fd = os.open(ack_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._publish()
            os.ftruncate(self._ack_fd, len(_ack_bytes(0)))  # a damaged one may be longer
        except BaseException:
            os.close(self._fd)
            raise
        self._seq = self.records[-1]["seq"] + 1 if self.records else 0
        self._keys = {k for k in map(key_of, self.records) if k is not None}
        self._ballast = path.with_name(path.name + ".ballast") if ballast else None
        self.restore_ballast()

    @property
    def keys(self) -> frozenset[Key]:
        """The keys of results and failed samples that are settled."""
        return frozenset(key for key in self._keys if len(key) == 3)

    def append(self, records: Sequence[Record]) -> None:
        """Append a batch and make it durable: all of it or, after an error, nothing.

        Raises DuplicateKey before anything is written, NoSpace when the disk is full.
        """
        keys = [k for k in map(key_of, records) if k is not None]
        self._refuse_doubles(keys)
        now = self._clock()
        data = b"".join(encode(r, self._seq + i, now) for i, r in enumerate(records))
        try:
            self._write(data)
            os.fdatasync(self._fd)
        except OSError as exc:
            os.ftruncate(self._fd, self.length)
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(f"{self.path}: the disk is full; {len(records)} records wait") from exc
            raise JournalError(f"{self.path}: {exc.strerror}; {len(records)} records wait") from exc
        self._seq += len(records)
        self._keys.update(keys)
        self.length += len(data)
        self._publish()

    def release_ballast(self) -> None:
        """Give the ballast's bytes back to a full disk, so that a last short record fits."""
        if self._ballast:
            with contextlib.suppress(FileNotFoundError):
                os.truncate(self._ballast, 0)

    def restore_ballast(self) -> bool:
        """Take the ballast again; False where the disk has no room for it yet."""
        if not self._ballast:
            return True
        try:
            fd = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(fd).st_size < BALLAST_BYTES:
                    os.pwrite(fd, b"\0" * BALLAST_BYTES, 0)
                return os.fstat(fd).st_size >= BALLAST_BYTES
            finally:
                os.close(fd)
        except OSError:
            return False

    def close(self) -> None:
        os.close(self._ack_fd)
        os.close(self._fd)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse_doubles(self, keys: Iterable[Key | ScoreKey]) -> None:
        fresh: set[Key | ScoreKey] = set()
        for key in keys:
            if key in self._keys or key in fresh:
                raise DuplicateKey(f"{self.path}: {key} stands already")
            fresh.add(key)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def _publish(self) -> None:
        os.pwrite(self._ack_fd, _ack_bytes(self.length), 0)


def settle(path: Path) -> None:
    """Let whole records count that a writer wrote and could not acknowledge before it was ended.

    What was acknowledged is not read again, so this takes little however long the journal is. Raises Busy,
    Corrupt.
    """
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        _lock(fd, path)
        found = scan(path, read_ack(path))
        if found.torn:
            _set_aside(fd, path, found)
        os.fdatasync(fd)
        ack = os.open(ack_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(ack, _ack_bytes(found.good), 0)
            os.ftruncate(ack, len(_ack_bytes(0)))
        finally:
            os.close(ack)
    finally:
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Busy(f"{path}: another process writes it; end that one first") from None


def _set_aside(fd: int, path: Path, found: Scan) -> None:
    """Cut a damaged tail off, and keep it beside the journal where there is room."""
    side = path.with_name(f"{path.name}.torn-{found.good}")
    try:
        side.write_bytes(found.torn)
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        side.unlink(missing_ok=True)  # no room for a copy of bytes that never counted
    os.ftruncate(fd, found.good)
