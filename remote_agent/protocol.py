"""What crosses the wire: the records of a run's two journals, and the order that it was started with.

`journal.jsonl` has one writer, the worker; `events.jsonl` has one writer, the supervisor. Every record is
one JSON line (see `journal.py` for the envelope: `v`, `seq`, `ts`, `kind`, …, `crc`). Readers skip kinds that
they do not know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, JsonValue

from remote_agent.files import EVENTS as EVENTS
from remote_agent.files import JOURNAL as JOURNAL
from remote_agent.files import ORDER as ORDER
from remote_agent.files import SUPERVISOR_LOG as SUPERVISOR_LOG
from remote_agent.files import WORKER_LOG as WORKER_LOG
from remote_agent.order import EngineSpec as EngineSpec
from remote_agent.order import Expectation as Expectation
from remote_agent.order import GenerateSpec as GenerateSpec
from remote_agent.order import Order as Order
from remote_agent.order import OwnSpec as OwnSpec
from remote_agent.order import RerankSpec as RerankSpec
from remote_agent.order import SweepSpec as SweepSpec
from remote_agent.order import TaskSpec as TaskSpec
from remote_agent.strict import Strict as Strict

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
    code: str = ""
    """The id of the tree that the session's code was when this worker began; empty: it has none."""


class Check(BaseModel):
    """One finding of the preflight."""

    kind: Literal["check"] = "check"
    name: str
    status: Literal["ok", "warn", "fail"]
    message: str
    forced: bool = False
    """It would have ended the run, had the order not forced it."""


class Phase(BaseModel):
    """What the worker is doing now."""

    kind: Literal["phase"] = "phase"
    name: Literal["preflight", "model", "evaluate", "rerank", "train"]
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
    order: dict[str, JsonValue] = {}
    """The order's `task`, `engine` and `generate`: what grading again needs."""
    settings: dict[str, str] = {}
    """All that the numbers hang on beside the model, in words: what two runs may differ in."""
    expect: Expectation | None = None
    rerankers: list[str] = []
    forced: list[str] = []
    """What the preflight would have stopped, had it not been forced."""
    arm: str = ""
    """In a sweep: the checkpoint that this is the plan of. `total` counts its results only."""
    step: int = 0
    """In a sweep: after which step of the training the checkpoint was made; 0 for the base model."""


class SweepArm(BaseModel):
    """One of the models that a sweep holds against each other: a checkpoint, or the base model."""

    name: str
    """Of the checkpoint; `base` for the base model. It is what the keys of its results begin with: the
    sample `q7` of the checkpoint `step-20` is `step-20/q7`."""
    step: int
    model: str
    """What it is wherever it lies."""


class Swept(BaseModel):
    """What a sweep consists of. Written once; a later attempt takes it from here."""

    kind: Literal["swept"] = "swept"
    arms: list[SweepArm]
    """In the order of their steps."""
    task: str
    samples: int
    candidates: int
    total: int
    """Results that make the sweep complete."""


class PassedOver(BaseModel):
    """A checkpoint of a sweep's folder that is not evaluated, or not to the end."""

    kind: Literal["passed_over"] = "passed_over"
    name: str
    reason: str
    left: int = 0
    """Of the sweep's total, results that will not come."""


class Begin(BaseModel):
    """These results are being computed. What a crash leaves in flight is seen from here."""

    kind: Literal["begin"] = "begin"
    keys: list[tuple[str, int]]
    """(sample, candidate) pairs."""
    more: bool = False
    """They come to those that are in flight already. False: nothing else is in flight."""


class ChoiceScore(BaseModel):
    """How likely the model found one given answer."""

    logprob: float
    """Sum over its tokens, natural logarithm."""
    tokens: int
    chars: int
    """Characters of the answer, without the delimiter before it."""
    bytes: int
    """The same in UTF-8."""
    greedy: bool = False
    """Each of its tokens was the likeliest one."""


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
    method: Literal["generate", "score"] = "generate"
    readings: dict[str, str | None] = {}
    """Every rule that ran, and what it read."""
    marks: list[str] = []
    """What is uncertain about the reading, such as `disagree` or `thinking not closed`."""
    metrics: dict[str, float] = {}
    """Figures beside the verdict, such as `acc_norm`, `args_f1` or `nll`."""
    scores: list[ChoiceScore] = []
    """For scored answers: one a choice, in their order."""
    logprob: float | None = None
    """Of the completion: sum over its tokens, natural logarithm."""
    choices: list[str] = []
    """The sample's choices, in the order of their letters."""
    data: dict[str, JsonValue] = {}
    """What else grading needs of the sample, such as the functions' descriptions."""
    prompt: str | None = None
    """The exact text that was sent; only with `task.keep_prompts`."""


class Scored(BaseModel):
    """A reranker's score of a candidate: higher is better. It stands once a candidate and reranker."""

    kind: Literal["scored"] = "scored"
    task: str
    sample: str
    candidate: int
    reranker: str
    score: float


class Reranking(BaseModel):
    """A reranker begins to score. Its scores and those of an earlier attempt must be of the same one."""

    kind: Literal["reranking"] = "reranking"
    reranker: str
    identity: str
    """What scores, wherever it lies: a hash of its files, or the model and where it came from."""


class Alarm(BaseModel):
    """The accuracy cannot be what was expected any more. Raised once a run."""

    kind: Literal["alarm"] = "alarm"
    message: str
    expected: tuple[float, float]
    band: tuple[float, float]
    """The confidence sequence's interval for the accuracy when it was raised."""
    results: int
    """Results that it rests on."""
    causes: list[str] = []
    """What may be the matter, the best supported first."""
    paused: bool = False
    """The run was stopped because of it."""


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
    outcome: Literal["complete", "failed", "stopped"]
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
    """One GPU at one moment. Memory in bytes, power in watts, temperature in °C, utilisation 0..100, clocks
    in MHz. What the driver does not say is None; records of older agents lack what was added later."""

    index: int
    name: str
    util: float | None = None
    mem_used: int | None = None
    mem_total: int | None = None
    power: float | None = None
    temp: float | None = None
    power_limit: float | None = None
    """Watts that it may draw at most, as it is enforced now."""
    clock: int | None = None
    """Of its processors."""
    clock_max: int | None = None
    clock_mem: int | None = None
    throttle: list[str] | None = None
    """Why its clock is held down: power, heat, slowdown, brake, sync. Empty: it is not; None: not known."""


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
    Opened
    | Check
    | Phase
    | Planned
    | Swept
    | PassedOver
    | Begin
    | Result
    | Reranking
    | Scored
    | Alarm
    | Failed
    | Crash
    | Paused
    | Unpaused
    | Finished,
    Field(discriminator="kind"),
]
EventRecord = Annotated[
    SupervisorStarted | WorkerStarted | WorkerExited | Telemetry | Ended,
    Field(discriminator="kind"),
]


def payload(record: BaseModel) -> dict[str, Any]:
    """The record as the journal's writer takes it: plain JSON values, `kind` first."""
    return record.model_dump(mode="json")
