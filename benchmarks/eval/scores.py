"""Parity: the same scores on HellaSwag, and the same verdicts on five more tasks, sample by sample.

Both sides read the same rows. The peer's tasks are its own templates, choices and filters over them; ours are
the package's tasks as they are.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.eval.sides import Ours, Record, Theirs, data, ours, peer_module, rows_of, theirs, write_rows
from benchmarks.generation import PEER, model_folder, peer_python
from benchmarks.rows import Line, Note, Row, Skipped
from remote_agent.protocol import EngineSpec, GenerateSpec, TaskSpec

ENGINE = EngineSpec(name="transformers", dtype="float32", batch_size="auto", threads=1)
LIMIT = 1e-4
"""Nats by which a log-likelihood may differ: the peer's own differ by 2.3e-5 between batch sizes."""
TIE = 1e-3
"""Nats within which two endings are as good as each other."""
HELLASWAG_ROWS, SCORED_ROWS, WRITTEN_ROWS, WRITTEN_TOKENS = 200, 60, 16, 96
_DATA = (
    "dataset_path: json\ndataset_kwargs: {{data_files: {{validation: {path}}}}}\n"
    "validation_split: validation\n"
)
_SCORED = (
    "output_type: multiple_choice\ndoc_to_text: {text}\ndoc_to_choice: {choices}\ndoc_to_target: {target}\n"
    "metric_list: [{{metric: acc}}, {{metric: acc_norm}}]\n"
)
_WRITTEN = """\
output_type: generate_until
doc_to_text: {text}
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["Question:", "</s>", "<|im_end|>"], do_sample: false, max_gen_toks: {tokens}}}
metric_list:
  - metric: exact_match
    ignore_case: true
    regexes_to_ignore: [",", "\\\\$", "(?s).*#### ", "\\\\.$"]
filter_list:
  - name: strict-match
    filter: [{{function: regex, regex_pattern: '#### (\\-?[0-9\\.\\,]+)'}}, {{function: take_first}}]
  - name: flexible-extract
    filter:
      - {{function: regex, group_select: -1, regex_pattern: '(-?[$0-9.,]{{2,}})|(-?[0-9]+)'}}
      - {{function: take_first}}
"""


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    names = ["hellaswag, largest difference", "hellaswag, cpu s, whole process", "verdicts"]
    model = model_folder()
    _, why = peer_python()
    if data("hellaswag") is None:
        why = why or "the shared data is not here: GPUSESS_SHARED names its folder"
    if isinstance(model, str) or why:
        yield from (Skipped(name, model if isinstance(model, str) else why) for name in names)
        return
    with tempfile.TemporaryDirectory(prefix="gpusess-bench-") as scratch:
        yield from _hellaswag(Path(scratch), model, 1 if quick else 2)
        yield from _verdicts(Path(scratch), model)


# --- HellaSwag -----------------------------------------------------------------------------------------


def _hellaswag(scratch: Path, model: Path, rounds: int) -> Iterator[Line]:
    rows = data("hellaswag/val_first200.jsonl")
    assert rows is not None
    task = {
        "hs": _DATA.format(path=rows)
        + _SCORED.format(text='"{{query}}"', choices="choices", target='"{{label}}"')
        + "process_docs: !function utils.process_docs\n"
    }
    utils = peer_module("hellaswag/utils.py")
    mine: list[Ours] = []
    peers: list[Theirs] = []
    for number in range(rounds):
        mine.append(ours(scratch / f"hs-{number}", model, TaskSpec(name="hellaswag", path=str(rows)), ENGINE))
        peers.append(theirs(scratch / f"hs-peer-{number}", model, task, batch=8, modules=[utils]))
    pairs = _paired(mine[0].results, peers[0].samples["hs"])
    worst = max(pair.distance for pair in pairs)
    yield Row("hellaswag, largest difference", worst * 1e6, LIMIT * 1e6, "µnat", digits=0)
    yield Row(
        "hellaswag, same argmax", sum(p.same_choice for p in pairs), len(pairs), "rows", "peer", PEER, True, 0
    )
    for metric in ("acc", "acc_norm"):
        same = sum(p.ours["metrics"][metric] == p.theirs[metric] for p in pairs)
        yield Row(f"hellaswag, same {metric}", same, len(pairs), "rows", "peer", PEER, True, 0)
    for name, side in (("request phase", "request"), ("whole process", "whole")):
        a, b = (median(_seconds(o, side) for o in runs) for runs in (mine, peers))
        yield Row(f"hellaswag, cpu s, {name}", a, b, "s", "peer", PEER, digits=1, times=2.0)
    means = {m: sum(p.ours["metrics"][m] for p in pairs) / len(pairs) for m in ("acc", "acc_norm")}
    yield Note(f"acc {means['acc']:.3f}, acc_norm {means['acc_norm']:.3f} of {len(pairs)} rows on both sides")
    yield Note(f"ours: {_costs(mine)}")
    yield Note(f"{PEER}: {_costs(peers)}")


def _seconds(side: Ours | Theirs, name: str) -> float:
    return side.request if name == "request" else side.whole.cpu


def _costs(runs: list[Ours] | list[Theirs]) -> str:
    pairs = ", ".join(f"{r.request:.1f} of {r.whole.cpu:.1f}" for r in runs)
    return f"{pairs} cpu s requesting of the whole; peak {max(r.whole.peak_mib for r in runs):.0f} MiB"


@dataclass(frozen=True, slots=True)
class Pair:
    """One sample on both sides."""

    ours: Record
    theirs: Record

    @property
    def scores(self) -> tuple[list[float], list[float]]:
        return [s["logprob"] for s in self.ours["scores"]], [float(r[0][0]) for r in self.theirs["resps"]]

    @property
    def distance(self) -> float:
        return max(abs(a - b) for a, b in zip(*self.scores, strict=True))

    @property
    def same_choice(self) -> bool:
        """The likeliest choice is the same, or ties with theirs."""
        mine, peers = self.scores
        return max(peers) - peers[mine.index(max(mine))] <= TIE


def _paired(results: list[Record], samples: list[Record]) -> list[Pair]:
    """Ours carry the row's number in their ids, so their order is that of the rows."""
    ordered = sorted(results, key=lambda r: r["sample"])
    assert len(ordered) == len(samples), "both sides answer the same rows"
    return [Pair(*pair) for pair in zip(ordered, samples, strict=True)]


# --- verdicts ------------------------------------------------------------------------------------------


def _verdicts(scratch: Path, model: Path) -> Iterator[Line]:
    scored = dict(_scored_tasks(scratch))
    written = _written_task(scratch, "gsm8k", '"Question: {{question}}\\nAnswer:"', _gsm8k_rows())
    peer = theirs(scratch / "peer", model, {n: yaml for n, (_, yaml) in (scored | written).items()}, batch=8)
    for name, (spec, _) in scored.items():
        found = ours(scratch / f"ours-{name}", model, spec, ENGINE)
        yield from _scored_rows(name, _paired(found.results, peer.samples[name]))
    (spec, _) = written["gsm8k"]
    yield from _written_rows("gsm8k", _written(scratch, model, spec), peer.samples["gsm8k"])
    chat = _written_task(scratch, "svamp", '"{{prompt}}"', _svamp_rows())
    peer = theirs(scratch / "peer-chat", model, {n: yaml for n, (_, yaml) in chat.items()}, 8, template=True)
    (spec, _) = chat["svamp"]
    yield from _written_rows("svamp", _written(scratch, model, spec), peer.samples["svamp"])


def _written(scratch: Path, model: Path, spec: TaskSpec) -> list[Record]:
    generate = GenerateSpec(max_tokens=WRITTEN_TOKENS)
    return ours(scratch / f"ours-{spec.name}", model, spec, ENGINE, generate).results


def _scored_rows(name: str, pairs: list[Pair]) -> Iterator[Line]:
    same = sum(all(p.ours["metrics"][m] == p.theirs[m] for m in ("acc", "acc_norm")) for p in pairs)
    yield Row(f"{name}, same verdicts", same, len(pairs), "rows", "peer", PEER, more_is_better=True, digits=0)
    worst = max(p.distance for p in pairs)
    right = sum(p.theirs["acc"] for p in pairs)
    yield Note(f"{name}: largest difference {worst:.1e} nats; {right:.0f} of {len(pairs)} right by acc")


def _written_rows(name: str, results: list[Record], samples: list[Record]) -> Iterator[Line]:
    """Readings and verdicts by the peer's own rules, and ours beside them."""
    strict, flexible = (
        [s for s in samples if s["filter"] == rule] for rule in ("strict-match", "flexible-extract")
    )
    pairs = _paired(results, flexible)
    texts = sum(p.ours["completion"] == p.theirs["resps"][0][0] for p in pairs)
    readings = sum(
        _reading(mine, "lm_eval_flexible") == loose["filtered_resps"][0]
        and _reading(mine, "lm_eval_strict") == tight["filtered_resps"][0]
        for mine, loose, tight in zip((p.ours for p in pairs), flexible, strict, strict=True)
    )
    verdicts = sum((p.ours["verdict"] == "right") == (p.theirs["exact_match"] == 1.0) for p in pairs)
    for what, count in (("texts", texts), ("readings", readings), ("verdicts", verdicts)):
        yield Row(
            f"{name}, same {what}", count, len(pairs), "rows", "peer", PEER, more_is_better=True, digits=0
        )
    right = sum(p.theirs["exact_match"] for p in pairs)
    yield Note(f"{name}: {right:.0f} of {len(pairs)} right by the peer's flexible rule")


def _reading(result: Record, rule: str) -> str:
    """What a rule read, in the peer's words."""
    found = result["readings"].get(rule)
    return "[invalid]" if found is None else str(found)


def _scored_tasks(scratch: Path) -> Iterator[tuple[str, tuple[TaskSpec, str]]]:
    """Name, and our spec and the peer's YAML, of each task that is scored."""
    arc, subjects, aqua = data("arc/arc_easy.jsonl"), data("mmlu/test"), data("aqua/test.json")
    assert arc is not None
    assert subjects is not None
    assert aqua is not None
    rows = rows_of(arc)[:SCORED_ROWS]
    asked = [{**row, "question": row["query"].removeprefix("Question: ")} for row in rows]
    question = '"Question: {{question}}\\nAnswer:"'
    yield _scored_task(scratch, "arc_easy", rows, asked, (question, "choices", "gold"))
    subject = sorted(subjects.glob("*.csv"))[0]
    with subject.open(encoding="utf-8", newline="") as file:
        table = [dict(row) for row in csv.DictReader(file)][:SCORED_ROWS]
    name = subject.stem.removesuffix("_test")
    mine = [{**row, "subject": name} for row in table]
    asked = [
        {
            "question": r["question"],
            "choices": [r[f"choice{n}"] for n in range(4)],
            "answer": int(r["answer"]),
        }
        for r in table
    ]
    lead = f"The following are multiple choice questions (with answers) about {name.replace('_', ' ')}.\\n\\n"
    letters = "".join(f"\\n{letter}. {{{{choices[{n}]}}}}" for n, letter in enumerate("ABCD"))
    text = f'"{lead}{{{{question.strip()}}}}{letters}\\nAnswer:"'
    yield _scored_task(scratch, "mmlu", mine, asked, (text, '["A", "B", "C", "D"]', "answer"))
    rows = rows_of(aqua)[:SCORED_ROWS]
    asked = [
        {"question": r["question"], "choices": [o.partition(")")[2].strip() for o in r["options"]],
         "gold": "ABCDE".index(r["correct"])}
        for r in rows
    ]  # fmt: skip
    yield _scored_task(scratch, "aqua", rows, asked, (question, "choices", "gold"))


def _scored_task(
    scratch: Path, name: str, rows: list[Record], asked: list[Record], fields: tuple[str, str, str]
) -> tuple[str, tuple[TaskSpec, str]]:
    """Write both sides' rows. fields: the peer's text, choices and target."""
    mine = write_rows(scratch / f"{name}.jsonl", rows)
    peer = write_rows(scratch / f"{name}-peer.jsonl", asked)
    text, choices, target = fields
    yaml = _DATA.format(path=peer) + _SCORED.format(text=text, choices=choices, target=target)
    return name, (TaskSpec(name=name, path=str(mine), method="score"), yaml)


def _gsm8k_rows() -> list[Record]:
    path = data("gsm8k/test.jsonl")
    assert path is not None
    return rows_of(path)[:WRITTEN_ROWS]


def _svamp_rows() -> list[Record]:
    from remote_agent.tasks.gsm8k import ASKED

    path = data("svamp/SVAMP.json")
    assert path is not None
    rows = json.loads(path.read_text(encoding="utf-8"))[:WRITTEN_ROWS]
    return [
        {**row, "answer": f"{row['Answer']:g}", "prompt": _svamp_prompt(row, ASKED.instruction)}
        for row in rows
    ]


def _svamp_prompt(row: Record, instruction: str) -> str:
    return f"{row['Body'].strip()} {row['Question'].strip()}\n\n{instruction}"


def _written_task(scratch: Path, name: str, text: str, rows: list[Record]) -> dict[str, tuple[TaskSpec, str]]:
    """Our spec and the peer's YAML of a task whose answers are written."""
    path = write_rows(scratch / f"{name}.jsonl", rows)
    yaml = _DATA.format(path=path) + _WRITTEN.format(text=text, tokens=WRITTEN_TOKENS)
    plain = {"style": "lm_eval", "fewshot": 0, "template": "none"} if name == "gsm8k" else {}
    # The headline is the peer's rule, so that the verdict is by it; our own rules read each answer as well.
    spec = TaskSpec(name=name, path=str(path), extractors=["lm_eval_flexible", "lm_eval_strict"], **plain)
    return {name: (spec, yaml)}
