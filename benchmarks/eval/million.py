"""A run of a million results at home: opened, reduced, compared with another of a million, and looked
through.

The records are made up, as long as those of real runs. The first look at a journal checks each line and
indexes it; what is measured is a later one. The first look stands beside it as a note.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.machine import run
from benchmarks.rows import Line, Note, Row
from remote_agent import protocol
from remote_agent.journal import encode

RESULTS = 1_000_000
SECONDS, MIB = 5.0, 500.0
"""For RESULTS in each of two runs, start-up included."""
BATCH = 16
WORDS = ["the", "number", "of", "eggs", "is", "then", "multiplied", "by", "their", "price", "every", "day"]

_COMPARE = """\
import sys
from pathlib import Path
from gpusess.analysis.compare import Side, compare
from gpusess.sessions.answers import read_runs
from gpusess.sessions.find_runs import RunPlace

runs = read_runs([RunPlace(Path(p).name, Path(p)) for p in sys.argv[1:]])
found = compare([Side(r.label, r.state, r.answers) for r in runs])
assert all(row.paired.n == runs[0].answers.total for row in found.against), found.warnings
"""

_LOOK = """\
import json, sys, time
from pathlib import Path
from gpusess.sessions.mirror import RunMirror
from gpusess.sessions.result_index import ResultIndex
from gpusess.sessions.result_view import ResultView

def timed(work):
    begin = time.process_time()
    work()
    return time.process_time() - begin

def opened():
    global view
    view = ResultView(ResultIndex(Path(sys.argv[1])))
    settle()
    page(0)

def settle():
    while view.work(0.008):
        pass

def page(first):
    for place in range(first, min(first + 40, view.shown)):
        row = view.row_at(place)
        view.row(row), view.index.record(row)

def filtered(words):
    view.filter(words)
    settle()
    page(0)

def folded():
    mirror = RunMirror(Path(sys.argv[1]))
    while mirror.refresh():
        pass
    assert mirror.state.done == view.index.rows

found = {"open": timed(opened)}
found["filter"] = timed(lambda: filtered("wrong cat:c2 tok>40 !got:7"))
found["text"] = timed(lambda: filtered('"per hour"'))
view.filter("")
pages = sorted(timed(lambda: page(at * 977 % (view.shown - 40))) for at in range(400))
found["page"] = pages[380]
found["fold"] = timed(folded)
print(json.dumps(found))
"""


def measure(_quick: bool) -> Iterator[Line]:
    """CPU seconds and memory of one process that reads both runs and compares them."""
    with tempfile.TemporaryDirectory(prefix="gpusess-million-") as name:
        folders = [Path(name) / side for side in ("first", "second")]
        for seed, folder in enumerate(folders):
            write_run(folder, RESULTS, seed)
        size = sum((folder / "journal.jsonl").stat().st_size for folder in folders)
        argv = [sys.executable, "-c", _COMPARE, *map(str, folders)]
        first, again, alone = run(argv), run(argv), run(argv[:-1])
        yield Row("1,000,000 results, opened and reduced", alone.cpu, SECONDS, "s cpu")
        yield Row("… compared with 1,000,000 others", again.cpu, SECONDS, "s cpu")
        yield Row("… peak memory", again.peak_mib, MIB, "MiB", digits=0)
        look = [sys.executable, "-c", _LOOK, argv[-1]]
        run(look)
        looked = run(look)
        found = json.loads(looked.output)
        yield Row("1,000,000 results opened to be looked through", found["open"], 0.3, "s cpu", digits=3)
        yield Row("… a filter of four words", found["filter"], 0.5, "s cpu", digits=3)
        yield Row("… a filter by a text in the completions", found["text"], 0.5, "s cpu", digits=3)
        yield Row("… page down, p95", 1000 * found["page"], 15.0, "ms cpu", digits=1)
        yield Row("… the run's state when the cockpit starts", found["fold"], 0.3, "s cpu", digits=3)
        yield Row("… peak memory", looked.peak_mib, MIB, "MiB", digits=0)
        yield Note(f"{size / 1e6:.0f} MB of journals; the first look took {first.cpu:.1f} s of cpu")


def write_run(folder: Path, results: int, seed: int) -> None:
    """A complete run in the journal's format, 60% of it right."""
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    planned = protocol.Planned(
        task="gsm8k", samples=results, candidates=1, total=results, plan_sha="s", data="made up", model="m",
        engine="recorded", dtype="none", headline="hashes",
    )  # fmt: skip
    texts = [" ".join(rng.choices(WORDS, k=40)) for _ in range(500)]
    with (folder / "journal.jsonl").open("wb") as file:
        file.write(encode(protocol.payload(planned), 0, 1.0))
        seq = 1
        for start in range(0, results, BATCH):
            keys = [[f"test-{i:07d}", 0] for i in range(start, min(start + BATCH, results))]
            file.write(encode({"kind": "begin", "keys": keys}, seq, 2.0 + start))
            seq += 1
            for sample, _ in keys:
                file.write(_result(str(sample), seq, rng, rng.choice(texts)))
                seq += 1


def _result(sample: str, seq: int, rng: random.Random, text: str) -> bytes:
    """One `result` line. Written by hand: a million of them through the models would take minutes."""
    gold = str(rng.randrange(1000))
    verdict = "right" if rng.random() < 0.6 else "wrong"
    record = {
        "v": 1, "seq": seq, "ts": 2.0 + seq, "kind": "result", "task": "gsm8k", "sample": sample,
        "candidate": 0, "category": f"c{seq % 4}", "verdict": verdict, "reason": "parsed",
        "extracted": gold, "rule": "hashes", "span": [10, 12], "disagree": False, "gold": "7",
        "completion": text,
        "prompt_sha": f"{zlib.crc32(sample.encode()):064x}", "tokens_in": 100, "tokens_out": 50,
        "finish": "stop", "seconds": 1.0, "method": "generate", "readings": {"hashes": gold, "boxed": None},
        "marks": [], "metrics": {}, "scores": [], "logprob": -12.5, "choices": [], "data": {}, "prompt": None,
    }  # fmt: skip
    body = msgspec.json.encode(record)[:-1]
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)
