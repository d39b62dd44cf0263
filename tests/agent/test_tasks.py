"""Loading data: what ships is what is generated, bad rows are named, subsets are stable."""

from __future__ import annotations

import json
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from remote_agent import models
from remote_agent.protocol import TaskSpec
from remote_agent.tasks import generate_word_problems
from remote_agent.tasks.base import DataError
from remote_agent.tasks.gsm8k import Gsm8k
from remote_agent.tasks.svamp import Svamp
from remote_agent.tasks.word_problems import WordProblems


def test_the_shipped_problems_are_what_the_generator_makes() -> None:
    shipped = resources.files("remote_agent.tasks").joinpath("data", WordProblems.shipped).read_text()
    assert shipped == generate_word_problems.jsonl()


def test_the_problems_are_balanced_and_distinct() -> None:
    rows = list(generate_word_problems.rows())
    assert set(Counter(r["category"] for r in rows).values()) == {generate_word_problems.PER_CATEGORY}
    assert len({r["question"] for r in rows}) == len(rows) == 300
    assert all(int(r["answer"]) >= 0 for r in rows)


def test_limit_and_seed_choose_a_stable_subset() -> None:
    def ids(limit: int, seed: int) -> list[str]:
        return [
            s.id for s in WordProblems().load(TaskSpec(name="word_problems", limit=limit, seed=seed)).samples
        ]

    assert ids(20, 1) == ids(20, 1) != ids(20, 2)
    everything = ids(300, 0)
    assert [i for i in everything if i in set(ids(20, 1))] == ids(20, 1)


def gsm8k(tmp_path: Path, *lines: str) -> TaskSpec:
    path = tmp_path / "test.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    return TaskSpec(name="gsm8k", path=str(path))


def test_gsm8k_rows(tmp_path: Path) -> None:
    rows = [json.dumps({"question": "q?", "answer": f"so <<1+1=2>>2\n#### {n}"}) for n in ("1,000", "-5")]
    loaded = Gsm8k().load(gsm8k(tmp_path, *rows))
    assert [(s.id, s.gold) for s in loaded.samples] == [("test-0000", "1,000"), ("test-0001", "-5")]
    assert len(loaded.sha256) == 64
    assert Gsm8k().grade(loaded.samples[0], "#### 1000.", "stop", gsm8k(tmp_path)).verdict == "right"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{torn", "not JSON"),
        ('{"question": "q"}', "no text in `answer`"),
        ('{"question": " ", "answer": "#### 1"}', "no text in `question`"),
        ("[1]", "not a JSON object"),
        ('{"question": "q", "answer": "18"}', "no `####`"),
        ('{"question": "q", "answer": "#### many"}', "not one number"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, said: str) -> None:
    good = json.dumps({"question": "q", "answer": "#### 1"})
    with pytest.raises(DataError, match=r"test\.jsonl, line 2: .*") as caught:
        Gsm8k().load(gsm8k(tmp_path, good, line))
    assert said in str(caught.value)


def test_doubled_ids_and_no_rows_are_refused(tmp_path: Path) -> None:
    row = json.dumps({"id": "a", "question": "q", "answer": "#### 1"})
    with pytest.raises(DataError, match="the id a stands on several rows"):
        Gsm8k().load(gsm8k(tmp_path, row, row))
    with pytest.raises(DataError, match="no samples"):
        Gsm8k().load(gsm8k(tmp_path))


def test_gsm8k_without_a_path_or_a_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "hub_within_reach", lambda: False)
    with pytest.raises(DataError, match="Next: sync a file"):
        Gsm8k().load(TaskSpec(name="gsm8k"))


def test_a_system_prompt_comes_first() -> None:
    spec = TaskSpec(name="word_problems", limit=1, system="Be brief.")
    task = WordProblems()
    messages = task.messages(task.load(spec).samples[0], spec)
    assert messages[0] == {"role": "system", "content": "Be brief."}
    assert messages[-1]["content"].endswith(task.answer_format(spec).instruction)


@pytest.mark.parametrize(
    ("given", "gold"), [(145.0, "145"), ("145.0", "145"), (7, "7"), (0.5, "0.5"), (10.0, "10")]
)
def test_svamps_answers_are_written_as_people_write_them(tmp_path: Path, given: object, gold: str) -> None:
    """Its file has 145.0 for 145, which no rule that compares texts would take for the same."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"Body": "A.", "Question": "How many?", "Answer": given}) + "\n")
    spec = TaskSpec(name="svamp", path=str(path), extractors=["lm_eval_flexible"])
    task = Svamp()
    (sample,) = task.load(spec).samples
    assert sample.gold == gold
    assert task.grade(sample, f"so {gold}", "stop", spec).verdict == "right"
