"""Differences of tensors: lossless whatever the two files hold, checked before they are believed, small where it
counts."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpusess.sync.tensors import BadPiece, apply
from remote_agent import tensors
from remote_agent.tensors import CHUNK, DIFFERENCE, STORED, NotTensors, Piece, layout, pieces

Tensors = dict[str, tuple[str, bytes]]


def safetensors(content: Tensors, note: str = "") -> bytes:
    """A file as the format says, with a header as long as `note` makes it."""
    header: dict[str, Any] = {"__metadata__": {"note": note}} if note else {}
    data = b""
    for name, (dtype, raw) in content.items():
        shape = [len(raw) // tensors.WIDTHS[dtype]]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data


class Files:
    """An old and a new file, open."""

    def __init__(self, old: bytes, new: bytes) -> None:
        self._files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]  # noqa: SIM115 (closed at exit)
        for file, content in zip(self._files, (old, new), strict=True):
            file.write(content)
            file.flush()
        self.old, self.new = (file.fileno() for file in self._files)
        self.old_size = len(old)

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def rebuilt(self, found: list[Piece]) -> bytes:
        return b"".join(apply(piece, self.old, self.old_size) for piece in found)


contents = st.dictionaries(
    st.text(max_size=4).filter(lambda name: name != "__metadata__"),
    st.tuples(st.sampled_from(["F32", "BF16", "U8", "F64"]), st.binary(max_size=40).map(lambda b: b * 8)),
    max_size=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contents, contents, st.text(max_size=30), st.integers(0, 3000), st.booleans())
def test_any_two_files_any_offset(
    old: Tensors, new: Tensors, note: str, offset: int, zstandard: bool
) -> None:
    shared = {name: new[name] for name in list(new)[:2]}
    target = safetensors(new, note)
    offset = min(offset, len(target))
    with Files(safetensors({**old, **shared}), target) as files:
        assert files.rebuilt(list(pieces(files.new, files.old, offset, zstandard))) == target[offset:]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=600), st.binary(max_size=600))
def test_files_that_are_no_tensors_come_as_they_are(old: bytes, new: bytes) -> None:
    with Files(old, new) as files:
        assert files.rebuilt(list(pieces(files.new, files.old))) == new


def trained(share: float, size: int = 3 * CHUNK + 4096, seed: int = 0) -> tuple[bytes, bytes]:
    """bf16 weights before and after steps that moved that share of them by one unit in the last place."""
    chance = random.Random(seed)
    before = bytearray(chance.randbytes(size))
    after = bytearray(before)
    for at in chance.sample(range(0, size, 2), int(size // 2 * share)):
        after[at] ^= 1
    return bytes(before), bytes(after)


@pytest.mark.parametrize("zstandard", [True, False], ids=["zstandard", "zlib"])
def test_fine_tuning_sends_a_fraction(zstandard: bool) -> None:
    before, after = trained(0.08)
    old = safetensors({"a": ("BF16", before), "b": ("BF16", before)})
    # The header grows and the order changes: tensors are found by their names.
    new = safetensors({"b": ("BF16", before), "a": ("BF16", after)}, note="x" * 333)
    with Files(old, new) as files:
        found = list(pieces(files.new, files.old, zstandard=zstandard))
        assert files.rebuilt(found) == new
    assert sum(len(piece.payload) for piece in found) < 0.06 * len(new)


@given(st.data(), st.sampled_from([1, 2, 4, 8]))
def test_planes_are_the_same_with_numpy_and_without(data: st.DataObject, width: int) -> None:
    size = data.draw(st.integers(1, 40)) * width
    one, other = (data.draw(st.binary(min_size=size, max_size=size)) for _ in range(2))
    fast = tensors._planes(one, other, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "_numpy", lambda: None)
        assert tensors._planes(one, other, width) == fast
    assert b"".join(fast[n % width][n // width : n // width + 1] for n in range(size)) == tensors.xor(
        one, other
    )


def test_home_never_loads_numpy() -> None:
    """It is only what sends that takes it: the install at home stays light."""
    program = (
        "import os, sys, tempfile\n"
        "from remote_agent.tensors import Piece, DIFFERENCE, PLANE\n"
        "from gpusess.sync.tensors import apply\n"
        "old = tempfile.TemporaryFile(); old.write(b'abcd'); old.flush()\n"
        "piece = Piece(DIFFERENCE, 2, 0, 4, PLANE.pack(1, 2) + b'\\1\\1' + PLANE.pack(0, 0))\n"
        "assert apply(piece, old.fileno(), 4) == b'`bbd'\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_a_difference_that_does_not_pay_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "PROBE", CHUNK)
    tried = 0
    real = tensors._planes

    def counted(*args: Any) -> list[bytes]:
        nonlocal tried
        tried += 1
        return real(*args)

    monkeypatch.setattr(tensors, "_planes", counted)
    before, after = random.Random(1).randbytes(16 * CHUNK), random.Random(2).randbytes(16 * CHUNK)
    new = safetensors({"a": ("F32", after)})
    with Files(safetensors({"a": ("F32", before)}), new) as files:
        found = list(pieces(files.new, files.old))
        assert {piece.kind for piece in found} == {STORED}
        assert files.rebuilt(found) == new
    assert tried < 10, "after a while it is not even tried"


def test_what_was_cut_off_goes_on_at_any_byte() -> None:
    before, after = trained(0.05)
    old, new = safetensors({"a": ("BF16", before)}), safetensors({"a": ("BF16", after)})
    with Files(old, new) as files:
        for offset in (0, 1, 7, CHUNK, CHUNK + 101, 2 * CHUNK + 99, len(new) - 1, len(new)):
            found = list(pieces(files.new, files.old, offset))
            assert new[:offset] + files.rebuilt(found) == new
            sent = sum(len(piece.payload) for piece in found)
            assert sent <= CHUNK + 0.1 * (len(new) - offset), "one piece at most comes whole"


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "header",
    [
        {"a": {**GOOD, "data_offsets": [0, 12]}},
        {"a": {**GOOD, "data_offsets": [-8, 0]}},
        {"a": {**GOOD, "data_offsets": [8, 0]}},
        {"a": {**GOOD, "data_offsets": [0, 1 << 70]}},
        {"a": {**GOOD, "data_offsets": [0.0, 8.0]}},
        {"a": {**GOOD, "data_offsets": [0]}},
        {"a": {**GOOD, "shape": [3]}},
        {"a": {**GOOD, "shape": [-1, -2]}},
        {"a": {**GOOD, "shape": [True, 2]}},
        {"a": {**GOOD, "shape": "2"}},
        {"a": {**GOOD, "dtype": 4}},
        {"a": GOOD, "b": GOOD},
        {"a": {}},
        {"a": None},
        [],
        "x",
    ],
)  # fmt: skip
def test_headers_that_lie_are_no_tensors(header: object) -> None:
    head = json.dumps(header).encode()
    with Files(b"", struct.pack("<Q", len(head)) + head + b"12345678") as files, pytest.raises(NotTensors):
        layout(files.new)


@pytest.mark.parametrize(
    "start", [b"", b"\1", b"\xff" * 8, struct.pack("<Q", 1 << 40), b"\2" + b"\0" * 7 + b"{"]
)
def test_files_that_are_cut_off_are_no_tensors(start: bytes) -> None:
    with Files(b"", start) as files, pytest.raises(NotTensors):
        layout(files.new)


@given(st.binary(max_size=300))
def test_no_header_breaks_the_reader(head: bytes) -> None:
    with Files(b"", struct.pack("<Q", len(head)) + head) as files:
        try:
            layout(files.new)
        except NotTensors:
            return


def test_pieces_that_lie_are_refused() -> None:
    before, after = trained(0.05, size=64 * 1024)
    with Files(safetensors({"a": ("BF16", before)}), safetensors({"a": ("BF16", after)})) as files:
        head, good = pieces(files.new, files.old)
        assert (head.kind, good.kind) == (STORED, DIFFERENCE)
        lies = [
            replace(head, length=head.length + 1),
            replace(head, length=0),
            replace(head, length=CHUNK + 1, payload=b"x" * (CHUNK + 1)),
            replace(good, base=files.old_size - 8),
            replace(good, base=-1),
            replace(good, width=3),
            replace(good, width=4),
            replace(good, kind=9),
            replace(good, payload=good.payload[:3]),
            replace(good, payload=good.payload[:-9]),
            replace(good, length=good.length // 2),
            replace(good, payload=b"\x02\x04\0\0\0zzzz" * 2),
            replace(good, payload=b"\x03\x04\0\0\0zzzz" * 2),
            replace(good, payload=b"\x07" + good.payload[1:]),
        ]
        for lie in lies:
            with pytest.raises(BadPiece):
                apply(lie, files.old, files.old_size)
        with pytest.raises(BadPiece):
            apply(good, None, 0)


@pytest.mark.skipif(not tensors.HAS_ZSTANDARD, reason="needs zstandard")
def test_a_small_piece_cannot_take_much_memory() -> None:
    bomb = tensors.ZSTANDARD_MODULE.ZstdCompressor().compress(bytes(1 << 28))
    plane = tensors.PLANE.pack(tensors.ZSTANDARD, len(bomb)) + bomb
    with Files(bytes(1000), b"") as files, pytest.raises(BadPiece, match="another size"):
        apply(Piece(DIFFERENCE, 1, 0, 1000, plane), files.old, 1000)


@pytest.mark.model
def test_a_model_that_was_trained(tmp_path: Path) -> None:
    """Real weights after real steps in bf16, as transformers writes them."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = transformers.LlamaConfig(
        vocab_size=2000, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4
    )
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for step in range(2):
        model.save_pretrained(tmp_path / str(step))
        tokens = torch.randint(0, 2000, (2, 16))
        model(tokens, labels=tokens).loss.backward()
        optimizer.step()
    paths = [tmp_path / str(step) / "model.safetensors" for step in range(2)]
    old, new = (os.open(path, os.O_RDONLY) for path in paths)
    found = list(pieces(new, old))
    whole = hashlib.sha256()
    for piece in found:
        whole.update(apply(piece, old, os.fstat(old).st_size))
    assert whole.digest() == hashlib.sha256(paths[1].read_bytes()).digest()
    assert sum(len(piece.payload) for piece in found) < 0.2 * paths[1].stat().st_size
    os.close(old)
    os.close(new)
