"""`sync`: serve one connection's requests until its input ends.

Requests are done in their order; blocks are verified and written by threads beside it, so that the link never
waits for a hash. Answers carry the `id` of what they answer; `more` says that another one follows. What only
checkpoints need is imported when they are asked for: over a long line eight of these start at once.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from remote_agent.syncing import blocks, frames, sending
from remote_agent.syncing.frames import BadFrame, Header
from remote_agent.syncing.keeping import collect, own
from remote_agent.syncing.memory import keep_freed
from remote_agent.syncing.parts import Parts
from remote_agent.syncing.rows import Row, apply, parse
from remote_agent.syncing.store import Refused, Store
from remote_agent.syncing.trees import Build, Trees

WRITERS = 2
"""Threads that verify and write blocks."""
WAITING = 8
"""Blocks in memory that wait for them."""
_PIPE = 1 << 20


class Server:
    """The requests of one connection. `answer` may be called from every thread."""

    def __init__(self, source: int, sink: int, home: Path) -> None:
        self._source = source
        self._sink = sink
        self._lock = threading.Lock()
        self._store = Store(home)
        self._parts = Parts(self._store)
        self._trees = Trees(self._store, self._parts)
        self._codecs = frames.codecs()
        self._build: Build | None = None
        self._blocks: queue.Queue[tuple[Header, bytearray] | None] = queue.Queue(WAITING)
        self._line = b""
        self._alone = False
        """The other side is gone."""
        self._ops: dict[str, Callable[[Header, bytearray], None]] = {
            "check": self._check,
            "tree": self._tree,
            "pack": self._pack,
            "commit": self._commit,
            "own": self._own,
            "room": self._room,
            "begin": self._begin,
            "seal": self._seal,
            "list": self._list,
            "read": self._read,
            "checkpoints": self._checkpoints,
            "pieces": self._pieces,
            "echo": self._echo,
        }

    def serve(self) -> None:
        """Until the input ends."""
        self._store.make()
        self._send({"op": "hello", "version": frames.VERSION, "codecs": list(self._codecs)})
        writers = [threading.Thread(target=self._write_blocks, daemon=True) for _ in range(WRITERS)]
        for thread in writers:
            thread.start()
        try:
            while True:
                header, payload = self._next()
                if header.get("op") == "block":
                    self._blocks.put((header, payload))
                else:
                    self._guarded(header, payload, self._ops.get(str(header.get("op")), _unknown))
        except EOFError:
            pass
        finally:
            for _ in writers:
                self._blocks.put(None)
            for thread in writers:
                thread.join()

    def answer(self, request: Header, payload: bytes = b"", **facts: object) -> None:
        self._send({"id": request.get("id"), **facts}, payload)

    # --- trees ---

    def _check(self, header: Header, _: bytearray) -> None:
        """Whether a tree is there as it was written; its place then leads to it."""
        self.answer(header, state="there" if self._is_there(header) else "need")

    def _is_there(self, header: Header) -> bool:
        """Whether the tree is there and whole. Its place is made to lead to it."""
        with self._store.locked():
            record = self._trees.record(str(header["tree"]))
            if record is None or not self._trees.whole(record):
                return False
            if not header.get("dry") and (place := self._place(header)):
                self._trees.link(record, place, str(header.get("inside", "")))
            return True

    def _tree(self, header: Header, payload: bytearray) -> None:
        """`tree` id, `place`, rows as payload; with `base` a difference. `dry`: only say what lacks."""
        place = self._place(header)
        id = str(header["tree"])
        if not header.get("dry"):
            self._drop_build()
        if self._is_there(header):
            self.answer(header, state="there")
            return
        rows = self._rows(header, payload)
        if rows is None:
            self.answer(header, state="base")
        elif header.get("dry"):
            self._answer_list(header, self._trees.lacking(rows, place), state="need")
        else:
            self._build = self._trees.build(id, rows, place)
            self._answer_list(header, [numbers[0] for numbers in self._build.missing.values()], state="need")

    def _rows(self, header: Header, payload: bytearray) -> list[Row] | None:
        """The rows that were sent; None where they start from a tree that is not here."""
        value = json.loads(self._expand(header, payload))
        if not header.get("base"):
            return parse(value)
        base = self._trees.record(str(header["base"]))
        if base is None:
            return None
        return apply(base.rows, parse(value["set"]), value["gone"])

    def _pack(self, header: Header, payload: bytearray) -> None:
        """Small files: a JSON line of [row, bytes] pairs, and their contents one after the other."""
        if self._build is None:  # Sent along with a tree that was refused, or is there: that answer says it.
            self.answer(header)
            return
        data = memoryview(self._expand(header, payload))
        end = bytes(data).index(b"\n")
        at = end + 1
        for number, size in json.loads(bytes(data[:end])):
            self._trees.write(self._build, number, data[at : at + size])
            at += size
        self.answer(header)

    def _commit(self, header: Header, _: bytearray) -> None:
        build = self._build
        if build is None or build.id != header["tree"]:
            self.answer(header, state="none")
            return
        self._trees.settle_large(build)
        if build.missing:
            self._answer_list(header, [numbers[0] for numbers in build.missing.values()], state="need")
            return
        with self._store.locked():
            record = self._trees.publish(build)
            self._build = None
            if place := self._place(header):
                self._trees.link(record, place, str(header.get("inside", "")))
        self.answer(header, state="done")
        with self._store.locked():
            collect(self._store)

    def _own(self, header: Header, _: bytearray) -> None:
        """Make `place`, which leads to a tree, a folder of its own."""
        place = self._store.resolve(str(header["place"]))
        with self._store.locked():
            own(self._store, self._trees, self._parts, place)
        self.answer(header)

    def _place(self, header: Header) -> Path | None:
        return self._store.resolve(str(header["place"])) if header.get("place") else None

    def _drop_build(self) -> None:
        if self._build is not None:
            self._trees.discard(self._build)
            self._build = None

    # --- large files ---

    def _begin(self, header: Header, _: bytearray) -> None:
        """`key`, `size`; `place` and `path`: where an older version may be. The answer: joined digests."""
        base = None
        place = self._place(header)
        if place and (record := self._trees.at(place)):
            row = record.by_path.get(str(header["path"]))
            if row and row[1] in ("file", "exec") and (record.folder / row[0]).is_file():
                base = record.folder / row[0]
        found = self._parts.begin(str(header["key"]), int(header["size"]), base)
        self.answer(header, b"".join(found))

    def _room(self, header: Header, payload: bytearray) -> None:
        """Whether large files have room that are to come, all of them: [key, size] each. Refused("space")."""
        wanted = json.loads(self._expand(header, payload))
        self._parts.check_room([(str(key), int(size)) for key, size in wanted])
        self.answer(header)

    def _write_blocks(self) -> None:
        while (item := self._blocks.get()) is not None:
            self._guarded(*item, self._block)

    def _block(self, header: Header, payload: bytearray) -> None:
        data: bytes | bytearray = payload
        if header.get("codec", "none") != "none":
            data = self._expand(header, payload)
        self._parts.write(str(header["key"]), int(header["i"]), data, bytes.fromhex(header["h"]))
        self.answer(header)

    def _seal(self, header: Header, payload: bytearray) -> None:
        digests = blocks.split(bytes(payload))
        self.answer(header, file=self._parts.seal(str(header["key"]), int(header["size"]), digests))

    # --- the other direction ---

    def _list(self, header: Header, _: bytearray) -> None:
        place = self._store.resolve(str(header["path"]))
        self._answer_list(header, sending.listing(place), folder=place.is_dir())

    def _read(self, header: Header, payload: bytearray) -> None:
        def send(facts: Header, data: bytes = b"") -> None:
            if self._alone:
                raise EOFError
            self.answer(header, data, **facts)

        sending.send_blocks(self._store.resolve(str(header["path"])), header, bytes(payload), send)

    def _checkpoints(self, header: Header, _: bytearray) -> None:
        from remote_agent.syncing import differences

        self._answer_list(header, differences.manifests(self._store.resolve(str(header["path"]))))

    def _pieces(self, header: Header, _: bytearray) -> None:
        from remote_agent.syncing import differences

        def send(facts: Header, data: bytes) -> None:
            self.answer(header, data, **facts)

        old = self._store.resolve(str(header["old"])) if header.get("old") else None
        differences.send_pieces(self._store.resolve(str(header["new"])), old, header, send)

    def _echo(self, header: Header, _: bytearray) -> None:
        self.answer(header)

    # --- frames ---

    def _guarded(self, header: Header, payload: bytearray, do: Callable[[Header, bytearray], None]) -> None:
        """Whatever goes wrong with a request is its answer."""
        try:
            do(header, payload)
        except Refused as error:
            self._fail(header, error.kind, str(error))
        except OSError as error:
            kind = "space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "system"
            self._fail(header, kind, f"{error.filename or 'the disk'}: {error.strerror or error}")
        except (BadFrame, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            trace = traceback.format_exc(limit=-2)
            self._fail(header, "wrong", f"a request that makes no sense ({error!r}) {trace}"[:2000])

    def _fail(self, header: Header, kind: str, message: str) -> None:
        self.answer(header, error=kind, message=message)

    def _answer_list(self, header: Header, value: Sequence[object], **facts: object) -> None:
        codec = next(iter(self._codecs))
        payload = self._codecs[codec][0](json.dumps(value, separators=(",", ":")).encode())
        self.answer(header, payload, codec=codec, **facts)

    def _expand(self, header: Header, payload: bytearray) -> bytes:
        name = str(header.get("codec", "none"))
        if name not in self._codecs:
            raise Refused("wrong", f"no codec {name!r} here")
        return self._codecs[name][1](bytes(payload), frames.PAYLOAD_LIMIT)

    def _next(self) -> tuple[Header, bytearray]:
        while b"\n" not in self._line:
            more = os.read(self._source, frames.HEADER_LIMIT)
            if not more:
                raise EOFError
            self._line += more
            if len(self._line) > 2 * frames.HEADER_LIMIT:
                raise BadFrame("a line that does not end")
        line, _, rest = self._line.partition(b"\n")
        header, size = frames.decode(line)
        payload = bytearray(size)
        payload[: min(size, len(rest))] = rest[:size]
        self._line = rest[size:]
        frames.read_into(self._source, payload, min(size, len(rest)))
        return header, payload

    def _send(self, header: Header, payload: bytes = b"") -> None:
        """Nothing, once nobody listens: what has come is still written, for whoever continues."""
        with self._lock:
            pieces = [memoryview(frames.encode(header, payload)), memoryview(payload)]
            try:
                while pieces and not self._alone:
                    done = os.writev(self._sink, pieces)
                    while pieces and done >= len(pieces[0]):
                        done -= len(pieces.pop(0))
                    if pieces:
                        pieces[0] = pieces[0][done:]
            except BrokenPipeError:
                self._alone = True


def _unknown(header: Header, _: bytearray) -> None:
    raise Refused("wrong", f"no request {header.get('op')!r}")


def main() -> int:
    """Serve stdin and stdout. A client that is gone ends it."""
    os.umask(0o022)
    keep_freed()
    # Whatever is printed by accident must not get between the frames.
    sink = os.dup(1)
    os.dup2(2, 1)
    _widen(0)
    _widen(sink)
    server = Server(0, sink, Path.home())
    try:
        server.serve()
    except BadFrame as error:
        print(f"sync: {error}", file=sys.stderr)
        return 1
    return 0


def _widen(handle: int) -> None:
    with suppress(OSError):
        fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, _PIPE)
