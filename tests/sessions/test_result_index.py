"""The results index: equal to a plain fold over the records whatever they are and however it was cut, killed,
damaged or shared; and the filter language over it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusess.analysis import result_building, result_query
from gpusess.analysis.answers import Answers, SampleIndex
from gpusess.analysis.result_filter import parse
from gpusess.analysis.result_query import matching
from gpusess.errors import SessionError
from gpusess.sessions.index_file import FILE
from gpusess.sessions.result_export import export
from gpusess.sessions.result_index import ResultIndex
from gpusess.sessions.result_pairing import Pairing
from gpusess.sessions.result_view import ResultView
from remote_agent.journal import Record, decode, encode

TEXT = st.text(max_size=12) | st.sampled_from(
    ['"completion":"', "\\", "a\nb", "\x1b[31m", "‮", "per hour", "Per HOUR", "\ud83d", "null", "ab", "ö"]
)
SAMPLES = st.sampled_from(["q1", "q2", "q3", "a b", 'q"4', "q\\5", "ß"])


def result(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "result", "task": "t", "sample": "q1", "candidate": 0, "category": "", "verdict": "right",
        "reason": "parsed", "extracted": "1", "rule": "hashes", "span": None, "disagree": False, "gold": "1",
        "completion": "so 1", "prompt_sha": "p", "tokens_in": 1, "tokens_out": 1, "finish": "stop",
        "seconds": 0.1, "marks": [], "metrics": {}, "prompt": None, **changes,
    }  # fmt: skip


RESULTS = st.fixed_dictionaries({
    "sample": SAMPLES, "candidate": st.integers(0, 3), "category": st.sampled_from(["", "rates", "Rates 2"]),
    "verdict": st.sampled_from(["right", "wrong", "no_answer"]),
    "reason": st.sampled_from(["parsed", "truncated", "empty", "unparsed"]),
    "extracted": st.none() | TEXT, "rule": st.none() | st.just("boxed"), "disagree": st.booleans(),
    "gold": TEXT, "completion": TEXT, "prompt": st.none() | TEXT, "tokens_in": st.integers(0, 70_000),
    "tokens_out": st.integers(0, 1 << 40), "finish": st.sampled_from(["stop", "length"]),
    "marks": st.lists(st.sampled_from(["disagree", "odd"]), max_size=2),
    "metrics": st.dictionaries(st.sampled_from(["acc", "f1"]), st.floats(0, 1), max_size=2),
}).map(lambda changes: result(**changes))  # fmt: skip
FAILED = st.builds(
    lambda sample, error: {"kind": "failed", "task": "t", "sample": sample, "candidate": 0, "category": "", "error": error},
    SAMPLES, TEXT,
)  # fmt: skip
SCORED = st.builds(
    lambda sample, candidate, score: {
        "kind": "scored", "task": "t", "sample": sample, "candidate": candidate, "reranker": "r", "score": score,
    },
    SAMPLES, st.integers(0, 3), st.floats(-9, 9),
)  # fmt: skip
OTHERS = st.sampled_from([
    {"kind": "begin", "keys": [["q1", 0]]}, {"kind": "phase", "name": "evaluate", "detail": ""},
    {"kind": "of tomorrow", "sample": 7, "verdict": ["x"]},
])  # fmt: skip
RECORDS = st.lists(RESULTS | RESULTS | FAILED | SCORED | OTHERS, max_size=25)


def write(folder: Path, records: list[Any], first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "journal.jsonl").open("ab") as file:
        for seq, record in enumerate(records, first):
            file.write(encode(record, seq, float(seq)))
    return folder


def opened(folder: Path, budget: int = 8 << 20) -> ResultIndex:
    index = ResultIndex(folder)
    while index.refresh(budget):
        pass
    return index


def rows_of(index: ResultIndex) -> list[Record]:
    """What the columns say, row by row, as records."""
    found = []
    for frame in index.frames:
        columns = {name: frame.ints(name) for name in ("candidate", "tokens_in", "tokens_out", "kind")}
        texts = {name: frame.texts(name) for name in ("sample", "extracted", "gold")}
        for at in range(len(frame)):
            kind = frame.kinds[columns["kind"][at]]
            found.append({
                **{name: column[at] for name, column in columns.items() if name != "kind"},
                **{name: column[at] for name, column in texts.items()},
                "verdict": kind.verdict, "reason": kind.reason, "rule": kind.rule, "category": kind.category,
                "disagree": kind.disagree, "marks": list(kind.marks), "finish": kind.finish,
                "metrics": {
                    name: value for name in frame.metrics if (value := frame.floats(f"metric {name}")[at]) == value
                },
            })  # fmt: skip
    return found


def short(record: Record) -> Record:
    """The same of a record itself."""
    nothing = {"verdict": "failed", "reason": "", "rule": None, "disagree": False, "marks": [], "finish": "",
               "extracted": None, "gold": "", "tokens_in": 0, "tokens_out": 0, "metrics": {}}  # fmt: skip
    fields = ("sample", "candidate", "category", *nothing)
    return {name: record.get(name, nothing.get(name)) for name in fields} | (
        nothing if record["kind"] == "failed" else {}
    )


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.sampled_from([300, 2000, 1 << 20]), st.sampled_from([1, 700, 1 << 20]))
def test_the_index_says_what_the_records_say(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any], frame: int, budget: int
) -> None:
    folder = write(tmp_path_factory.mktemp("run"), records)
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    wanted = [r for r in map(decode, lines) if r["kind"] in ("result", "failed")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_building, "FRAME_BYTES", frame)
        for index in (opened(folder, budget), opened(folder)):  # made, and read back
            assert rows_of(index) == [short(record) for record in wanted]
            assert [index.record(row) for row in range(index.rows)] == wanted
            others = [r["kind"] for frame_ in index.frames for r in index.others_of(frame_)]
            known = ("result", "failed", "scored", "begin")
            assert others == [r["kind"] for r in map(decode, lines) if r["kind"] not in known]
            assert index.checksum_holds()
            check_answers(index, wanted, [r for r in map(decode, lines) if r["kind"] == "scored"])
            index.close()


def check_answers(index: ResultIndex, records: list[Record], scores: list[Record]) -> None:
    """The columns that numbers are made of, against counting the records."""
    answers = Answers(SampleIndex())
    answers.several = True
    for frame in index.frames:
        answers.take(frame)
    graded = [r for r in records if r["kind"] == "result"]
    assert (answers.total, answers.failed) == (len(graded), len(records) - len(graded))
    assert list(answers.order) == [r["verdict"] == "right" for r in graded]
    for name, at in answers.index.numbers.items():
        own = [r for r in graded if r["sample"] == name]
        assert answers.graded[at : at + 1].tolist() == [len(own)] or (not own and at >= len(answers.graded))
        assert answers.candidates.get(at, []) == [
            (r["candidate"], r["verdict"] == "right", r["extracted"]) for r in own
        ]
        for metric, column in answers.metrics.items():
            values = [r["metrics"][metric] for r in own if metric in r["metrics"]]
            if values:
                assert column[at] == pytest.approx(sum(values) / len(values))
    assert answers.tokens_out == sum(r["tokens_out"] for r in graded)
    found = {(name, c): s for name, at in answers.index.numbers.items()
             for (n, c), s in answers.scores.get("r", {}).items() if n == at}  # fmt: skip
    assert found == {(r["sample"], r["candidate"]): r["score"] for r in scores}


def passes(record: Record, number: int, words: str) -> bool:
    """What a few filters mean, in plain words."""
    text = [record["sample"], record.get("completion", record.get("error", "")), record.get("prompt") or ""]
    meaning = {
        "wrong": record.get("verdict") == "wrong",
        "no-answer": record.get("verdict") == "no_answer",
        "truncated": record.get("reason") == "truncated",
        "failed": record["kind"] == "failed",
        "disagree": bool(record.get("disagree")),
        "tok>400": record.get("tokens_out", 0) > 400,
        "cat:rates": "rates" in record["category"].lower(),
        "cat=rates": record["category"].lower() == "rates",
        "row<=3": number < 3,
        "f1<0.5": record.get("metrics", {}).get("f1", 1.0) < 0.5,
        '"per hour"': any("per hour" in ascii_lower(t) for t in text),
        'text="per hour"': any(ascii_lower(t) == "per hour" for t in text),
        '"\\"': any("\\" in t for t in text),
        "ö": any("ö" in t for t in text),
    }
    return meaning[words]


def ascii_lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


WORDS = ["wrong", "no-answer", "truncated", "failed", "disagree", "tok>400", "cat:rates", "cat=rates", "row<=3",
         "f1<0.5", '"per hour"', 'text="per hour"', '"\\"', "ö"]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    RECORDS,
    st.lists(st.tuples(st.sampled_from(WORDS), st.booleans()), min_size=1, max_size=3),
    st.sampled_from([500, 1 << 20]),
    st.sampled_from([1, 3, 256]),
)
def test_a_filter_lets_through_what_it_says(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[Any],
    words: list[tuple[str, bool]],
    frame: int,
    at_once: int,
) -> None:
    folder = write(tmp_path_factory.mktemp("run"), records)
    terms = parse(" ".join(f"{'!' * turned}{word}" for word, turned in words), metrics=["f1"])
    found = array("I")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_building, "FRAME_BYTES", frame)
        patch.setattr(result_query, "_PIECE", at_once)
        index = opened(folder)
        for piece in index.frames:
            found.extend(matching(terms, piece, index.read))
    whole = [index.record(row) for row in range(index.rows)]
    wanted = [
        i
        for i, record in enumerate(whole)
        if all(passes(record, i, word) != turned for word, turned in words)
    ]
    assert list(found) == wanted
    view = ResultView(opened(folder))
    view.filter(" ".join(f"{'!' * turned}{word}" for word, turned in words).replace("f1", "tok"))
    view.filter("")
    assert view.shown == len(whole)


# --- growing, damaged, shared, killed -------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_building, "FRAME_BYTES", 2000)


@pytest.mark.usefixtures("small")
def test_rows_are_appended_while_the_mirror_grows(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", [result(sample=f"s{i}") for i in range(7)])
    view = ResultView(opened(folder))
    view.filter("wrong")
    while view.work(0.01):
        pass
    assert view.shown == 0
    for i in range(7, 40):
        line = encode(result(sample=f"s{i}", verdict="wrong" if i % 2 else "right"), i, float(i))
        with (folder / "journal.jsonl").open("ab") as file:
            file.write(line[:50])
        view.work(0.01)
        with (folder / "journal.jsonl").open("ab") as file:
            file.write(line[50:])
        while view.work(0.01):
            pass
    assert [view.row(view.row_at(i)).sample for i in range(view.shown)] == [f"s{i}" for i in range(7, 40, 2)]
    assert (view.count("right"), view.count("wrong")) == (23, 17)
    assert rows_of(view.index) == rows_of(opened(folder))


@pytest.mark.usefixtures("small")
def test_a_copy_that_was_fetched_anew_is_read_anew(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", [result(sample=f"old{i}") for i in range(20)])
    view = ResultView(opened(folder))
    while view.work(0.01):
        pass
    (folder / "journal.jsonl").rename(folder / "aside")
    write(folder, [result(sample=f"new{i}") for i in range(12)])
    while view.work(0.01):
        pass
    assert [row["sample"] for row in rows_of(view.index)] == [f"new{i}" for i in range(12)]
    assert view.count("right") == 12
    assert [row["sample"] for row in rows_of(opened(folder))][:2] == ["new0", "new1"]


@pytest.mark.usefixtures("small")
def test_rows_go_as_far_as_the_damage(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", [result(sample=f"s{i}") for i in range(30)])
    journal = folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[17] = lines[17].replace(b'"right"', b'"wrong"')
    journal.write_bytes(b"".join(lines))
    for index in (opened(folder), opened(folder)):
        assert index.rows == 17
        assert "line 18: checksum does not match" in index.damage


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("cut", [1, 20, 500, -1, -400])
def test_half_an_index_is_made_whole(tmp_path: Path, cut: int) -> None:
    folder = write(tmp_path / "r", [result(sample=f"s{i}") for i in range(60)])
    whole = rows_of(opened(folder))
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[:cut])
    index = opened(folder)
    assert rows_of(index) == whole
    index.close()
    opened(folder).close()
    assert (folder / FILE).read_bytes() == content


@pytest.mark.usefixtures("small")
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_changed_byte_in_the_index_changes_no_row(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = write(tmp_path_factory.mktemp("run"), [result(sample=f"s{i}") for i in range(25)])
    whole = rows_of(opened(folder))
    content = bytearray((folder / FILE).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / FILE).write_bytes(content)
    assert rows_of(opened(folder)) == whole


@pytest.mark.usefixtures("small")
def test_an_index_of_another_journal_is_thrown_away(tmp_path: Path) -> None:
    one = write(tmp_path / "a", [result(sample=f"a{i}") for i in range(30)])
    two = write(tmp_path / "b", [result(sample=f"b{i}") for i in range(30)])
    opened(one).close()
    (one / FILE).rename(two / FILE)
    assert rows_of(opened(two))[0]["sample"] == "b0"
    assert rows_of(opened(two))[0]["sample"] == "b0"


@pytest.mark.usefixtures("small")
def test_two_may_build_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", [result(sample=f"s{i}") for i in range(60)])
    alone = write(tmp_path / "alone", [result(sample=f"s{i}") for i in range(60)])
    opened(alone).close()
    first, second = ResultIndex(folder), ResultIndex(folder)
    while first.refresh(1) | second.refresh(1):
        pass
    assert rows_of(first) == rows_of(second)
    opened(folder).close()
    assert (folder / FILE).read_bytes() == (alone / FILE).read_bytes()


@pytest.mark.usefixtures("small")
def test_without_a_place_to_write_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "r", [result(sample=f"s{i}") for i in range(30)])
    real = os.open

    def refuse(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(30, "Read-only file system", path)
        return real(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert opened(folder).rows == 30
    assert sorted(p.name for p in folder.iterdir()) == ["journal.jsonl"]


_BUILD = """\
import sys
from pathlib import Path
from gpusess.analysis import result_building, result_query
result_building.FRAME_BYTES = 20_000
from gpusess.sessions.result_index import ResultIndex
print("begin", flush=True)
ResultIndex(Path(sys.argv[1])).read_all()
print("end", flush=True)
"""


def test_builders_that_are_killed_leave_nothing_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_building, "FRAME_BYTES", 20_000)
    folder = write(tmp_path / "r", [result(sample=f"s{i}", completion="x" * 200) for i in range(6000)])
    wanted = Counter(sample=6000)
    for pause in (0.0, 0.01, 0.03, 0.06):
        with subprocess.Popen([sys.executable, "-c", _BUILD, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
            process.wait()
    index = opened(folder)
    assert index.rows == wanted["sample"]
    assert [row["sample"] for row in rows_of(index)] == [f"s{i}" for i in range(6000)]
    assert not index.damage


# --- another run, and export ----------------------------------------------------------------------------


def test_flips_are_those_of_the_paired_figures(tmp_path: Path) -> None:
    rights = ["right", "right", "wrong", "no_answer", "wrong", "right"]
    theirs = ["right", "wrong", "right", "right", "wrong"]
    mine = opened(write(tmp_path / "a", [result(sample=f"s{i}", verdict=v) for i, v in enumerate(rights)]))
    other = opened(
        write(
            tmp_path / "b", [result(sample=f"s{i}", verdict=v) for i, v in reversed(list(enumerate(theirs)))]
        )
    )
    view = ResultView(mine)
    view.pair(Pairing("b", mine.frames, other, 1))
    shown = {}
    for word in ("flipped", "lost", "gained", "same", "alone"):
        view.filter(word)
        while view.work(0.01):
            pass
        shown[word] = [view.row(view.row_at(i)).sample for i in range(view.shown)]
    assert shown == {
        "flipped": ["s1", "s2", "s3"], "lost": ["s2", "s3"], "gained": ["s1"], "same": ["s0", "s4"],
        "alone": ["s5"],
    }  # fmt: skip
    paired = view.pairing.paired if view.pairing else None
    assert paired is not None
    assert (paired.n, paired.gained, paired.lost) == (5, 1, 2)


def test_a_sample_is_found_by_name_and_candidate(tmp_path: Path) -> None:
    index = opened(
        write(tmp_path / "r", [result(sample=s, candidate=c) for s in ("a", 'q"', "a b") for c in (0, 1)])
    )
    assert [index.find(s, c) for s, c in (("a", 1), ('q"', 0), ("a b", 1), ("b", 0), ("a", 2))] == [
        1,
        2,
        5,
        None,
        None,
    ]


def test_export_writes_the_lines_and_overwrites_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", [result(sample=f"s{i}") for i in range(5)])
    lines = (folder / "journal.jsonl").read_bytes().splitlines()
    target = tmp_path / "out.jsonl"
    assert export(folder, target, [1, 3]) == 2
    assert target.read_bytes().splitlines() == [lines[1], lines[3]]
    assert json.loads(target.read_text().splitlines()[0])["sample"] == "s1"
    with pytest.raises(SessionError, match="exists"):
        export(folder, target)
    assert len(target.read_bytes().splitlines()) == 2
    with pytest.raises(SessionError, match="No such file"):
        export(folder, tmp_path / "none" / "out.jsonl")
