"""Reading mirrors: however the bytes arrive, the state is that of the records one by one; a copy that was
replaced is read anew."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gpusess.analysis.run_state import RunState, fold
from gpusess.sessions.mirror import RunMirror
from remote_agent.journal import BadLine, decode, encode, intact

TEXT = st.text(max_size=12) | st.sampled_from(
    ["\x1b[2J", "[red]", "‮abc", '"}\\', "\ud800", '","kind":"failed"']
)
RESULTS = st.fixed_dictionaries(
    {
        "kind": st.just("result"),
        "task": st.just("t"),
        "sample": TEXT,
        "candidate": st.integers(0, 3),
        "category": st.sampled_from(["", "a", "ü"]),
        "verdict": st.sampled_from(["right", "wrong", "no_answer"]),
        "reason": st.sampled_from(["parsed", "unparsed", "truncated", "empty"]),
        "extracted": st.none() | TEXT,
        "rule": st.none() | TEXT,
        "disagree": st.booleans(),
        "gold": TEXT,
        "completion": TEXT,
        "prompt_sha": TEXT,
        "tokens_in": st.integers(0, 10**6),
        "tokens_out": st.integers(0, 10**6),
        "metrics": st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False), max_size=2),
        "marks": st.lists(TEXT, max_size=2),
    }
)
OTHERS = st.one_of(
    st.fixed_dictionaries({"kind": st.just("begin"), "keys": st.lists(st.tuples(TEXT, st.integers(0, 3)), max_size=3)}),
    st.fixed_dictionaries({"kind": st.just("failed"), "sample": TEXT, "category": TEXT, "error": TEXT}),
    st.fixed_dictionaries({"kind": st.just("phase"), "name": TEXT, "detail": TEXT}),
    st.fixed_dictionaries({"kind": st.just("of a later version"), "verdict": st.integers()}),
    st.just(
        {
            "kind": "planned", "task": "t", "samples": 9, "candidates": 2, "total": 18, "categories": {"a": 9},
            "data": "d", "model": "m", "engine": "e", "dtype": "f", "headline": "h",
        }
    ),
)  # fmt: skip
RECORDS = st.lists(st.tuples(st.floats(0, 300), RESULTS | OTHERS), max_size=40)


def lines_of(records: list[tuple[float, dict[str, Any]]]) -> list[bytes]:
    return [encode(record, seq, 1e9 + ts) for seq, (ts, record) in enumerate(records)]


def folded(lines: list[bytes]) -> RunState:
    """The rule: the records one by one, each decoded as the agent decodes it."""
    state = RunState()
    for line in lines:
        fold(state, decode(line))
    return state


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(1, 3000))
def test_any_chopping_of_the_bytes_gives_the_same_state(
    records: list[tuple[float, dict[str, Any]]], cuts: list[int], budget: int
) -> None:
    lines = lines_of(records)
    data = b"".join(lines)
    with tempfile.TemporaryDirectory() as folder:
        mirror = RunMirror(Path(folder))
        journal, at = Path(folder) / "journal.jsonl", 0
        for cut in [*cuts, len(data)]:
            with journal.open("ab") as file:
                file.write(data[at : at + cut])
            at += cut
            mirror.refresh(budget)
        while mirror.refresh(budget):
            pass
        assert mirror.damage == ""
        assert mirror.state == folded(lines)
        assert mirror.folded("journal.jsonl") == len(data)


@given(
    st.binary(max_size=60) | RESULTS.map(lambda r: encode(r, 1, 2.0)[:-1]),
    st.integers(0, 500),
    st.integers(1, 255),
)
def test_a_line_is_intact_exactly_where_its_checksum_holds(line: bytes, at: int, flip: int) -> None:
    if line and at < len(line):
        line = line[:at] + bytes([line[at] ^ flip]) + line[at + 1 :]
    why = ""
    try:
        decode(line)
    except BadLine as exc:
        why = str(exc)
    # Beside the checksum, `decode` refuses whole lines that hold no record.
    assert intact(line) == (not why or "JSON" in why or "record" in why)


def answers(verdicts: str) -> bytes:
    base = {
        "kind": "result", "task": "t", "candidate": 0, "category": "a", "reason": "parsed", "extracted": "1",
        "rule": "r", "disagree": False, "gold": "1", "completion": "", "prompt_sha": "", "tokens_in": 1, "tokens_out": 1,
    }  # fmt: skip
    words = {"r": "right", "w": "wrong"}
    return b"".join(
        encode({**base, "sample": str(i), "verdict": words[v]}, i, 1e9 + i) for i, v in enumerate(verdicts)
    )


def test_a_copy_that_was_fetched_anew_is_not_mixed_with_the_old_one(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(answers("rrrr"))
    mirror = RunMirror(tmp_path)
    mirror.refresh()
    assert mirror.state.right == 4
    journal.rename(tmp_path / "aside")
    journal.write_bytes(answers("wwwwww"))
    while mirror.refresh():
        pass
    assert (mirror.state.right, mirror.state.wrong, mirror.state.done) == (0, 6, 6)


def test_a_damaged_copy_that_was_mended_is_shown_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    data = answers("rrrr")
    journal.write_bytes(data[:100] + b"#" + data[101:])
    mirror = RunMirror(tmp_path)
    mirror.refresh()
    assert "a damaged line" in mirror.damage
    journal.rename(tmp_path / "aside")
    journal.write_bytes(data)
    while mirror.refresh():
        pass
    assert (mirror.damage, mirror.state.right) == ("", 4)


def test_a_shorter_file_is_another_one(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(answers("rrrr"))
    mirror = RunMirror(tmp_path)
    mirror.refresh()
    journal.write_bytes(answers("w"))
    while mirror.refresh():
        pass
    assert (mirror.state.right, mirror.state.wrong) == (0, 1)
