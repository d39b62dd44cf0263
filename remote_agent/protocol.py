"""What crosses the wire: the order that starts a run, and the records of its two journals.

`order.json` is written by the user's side and read by the agent. `journal.jsonl` has one writer, the
worker; `events.jsonl` has one writer, the supervisor. Every record is one JSON line (see `journal.py`
for the envelope: `v`, `seq`, `ts`, `kind`, …, `crc`). Readers skip kinds that they do not know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from remote_agent import SCHEMA_VERSION
from remote_agent.files import EVENTS as EVENTS
from remote_agent.files import JOURNAL as JOURNAL
from remote_agent.files import ORDER as ORDER
from remote_agent.files import SUPERVISOR_LOG as SUPERVISOR_LOG
from remote_agent.files import WORKER_LOG as WORKER_LOG
from remote_agent.registry import ENGINES, TASKS


class Strict(BaseModel):
    """A model that refuses unknown fields: a typing error must not pass for a setting."""

    model_config = ConfigDict(extra="forbid")


class TaskSpec(Strict):
    """What is evaluated."""

    name: str
    """A task of the registry."""
    path: str | None = None
    """A JSONL file with the samples. None: what ships with the task, or its hub data set."""
    split: str = "test"
    """The split to take from the hub."""
    limit: int | None = Field(default=None, ge=1)
    """Evaluate only that many samples, chosen by `seed`. None: all of them."""
    seed: int = 0
    """Chooses the subset that `limit` leaves."""
    system: str | None = None
    """A system prompt. None: the chat template's own default."""

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        return _one_of(value, TASKS)


class EngineSpec(Strict):
    """What computes the answers."""

    name: str = "transformers"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: int = Field(default=16, ge=1)
    """Prompts in one batch."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of the engine. None: the library's choice."""
    path: str | None = None
    """For `recorded`: a JSONL file of prompt hashes and completions."""
    pace: float = Field(default=0.0, ge=0.0)
    """For `recorded`: seconds to take for each batch."""

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        return _one_of(value, ENGINES)


class GenerateSpec(Strict):
    """How answers are drawn."""

    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0.0)
    """0: greedy."""
    candidates: int = Field(default=1, ge=1)
    """Answers drawn for each sample."""
    seed: int = 0


def _one_of(value: str, registry: dict[str, str]) -> str:
    if value not in registry:
        raise ValueError(f"'{value}' is not known; allowed: {', '.join(sorted(registry))}")
    return value


class Order(Strict):
    """All that a worker needs to know of a run. Equal orders have equal plans."""

    v: Literal[1] = SCHEMA_VERSION  # type: ignore[assignment]
    run: str
    """The run's id: the name of its folder on both sides."""
    name: str
    kind: Literal["eval"] = "eval"
    model: str
    """A hub id (`org/name`) or a folder on the instance."""
    model_id: str
    """What the model is, wherever it lies: its hub id, or the name and content hash of what was sent."""
    revision: str | None = None
    task: TaskSpec
    engine: EngineSpec
    generate: GenerateSpec


# --- records of journal.jsonl (written by the worker) --------------------------------------------------


class Opened(BaseModel):
    """A worker has opened the journal: the first record of each attempt."""

    kind: Literal["opened"] = "opened"
    attempt: int
    pid: int
    agent: str
    """Content hash of the agent's package."""
    repaired: int = 0
    """Bytes of a torn tail that were cut off and set aside."""
    versions: dict[str, str] = {}


class Check(BaseModel):
    """One finding of the preflight."""

    kind: Literal["check"] = "check"
    name: str
    status: Literal["ok", "warn", "fail"]
    message: str


class Phase(BaseModel):
    """What the worker is doing now."""

    kind: Literal["phase"] = "phase"
    name: Literal["preflight", "model", "evaluate"]
    detail: str = ""


class Planned(BaseModel):
    """The plan's size. Written once; a later attempt must compute the same `plan_sha`."""

    kind: Literal["planned"] = "planned"
    task: str
    samples: int
    candidates: int
    total: int
    """Results that make the run complete: samples × candidates."""
    categories: dict[str, int] = {}
    """Planned results in each category."""
    plan_sha: str
    data: str
    """Where the samples came from, and their SHA-256."""
    model: str
    """The order's `model_id`."""
    weights: str = ""
    """Where the weights, or the recorded completions, came from."""
    engine: str
    dtype: str
    headline: str
    """The extraction rule that decides the verdict."""


class Begin(BaseModel):
    """These results are being computed. What a crash leaves in flight is seen from here."""

    kind: Literal["begin"] = "begin"
    keys: list[tuple[str, int]]
    """(sample, candidate) pairs."""


class Result(BaseModel):
    """One graded answer. Its key (task, sample, candidate) stands at most once in a journal."""

    kind: Literal["result"] = "result"
    task: str
    sample: str
    candidate: int = 0
    category: str = ""
    verdict: Literal["right", "wrong", "no_answer"]
    reason: Literal["parsed", "unparsed", "truncated", "empty"]
    """Why the verdict is what it is: `no_answer` is one of unparsed, truncated, empty."""
    extracted: str | None
    rule: str | None
    """The rule that found `extracted`."""
    span: tuple[int, int] | None = None
    """Characters of the completion that were extracted."""
    disagree: bool = False
    """Another extraction rule found another answer."""
    gold: str
    completion: str
    prompt_sha: str
    tokens_in: int
    tokens_out: int
    finish: Literal["stop", "length"]
    seconds: float
    """Wall time of the batch that it was computed in."""


class Failed(BaseModel):
    """A sample that could not be computed; it takes the place of its result."""

    kind: Literal["failed"] = "failed"
    task: str
    sample: str
    candidate: int = 0
    category: str = ""
    error: str
    crashes: int = 0


class Crash(BaseModel):
    """What the worker before this one died of, and what it had in flight."""

    kind: Literal["crash"] = "crash"
    cause: str
    blamed: bool
    """False where the cause came from outside (a kill), so that no sample is held responsible."""
    keys: list[tuple[str, int]] = []


class Paused(BaseModel):
    """The run waits: a full disk."""

    kind: Literal["paused"] = "paused"
    reason: str


class Unpaused(BaseModel):
    kind: Literal["unpaused"] = "unpaused"
    waited: float


class Finished(BaseModel):
    """The worker's last word."""

    kind: Literal["finished"] = "finished"
    outcome: Literal["complete", "failed"]
    message: str = ""


# --- records of events.jsonl (written by the supervisor) -----------------------------------------------


class SupervisorStarted(BaseModel):
    kind: Literal["supervisor"] = "supervisor"
    pid: int
    agent: str
    host: str


class WorkerStarted(BaseModel):
    kind: Literal["worker_started"] = "worker_started"
    pid: int
    attempt: int


class WorkerExited(BaseModel):
    kind: Literal["worker_exited"] = "worker_exited"
    pid: int
    cause: str
    """`exit 0`, `exit 3`, `SIGSEGV`, `SIGKILL (out of memory)`, …"""
    restart_in: float | None
    """Seconds until the next attempt; None: there is none."""


class Gpu(BaseModel):
    """One GPU at one moment. Memory in bytes, power in watts, temperature in °C, utilisation 0..100."""

    index: int
    name: str
    util: float | None = None
    mem_used: int | None = None
    mem_total: int | None = None
    power: float | None = None
    temp: float | None = None


class Telemetry(BaseModel):
    """Heartbeat and load of the instance. Memory and disk in bytes, CPU in percent of all cores."""

    kind: Literal["telemetry"] = "telemetry"
    cpu: float
    mem_used: int
    mem_total: int
    disk_free: int
    worker_rss: int = 0
    gpus: list[Gpu] = []


class Ended(BaseModel):
    """The supervisor's last word: nothing runs any more."""

    kind: Literal["ended"] = "ended"
    outcome: Literal["complete", "failed", "stopped"]
    message: str = ""


JournalRecord = Annotated[
    Opened | Check | Phase | Planned | Begin | Result | Failed | Crash | Paused | Unpaused | Finished,
    Field(discriminator="kind"),
]
EventRecord = Annotated[
    SupervisorStarted | WorkerStarted | WorkerExited | Telemetry | Ended,
    Field(discriminator="kind"),
]


def payload(record: BaseModel) -> dict[str, Any]:
    """The record as the journal's writer takes it: plain JSON values, `kind` first."""
    return record.model_dump(mode="json")
