"""From files, folders and the hub to rows that know their place."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent import models
from remote_agent.protocol import TaskSpec
from remote_agent.registry import TASKS, load
from remote_agent.tasks import data
from remote_agent.tasks.base import DataError
from remote_agent.tasks.data import Hub, Row

ROWS = [{"question": "a, b?", "answer": "1"}, {"question": 'say "x"\nagain', "answer": "2"}]


def values(path: Path, split: str | None = None) -> list[dict[str, object]]:
    return [row.values for row in data.read(str(path), split).rows]


def test_the_same_rows_in_every_form(tmp_path: Path) -> None:
    lines = tmp_path / "a.jsonl"
    lines.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    named_json = tmp_path / "lines.json"
    named_json.write_text(lines.read_text())
    array = tmp_path / "a.json"
    array.write_text("\ufeff" + json.dumps(ROWS, indent=2))
    for name, mark in (("a.csv", ","), ("a.tsv", "\t")):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["question", "answer"], delimiter=mark)
        writer.writeheader()
        writer.writerows(ROWS)
        (tmp_path / name).write_text(text.getvalue(), newline="")
    for name in ("a.jsonl", "lines.json", "a.json", "a.csv", "a.tsv"):
        assert values(tmp_path / name) == ROWS, name


def test_places_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('q,a\n"two\nlines",1\nx,2\n')
    assert [row.place.rpartition(", ")[2] for row in data.read(str(path)).rows] == ["line 3", "line 4"]
    path = tmp_path / "a.json"
    path.write_text("[{}, {}]")
    assert [row.place.rpartition(", ")[2] for row in data.read(str(path)).rows] == ["item 1", "item 2"]


def test_a_folder_is_its_files_in_order_or_those_of_its_split(tmp_path: Path) -> None:
    for place, text in {
        "b.jsonl": '{"n": 3}',
        "a.csv": "n\n1\n2\n",
        "notes.txt": "no",
        "test/t.json": '[{"n": 9}]',
    }.items():
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)
    found = data.read(str(tmp_path))
    assert [(r.file, r.index, r.number) for r in found.rows] == [
        ("a", 0, 1),
        ("a", 1, 2),
        ("b", 0, 3),
        ("t", 0, 4),
    ]
    assert values(tmp_path, "test") == [{"n": 9}]
    before = found.sha256
    (tmp_path / "b.jsonl").rename(tmp_path / "c.jsonl")
    assert data.read(str(tmp_path)).sha256 != before
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no file that ends in \.jsonl, \.json, \.csv, \.tsv"):
        data.read(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "a.jsonl, line 2: bytes that are not UTF-8"),
        ("a.jsonl", b"\n[]\n", "a.jsonl, line 2: not a JSON object"),
        ("a.jsonl", b'{"a": ' * 100_000, "a.jsonl, line 1: not JSON"),
        ("a.json", b"[{}, 3]", "a.json, item 2: not a JSON object"),
        ("a.json", b"[" * 100_000, "a.json: not JSON"),
        ("a.csv", b"a,b\n1\n", "a.csv, line 2: not as many fields as the header has"),
        ("a.csv", b"a,b\n1,2,3\n", "a.csv, line 2: not as many fields"),
        ("a.csv", b"a,b\n" + b"x" * 200_000 + b",1\n", "not CSV (field larger than field limit"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        data.read(str(tmp_path / name))
    assert said in str(caught.value)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"gone\.jsonl cannot be read: No such file.*Sync it, or correct `task\.path`"
    ):
        data.read(str(tmp_path / "gone.jsonl"))


@given(st.binary(max_size=60), st.sampled_from(["x.jsonl", "x.json", "x.csv", "x.tsv"]))
def test_no_bytes_raise_anything_else(content: bytes, name: str) -> None:
    with contextlib.suppress(DataError):
        assert all(isinstance(row, dict) for _, row in data.parse(content, name))


def test_fields_and_fields_within_fields() -> None:
    row = Row("f, line 1", 1, "f", 0, {"a": {"b": ["x", "y"]}, "n": 3, "c.d": "dot", "t": True, "e": " "})
    assert (row.texts("a.b"), row.text("n"), row.text("c.d")) == (("x", "y"), "3", "dot")
    assert row.get("a.z") is None
    for call, said in [
        (
            lambda: row.text("t"),
            "f, line 1: no text in `t`. Each row needs one; this one has a, n, c.d, t, e.",
        ),
        (lambda: row.text("e"), "no text in `e`"),
        (lambda: row.text("a"), "no text in `a`"),
        (lambda: row.texts("n"), "no list of texts in `n`"),
        (lambda: row.number_in("c.d"), "the answer 'dot' is not one number"),
    ]:
        with pytest.raises(DataError) as caught:
            call()
        assert said in str(caught.value)


# --- the hub, with the library's place taken -------------------------------------------------------------


class FakeHub(types.ModuleType):
    """`datasets` as far as it is used."""

    def __init__(self, rows: list[dict[str, object]] | Exception) -> None:
        super().__init__("datasets")
        self.rows, self.asked = rows, list[tuple[object, ...]]()

    def load_dataset(self, name: str, config: str | None, *, split: str) -> list[dict[str, object]]:
        self.asked.append((name, config, split))
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub([{"question": "1+1?", "answer": "so\n#### 2"}])
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.setattr(models, "hub_within_reach", lambda: True)
    return fake


def test_a_hubs_rows(hub: FakeHub) -> None:
    loaded = load(TASKS["gsm8k"])().load(TaskSpec(name="gsm8k"))
    assert hub.asked == [("openai/gsm8k", "main", "test")]
    assert (loaded.source, loaded.samples[0].id, loaded.samples[0].gold) == (
        "openai/gsm8k (test)",
        "test-0000",
        "2",
    )
    hub.rows = [{}]
    with pytest.raises(DataError, match=r"^openai/gsm8k \(train\), row 1: no text in `question`"):
        load(TASKS["gsm8k"])().load(TaskSpec(name="gsm8k", split="train"))


HUB_ROWS = {
    "arc_easy": {
        "id": "M",
        "question": "q",
        "choices": {"text": ["a", "b"], "label": ["A", "B"]},
        "answerKey": "B",
    },
    "hellaswag": {"activity_label": "x", "ctx_a": "y", "ctx_b": "", "endings": ["a", "b"], "label": "1"},
    "mmlu": {"question": "q", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": 1},
    "aqua": {"question": "q", "options": ["A)1", "B)2"], "rationale": "r", "correct": "B"},
    "mathqa": {"Problem": "q", "options": "a ) 1 , b ) 2 , c ) 3 , d ) 4 , e ) 5", "correct": "b"},
    "svamp": {"ID": "chal-1", "Body": "x", "Question": "q?", "Answer": "4.0", "Type": "Addition"},
}


@pytest.mark.parametrize("name", HUB_ROWS)
def test_the_hubs_form_of_each_data_set(hub: FakeHub, name: str) -> None:
    hub.rows = [HUB_ROWS[name]]
    loaded = load(TASKS[name])().load(TaskSpec(name=name))
    assert loaded.samples[0].gold in ("B", "4")
    assert isinstance(load(TASKS[name]).hub, Hub)


def test_why_the_hub_cannot_be_had(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.rows = ValueError("gated\nlong story")
    with pytest.raises(DataError, match=r"openai/gsm8k could not be fetched: gated\. Next: sync a file"):
        load(TASKS["gsm8k"])().load(TaskSpec(name="gsm8k"))
    monkeypatch.setattr(models, "hub_within_reach", lambda: False)
    with pytest.raises(DataError, match="the hub is out of its reach"):
        load(TASKS["gsm8k"])().load(TaskSpec(name="gsm8k"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs `task\.path`, or the package datasets to fetch openai/gsm8k"):
        load(TASKS["gsm8k"])().load(TaskSpec(name="gsm8k"))
    with pytest.raises(DataError, match="The task continuation brings no data"):
        load(TASKS["continuation"])().load(TaskSpec(name="continuation"))
