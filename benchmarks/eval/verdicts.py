"""Parity on five tasks: the same prompts, texts, readings and verdicts as the peer's, sample by sample.

Both sides read the same rows. The peer's tasks are its own templates and filters over them; ours are the
package's tasks as they are. Nothing here is timed, so both sides compute at once.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.eval import peer_tasks
from benchmarks.eval.pairs import Pair, paired
from benchmarks.eval.scores import ENGINE, unavailable
from benchmarks.eval.sides import Record, data, our_answers, rows_of, theirs, write_rows
from benchmarks.generation import PEER
from benchmarks.rows import Line, Note, Row, Skipped
from remote_agent.protocol import GenerateSpec, TaskSpec
from remote_agent.registry import TASKS, load
from remote_agent.tasks.base import Task
from remote_agent.tasks.grading import regrade

SCORED_ROWS, WRITTEN_ROWS, TOKENS, SHOTS = 100, 32, 96, 2
LETTER_TOKENS = 8
QUICK = 10
"""Rows of each task for a quick look."""
SUBJECTS = ("abstract_algebra", "high_school_geography")
"""Of MMLU, half of the rows each."""
NAMED = 3
"""Samples that are named where the sides differ."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One task on both sides."""

    ours: TaskSpec
    peer: str
    """The peer's YAML."""
    tokens: int = 0
    """Most tokens of a written answer; 0: the choices are scored."""
    chat: bool = False
    rules: tuple[str, ...] = ()
    """Our rules that read as the peer's filters do, the headline first."""


def choices(quick: bool) -> Iterator[Line]:
    """Tasks whose choices are scored."""
    with _place("choices") as (folder, model):
        if isinstance(model, str):
            yield Skipped("choices", model)
            return
        tasks = dict(_scored(folder, QUICK if quick else SCORED_ROWS))
        long = {"aqua"}
        mine, peers = _computed(
            lambda: _peer(folder, model, {name: task for name, task in tasks.items() if name in long}),
            lambda: _ours(folder, model, tasks),
            lambda: _peer(folder, model, {name: task for name, task in tasks.items() if name not in long}),
        )
        for name in tasks:
            yield from _scored_rows(name, paired(mine[name], peers[name]))


def answers(quick: bool) -> Iterator[Line]:
    """Tasks whose answers are written, and read by the peer's filters."""
    with _place("answers") as (folder, model):
        if isinstance(model, str):
            yield Skipped("answers", model)
            return
        tasks = dict(_written(folder, QUICK if quick else WRITTEN_ROWS))
        mine, peers = _computed(
            lambda: _peer(folder, model, {name: task for name, task in tasks.items() if task.chat}),
            lambda: _ours(folder, model, tasks),
            lambda: _peer(folder, model, {name: task for name, task in tasks.items() if not task.chat}),
        )
        for name, task in tasks.items():
            yield from _written_rows(name, task, mine[name], peers[name])


Found = dict[str, list[Record]]


@contextlib.contextmanager
def _place(name: str) -> Iterator[tuple[Path, Path | str]]:
    """A folder to work in, and the model's; or why nothing can be compared."""
    with tempfile.TemporaryDirectory(prefix=f"gpusess-bench-{name}-") as folder:
        yield Path(folder), unavailable()


def _computed(
    first: Callable[[], Found], ours: Callable[[], Found], last: Callable[[], Found]
) -> tuple[Found, Found]:
    """Our results and the peer's samples by their tasks: two at once, each on a core of its own."""
    with ThreadPoolExecutor(2) as threads:
        begun, mine, ended = [threads.submit(work) for work in (first, ours, last)]
        return mine.result(), begun.result() | ended.result()


def _peer(folder: Path, model: Path, tasks: Mapping[str, Asked]) -> Found:
    chat = any(task.chat for task in tasks.values())
    batch = 16 if any(task.tokens for task in tasks.values()) else 8
    yaml = {name: task.peer for name, task in tasks.items()}
    return dict(theirs(folder / f"peer-{'-'.join(tasks)}", model, yaml, batch, template=chat).samples)


def _ours(folder: Path, model: Path, tasks: Mapping[str, Asked]) -> Found:
    asked = {
        name: (task.ours, GenerateSpec(max_tokens=task.tokens) if task.tokens else None)
        for name, task in tasks.items()
    }
    return our_answers(folder / "ours", model, asked, ENGINE)


# --- rows ----------------------------------------------------------------------------------------------


def _scored_rows(name: str, pairs: list[Pair]) -> Iterator[Line]:
    metrics = ("acc", "acc_norm")
    yield from _row(f"{name}, prompts and verdicts", pairs, lambda p: p.prompts and p.same(metrics))
    right = " and ".join(f"{sum(p.theirs[m] for p in pairs):.0f} by {m}" for m in metrics)
    yield Note(f"{name}: {right} right; largest difference {max(p.distance for p in pairs):.1e} nats")


def _written_rows(name: str, asked: Asked, results: list[Record], samples: list[Record]) -> Iterator[Line]:
    """Texts, and what the peer's filters and our rules of the same kind make of them."""
    filters = {rule: peer_tasks.FILTERS[rule] for rule in asked.rules}
    by_rule = {
        rule: paired(results, [s for s in samples if s["filter"] == name]) for rule, name in filters.items()
    }
    first = by_rule[asked.rules[0]]
    yield from _row(f"{name}, prompts and texts", first, lambda p: p.prompts and p.texts)
    for rule, pairs in by_rule.items():
        same = functools.partial(_read_alike, rule, headline=rule == asked.rules[0])
        yield from _row(f"{name}, by {filters[rule]}", pairs, same)
    peers = sum(p.theirs["exact_match"] for p in first)
    usual = asked.ours.model_copy(update={"extractors": []})
    own = sum(regrade(p.ours, usual).verdict == "right" for p in first)
    yield Note(
        f"{name}: {peers:.0f} of {len(first)} right by {filters[asked.rules[0]]}, {own} by our own rules"
    )


def _read_alike(rule: str, pair: Pair, *, headline: bool) -> bool:
    """The same was read; by the headline also judged alike."""
    read, given = pair.ours["readings"][rule], str(pair.theirs["filtered_resps"][0])
    if rule == "lm_eval_multi_choice":  # the peer names the letter, ours the text that it was read from
        alike = (read is None) == (given == "[invalid]")
    else:
        alike = given == ("[invalid]" if read is None else read)
    judged = (pair.ours["verdict"] == "right") == (pair.theirs["exact_match"] == 1.0)
    return alike and (judged or not headline)


def _row(name: str, pairs: list[Pair], same: Callable[[Pair], bool]) -> Iterator[Line]:
    others = [pair for pair in pairs if not same(pair)]
    count = len(pairs) - len(others)
    yield Row(name, count, len(pairs), "rows", "peer", PEER, more_is_better=True, digits=0)
    for pair in others[:NAMED]:
        yield Note(f"{name}: not {pair.ours['sample']}")


# --- tasks ---------------------------------------------------------------------------------------------


def _scored(folder: Path, count: int) -> Iterator[tuple[str, Asked]]:
    question = "Question: {{question}}\\nAnswer:"
    for name in ("arc_easy", "arc_challenge"):
        rows = _rows(f"arc/{name}.jsonl", count)
        peer = [{**row, "question": row["query"].removeprefix("Question: ")} for row in rows]
        yield name, _scored_task(folder, name, rows, peer, peer_tasks.scored(question, "choices", "gold"))
    mine, peer = _mmlu(count)
    yaml = peer_tasks.scored(
        f"{_lead()}{{{{question.strip()}}}}{peer_tasks.LETTERS}", "[A, B, C, D]", "answer"
    )
    yield "mmlu", _scored_task(folder, "mmlu", mine, peer, yaml)
    rows = _rows("aqua/test.json", count)
    yaml = peer_tasks.scored(question, "choices", "gold")
    yield "aqua", _scored_task(folder, "aqua", rows, _aqua_peer(rows), yaml)


def _scored_task(folder: Path, name: str, rows: list[Record], peer: list[Record], yaml: str) -> Asked:
    mine, other = _both(folder, name, rows, peer)
    spec = TaskSpec(name=name, path=str(mine), method="score", keep_prompts=True)
    return Asked(spec, peer_tasks.rows(other) + yaml)


def _written(folder: Path, count: int) -> Iterator[tuple[str, Asked]]:
    stops = ["Question:", "</s>", "<|im_end|>"]
    numbers = ("lm_eval_flexible", "lm_eval_strict")
    rows = _rows("gsm8k/test.jsonl", count)
    mine, other = _both(folder, "gsm8k", rows, rows)
    shots = write_rows(folder / "shots.jsonl", _rows("gsm8k/train.jsonl", SHOTS))
    yaml = peer_tasks.written(
        "Question: {{question}}\\nAnswer:", "{{answer}}", stops, TOKENS, peer_tasks.NUMBERS, list(numbers)
    )
    spec = _spec("gsm8k", mine, numbers, style="lm_eval", template="none", fewshot=SHOTS, examples=str(shots))
    yield "gsm8k", Asked(spec, peer_tasks.rows(other, (shots, SHOTS)) + yaml, TOKENS, rules=numbers)

    rows = _rows("svamp/SVAMP.json", count)
    yaml = peer_tasks.written("{{prompt}}", "{{answer}}", stops, TOKENS, peer_tasks.NUMBERS, list(numbers))
    yield "svamp", _chat_task(folder, "svamp", rows, [f"{r['Answer']:g}" for r in rows], yaml, numbers)

    rows = _rows("aqua/test.json", count)
    letters = ("lm_eval_multi_choice",)
    yaml = peer_tasks.written("{{prompt}}", "{{answer}}", stops, TOKENS, peer_tasks.BARE, list(letters))
    yield "aqua_written", _chat_task(folder, "aqua", rows, [f"({r['correct']})" for r in rows], yaml, letters)

    mine_rows, peer_rows = _mmlu(SCORED_ROWS if count > QUICK else QUICK)
    mine, other = _both(folder, "mmlu-written", mine_rows, peer_rows)
    first = ("lm_eval_first_line",)
    yaml = peer_tasks.written(
        f"{_lead()}{{{{question.strip()}}}}{peer_tasks.LETTERS}", "{{['A', 'B', 'C', 'D'][answer]}}",
        ["</s>", "\n"], LETTER_TOKENS, peer_tasks.BARE, list(first),
    )  # fmt: skip
    spec = _spec("mmlu", mine, first, style="letter", template="none", method="generate", stop=["</s>"])
    yield "mmlu_written", Asked(spec, peer_tasks.rows(other) + yaml, LETTER_TOKENS, rules=first)


def _spec(name: str, path: Path, rules: tuple[str, ...], **more: object) -> TaskSpec:
    fields = {"name": name, "path": str(path), "extractors": list(rules), "keep_prompts": True, **more}
    return TaskSpec.model_validate(fields)


def _chat_task(
    folder: Path, name: str, rows: list[Record], golds: list[str], yaml: str, rules: tuple[str, ...]
) -> Asked:
    """Our chat, whose last turn the peer sends as well: it has no such task of its own."""
    task: Task = load(TASKS[name])()
    spec = _spec(name, write_rows(folder / f"{name}-chat.jsonl", rows), rules, method="generate")
    samples = task.load(spec).samples
    peer = [
        {
            "prompt": task.messages(sample, spec)[-1]["content"],
            "answer": gold,
            "choices": list(sample.choices),
        }
        for sample, gold in zip(samples, golds, strict=True)
    ]
    other = write_rows(folder / f"{name}-chat-peer.jsonl", peer)
    return Asked(spec, peer_tasks.rows(other) + yaml, TOKENS, chat=True, rules=rules)


# --- data ----------------------------------------------------------------------------------------------


def _rows(name: str, count: int) -> list[Record]:
    """The first rows, without names of their own: samples are then named by their places."""
    path = data(name)
    assert path is not None
    rows = json.loads(path.read_text(encoding="utf-8")) if name.startswith("svamp") else rows_of(path)
    return [{key: value for key, value in row.items() if key.lower() != "id"} for row in rows[:count]]


def _both(folder: Path, name: str, rows: list[Record], peer: list[Record]) -> tuple[Path, Path]:
    """Both sides' rows as files."""
    return write_rows(folder / f"{name}.jsonl", rows), write_rows(folder / f"{name}-peer.jsonl", peer)


def _lead() -> str:
    return "The following are multiple choice questions (with answers) about {{subject}}.\\n\\n"


def _mmlu(count: int) -> tuple[list[Record], list[Record]]:
    """Our rows and the peer's: each subject's first ones."""
    mine, peer = list[Record](), list[Record]()
    for subject in SUBJECTS:
        path = data(f"mmlu/test/{subject}_test.csv")
        assert path is not None
        with path.open(encoding="utf-8", newline="") as file:
            rows = [dict(row) for row in csv.DictReader(file)][: count // len(SUBJECTS)]
        for row in rows:
            mine.append({**row, "subject": subject})
            choices = [row[f"choice{n}"] for n in range(4)]
            about = {"subject": subject.replace("_", " "), "answer": int(row["answer"])}
            peer.append({"question": row["question"], "choices": choices, **about})
    return mine, peer


def _aqua_peer(rows: list[Record]) -> list[Record]:
    return [
        {"question": r["question"], "choices": [o.partition(")")[2].strip() for o in r["options"]],
         "gold": "ABCDE".index(r["correct"])}
        for r in rows
    ]  # fmt: skip
