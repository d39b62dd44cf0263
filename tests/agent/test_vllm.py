"""The vllm engine: its bookkeeping over a stand-in for vLLM, and, where vLLM is at hand, vLLM itself.

GPUSESS_VLLM_PYTHON names an interpreter that has vLLM, if this one has not.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from remote_agent.engines.base import Completion, EngineBroken, Failure, Prompt, Score, ScoreRequest
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, TaskSpec

from .conftest import REPOSITORY, Run

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
OTHER = os.environ.get("GPUSESS_VLLM_PYTHON")
PYTHON = OTHER or (sys.executable if importlib.util.find_spec("vllm") else None)
needs_vllm = pytest.mark.skipif(PYTHON is None, reason="no vLLM here, and GPUSESS_VLLM_PYTHON names none")


def order(name: str = "vllm", **generate: Any) -> Order:
    return Order(
        run="r", name="r", model=MODEL, model_id="smol", task=TaskSpec(name="word_problems"),
        engine=EngineSpec(name=name, dtype="float32", threads=1, max_model_len=1024, concurrency=4),
        generate=GenerateSpec(**{"max_tokens": 8, **generate}),
    )  # fmt: skip


# --- over a stand-in -----------------------------------------------------------------------------------


@dataclass
class Logprob:
    logprob: float
    rank: int = 1


@dataclass
class Drawn:
    text: str = "yes"
    token_ids: tuple[int, ...] = (5, 6, 2)
    finish_reason: str = "stop"
    stop_reason: str | int | None = None
    cumulative_logprob: float | None = -1.25
    logprobs: list[dict[int, Logprob]] | None = None


@dataclass
class Output:
    request_id: str
    prompt_token_ids: list[int]
    outputs: list[Drawn]
    prompt_logprobs: list[Any] | None = None
    finished: bool = True


@dataclass
class FakeVllm:
    """Answers each request in the step after it came, the latest first."""

    waiting: list[tuple[str, list[int], dict[str, Any]]] = field(default_factory=list)
    seen: list[tuple[str, list[int], dict[str, Any]]] = field(default_factory=list)
    drawn: Drawn = field(default_factory=Drawn)
    steps: int = 0

    def SamplingParams(self, **params: Any) -> dict[str, Any]:
        return params

    def add_request(
        self, name: str, prompt: dict[str, list[int]], params: dict[str, Any], lora_request: None
    ) -> None:
        self.waiting.append((name, prompt["prompt_token_ids"], params))
        self.seen.append(self.waiting[-1])

    def step(self) -> list[Output]:
        self.steps += 1
        if self.steps % 2:
            return []
        if not self.waiting:
            raise RuntimeError("EngineCore died")
        name, ids, params = self.waiting.pop()
        if "logprob_token_ids" in params:
            likely = {token: Logprob(-float(token % 7)) for token in params["logprob_token_ids"]}
            return [
                Output(name, ids, [Drawn(token_ids=(params["logprob_token_ids"][0],), logprobs=[likely])])
            ]
        places = [{token: Logprob(-0.5, rank=1 + at % 2)} for at, token in enumerate(ids)]
        return [Output(name, ids, [self.drawn], [None, *places[1:]])]


@pytest.fixture(scope="module")
def prepared() -> Any:
    from remote_agent.engines.vllm import VllmEngine

    engine = VllmEngine(order())
    engine.prepare()
    return engine


@pytest.fixture
def fake(prepared: Any) -> tuple[Any, FakeVllm]:
    world = FakeVllm()
    prepared._vllm = prepared._engine = world
    prepared._final, prepared._tickets, prepared._under_way = "final", 0, {}
    return prepared, world


@pytest.mark.model
def test_requests_are_answered_by_their_tickets(fake: tuple[Any, FakeVllm]) -> None:
    engine, world = fake
    assert engine.slots == 5
    assert engine.context_window == 1024
    for ticket in (3, 1):
        engine.submit(ticket, Prompt("<|im_start|>user", seed=2**62, stop=("\n",)))
    assert engine.finished() == [(1, Completion("yes", 2, 2, "stop", -1.25))]
    assert engine.finished()[0][0] == 3
    name, ids, params = world.seen[0]
    assert (name, ids[0]) == ("3", engine.tokenizer.convert_tokens_to_ids("<|im_start|>"))
    assert (params["seed"], params["stop"]) == (2**62, ["\n"])
    # A batch in between takes numbers of its own.
    batch = engine.generate([Prompt("a"), Prompt("b")])
    assert [c.text for c in batch] == ["yes", "yes"]
    assert [name for name, *_ in world.seen[2:]] == ["4", "5"]


@pytest.mark.model
def test_tokens_out_leave_the_end_token_out_and_aborted_requests_fail(fake: tuple[Any, FakeVllm]) -> None:
    engine, world = fake
    cases = [("length", None, 3), ("stop", None, 2), ("stop", 2, 2), ("stop", "\n", 3)]
    for finish, reason, tokens in cases:
        world.drawn = Drawn(finish_reason=finish, stop_reason=reason)
        (answer,) = engine.generate([Prompt("a")])
        assert (answer.finish, answer.tokens_out) == (finish, tokens)
    world.drawn = Drawn(finish_reason="abort")
    engine.submit(99, Prompt("a"))
    ((_, failure),) = engine.finished()
    assert isinstance(failure, Failure)


@pytest.mark.model
def test_one_token_answers_share_one_request_and_longer_ones_have_their_own(
    fake: tuple[Any, FakeVllm],
) -> None:
    engine, world = fake
    ids = [engine.tokens([f" {letter}"])[0][0] for letter in "AB"]
    (letters,) = engine.score([ScoreRequest("s", "Answer:", (" A", " B"))])
    assert len(world.seen) == 1
    assert letters == [Score(-float(token % 7), 1, token == min(ids)) for token in ids]
    (texts,) = engine.score([ScoreRequest("s", "Answer:", (" A", " a longer one"))])
    assert [name for name, *_ in world.seen[1:]] == ["1.1", "1.2"]
    assert texts[0] == Score(-0.5, 1, texts[0].greedy)
    assert (texts[1].tokens, texts[1].logprob) == (3, -1.5)
    assert not texts[1].greedy


@pytest.mark.model
def test_a_dead_vllm_ends_the_worker(fake: tuple[Any, FakeVllm]) -> None:
    engine, _ = fake
    with pytest.raises(EngineBroken, match="EngineCore died"):
        engine.finished()


GUARDED = """
import os, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from remote_agent.engines.guard import end_children_with_me
end_children_with_me()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_no_child_outlives_a_killed_worker() -> None:
    argv = [sys.executable, "-c", GUARDED, str(REPOSITORY)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        child = int(worker.stdout.readline())
        assert alive(child)
        worker.kill()
    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(child)


# --- vLLM itself ---------------------------------------------------------------------------------------

ASK = """
import json, sys
from remote_agent.engines import environment
from remote_agent.engines.base import Prompt, ScoreRequest
from remote_agent.protocol import Order
from remote_agent.registry import ENGINES, load

def main():
    asked = json.loads(sys.stdin.read())
    order = Order.model_validate(asked["order"])
    environment.settle(order)
    engine = load(ENGINES[order.engine.name])(order)
    engine.prepare()
    engine.load()
    prompts = [Prompt(text, seed) for seed, text in enumerate(asked["prompts"])]
    requests = [ScoreRequest("s", context, tuple(given)) for context, given in asked["scored"]]
    said = engine.generate(prompts)
    sampled = []
    if order.engine.name == "vllm":
        order.generate.temperature = 0.8
        sampled = [[c.text for c in engine.generate(part)] for part in (prompts, prompts[1:2])]
    answers = [[c.text, c.tokens_in, c.tokens_out, c.finish, c.logprob] for c in said]
    scores = [[[s.logprob, s.tokens, s.greedy] for s in row] for row in engine.score(requests)]
    print("FOUND" + json.dumps({"answers": answers, "scores": scores, "sampled": sampled, "dtype": engine.describe().dtype}))
    engine.close()

if __name__ == "__main__":
    main()
"""


def ask(python: str, name: str, tmp_path: Path) -> dict[str, Any]:
    script = tmp_path / "ask.py"
    script.write_text(ASK)
    prompts = [
        f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        for question in ("What is 2+3?", "Name a fruit.", "Which are the colours of the rainbow? Name all.")
    ]
    scored = [
        ["The capital of France is", [" Paris.", " a town called Lyon."]],
        ["Question: What do bees make?\nAnswer:", [" A", " B"]],
    ]
    question = {
        "order": order(name, max_tokens=24).model_dump(mode="json"),
        "prompts": prompts,
        "scored": scored,
    }
    done = subprocess.run(
        [python, str(script)], input=json.dumps(question), capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}, timeout=400,
    )  # fmt: skip
    found = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    assert found, done.stdout[-2000:] + done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(found[0].removeprefix("FOUND"))
    return answer


@needs_vllm
@pytest.mark.slow
@pytest.mark.model
def test_vllm_answers_and_scores_as_transformers_does(tmp_path: Path) -> None:
    theirs, ours = ask(str(PYTHON), "vllm", tmp_path), ask(sys.executable, "transformers", tmp_path)
    assert [row[:4] for row in theirs["answers"]] == [row[:4] for row in ours["answers"]]
    for a, b in zip(theirs["answers"], ours["answers"], strict=True):
        assert a[4] == pytest.approx(b[4], abs=1e-2)
    for row, other in zip(theirs["scores"], ours["scores"], strict=True):
        assert [s[1:] for s in row] == [s[1:] for s in other]
        assert [s[0] for s in row] == pytest.approx([s[0] for s in other], abs=1e-3)
    together, alone = theirs["sampled"]
    assert together[1] == alone[0]
    assert together != [row[0] for row in theirs["answers"]]
    assert theirs["dtype"] == "float32"


@needs_vllm
@pytest.mark.slow
@pytest.mark.model
def test_vllm_killed_in_the_middle_loses_nothing_and_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    made = order(max_tokens=48)
    made.task.limit = 16
    run = Run(folder, made)
    run.save()

    def start(*args: str) -> subprocess.Popen[bytes]:
        argv = [str(PYTHON), "-m", "remote_agent", "work", str(folder), *args]
        return subprocess.Popen(argv, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"})

    worker = start()
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and len(run.keys() if run.journal.exists() else []) < 3:
        time.sleep(0.2)
    group = [
        int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _group(int(p.name)) == worker.pid
    ]
    assert len(group) > 1, "vLLM has processes of its own"
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    done = run.keys()
    assert 3 <= len(done) < 16
    while any(map(alive, group)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, group))
    assert start("--after", "SIGKILL").wait(400) == 0
    assert run.keys()[: len(done)] == done
    assert len(set(run.keys())) == len(run.keys()) == 16


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
