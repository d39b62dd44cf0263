"""The order that starts a run: what is computed, with which model, by which engine.

`order.json` is written by the user's side and read by the agent. The records that a run writes are
`protocol.py`'s, and a training's part is in `train_protocol.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    field_validator,
    model_validator,
)

from remote_agent import SCHEMA_VERSION
from remote_agent.registry import ENGINES, EXTRACTORS, METRICS, TASKS
from remote_agent.strict import Strict
from remote_agent.train_protocol import TrainSpec


def _extractor(value: str) -> str:
    return _one_of(value, {rule for rules in EXTRACTORS.values() for rule in rules})


def _listed(value: object) -> object:
    """One of something may stand without the list around it."""
    return [value] if isinstance(value, str) else [] if value is None else value


def _two_marks(value: list[str]) -> list[str]:
    if value and (len(value) != 2 or not all(value)):
        raise ValueError(f"{len(value)} marks; allowed: a list of two marks, or an empty one")
    return value


def _one_of(value: str, known: Collection[str]) -> str:
    if value not in known:
        raise ValueError(f"'{value}' is not known; allowed: {', '.join(sorted(known))}")
    return value


class OwnSpec(Strict):
    """A user's own task: how a row of the file at `task.path` becomes a prompt, and what is right."""

    prompt: str
    """The question, with `{{field}}` in a field's place; `{{choices}}` are the lettered choices."""
    answer: str = "answer"
    """The field with the right answer; for a choice its letter, its number (from 0) or its text."""
    choices: Annotated[list[str], BeforeValidator(_listed)] = []
    """The field with the list of choices, or the fields that hold one each. Empty: there are none."""
    metric: str = "number"
    """How an answer is judged: a family of the registry."""
    instruction: str = ""
    """Asks for the answer's form; it follows the question after an empty line."""
    line: str = ""
    """The answer in the form that is asked for, with `{}` in its place. Few-shots show it, and the preflight
    holds it against what the extractor reads."""
    tools: str | None = None
    """For the metric `call`: the field with the functions' descriptions."""
    id: str | None = None
    """The field with the sample's id. None: the row's number."""
    category: str | None = None
    """The field that the results are split by."""

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        return _one_of(value, METRICS)


class TaskSpec(Strict):
    """What is evaluated."""

    name: str
    """A task of the registry."""
    path: str | None = None
    """A file with the samples. None: what ships with the task, or its hub data set."""
    split: str | None = None
    """The split to take from the hub, or the subfolder of `path`. None: the task's own."""
    limit: int | None = Field(default=None, ge=1)
    """Evaluate only that many samples, chosen by `seed`. None: all of them."""
    seed: int = 0
    """Chooses the subset that `limit` leaves."""
    system: str | None = None
    """A system prompt. None: the chat template's own default."""
    method: Literal["auto", "generate", "score"] = "auto"
    """Answers are written, or given ones are scored by their log-likelihood. auto: the task's own way."""
    template: Literal["auto", "chat", "none"] = "auto"
    """The prompt goes through the model's chat template, or is plain text. auto: chat where answers are
    written, none where they are scored."""
    style: str = "default"
    """One of the task's ways to ask."""
    fewshot: int | None = Field(default=None, ge=0)
    """Worked examples before each question. None: the task's own."""
    examples: str | None = None
    """A file with the rows that few-shots are taken from. None: those that ship with the task."""
    stop: list[str] = []
    """Texts that end an answer, beside the task's own."""
    extractors: list[Annotated[str, AfterValidator(_extractor)]] = []
    """The rules that read the answer, the headline first. Empty: the task's own."""
    thinking: Annotated[list[str], AfterValidator(_two_marks)] = ["<think>", "</think>"]
    """The marks around a chain of thought, which is cut out before the answer is read. Empty: none."""
    thought: str | None = None
    """For scored answers: the words that ask for a chain of thought, which is then written before the
    scoring. None: there is none."""
    keep_prompts: bool = False
    """Each result holds the exact text that was sent."""
    own: OwnSpec | None = None
    """For the task `own`: what it is."""

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        return _one_of(value, TASKS)


def _batch_size(value: object) -> int | str:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError("no batch size; allowed: a whole number ≥ 1, or auto")


class EngineSpec(Strict):
    """What computes the answers."""

    name: str = "transformers"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: Annotated[int | Literal["auto"], PlainValidator(_batch_size)] = 16
    """Prompts in one batch. auto: as many as pay and fit, found by trying."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of the engine. None: the library's choice."""
    max_model_len: int | None = Field(default=None, ge=1)
    """For `vllm`: tokens that prompt and answer may have together. None: what the model allows."""
    tensor_parallel: int = Field(default=1, ge=1)
    """For `vllm`: GPUs that share each layer."""
    memory: float | None = Field(default=None, gt=0.0, le=1.0)
    """For `vllm`: the share of the GPU's memory (without a GPU: of RAM) to take. None: the library's own."""
    concurrency: int | None = Field(default=None, ge=1)
    """For `vllm` and `openai`: requests in flight at once. None: the engine's choice."""
    base_url: str | None = None
    """For `openai`: where the endpoint is, such as `http://localhost:8000/v1`."""
    api_key: str | None = None
    """For `openai`: the NAME of the secret that holds the key. None: none is sent."""
    retries: int = Field(default=6, ge=0)
    """For `openai`: how often a request is sent again after a refusal that may pass."""
    timeout: float = Field(default=300.0, gt=0.0)
    """For `openai`: seconds to wait for an answer."""
    price_in: float | None = Field(default=None, ge=0.0)
    """For `openai`: dollars for a million tokens of prompt."""
    price_out: float | None = Field(default=None, ge=0.0)
    """For `openai`: dollars for a million tokens of answer."""
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
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Draw from the likeliest tokens that together have this probability. 1: from all."""
    top_k: int = Field(default=0, ge=0)
    """Draw from that many likeliest tokens. 0: from all."""
    candidates: int = Field(default=1, ge=1)
    """Answers drawn for each sample."""
    seed: int = 0


class Expectation(Strict):
    """The accuracy that the run should come out at; where it cannot any more, the worker raises an alarm."""

    low: float = Field(ge=0.0, le=1.0)
    high: float = Field(ge=0.0, le=1.0)
    """The accuracies that agree with what is expected, ends included."""
    says: str = ""
    """Where the expectation comes from, in words."""
    pause: bool = False
    """Stop the run at the alarm. Resuming it goes on with what is missing."""


class RerankSpec(Strict):
    """Something that scores a run's candidates, so that the best of each sample can be picked."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")
    """Unique in the run."""
    by: Literal["logprob", "model", "module"]
    """The candidate's own log-probability; a reward model; a function of a Python file."""
    normalise: bool = False
    """For `logprob`: divide by the number of tokens."""
    model: str | None = None
    """For `model`: a hub id, or a folder relative to the session's folder, with a sequence classifier."""
    module: str | None = None
    """For `module`: a Python file relative to the session's folder."""
    function: str = "scorer"
    """For `module`: called once with the checkpoint's path; what it returns scores a list of candidates."""
    checkpoint: str | None = None
    """For `module`: a file relative to the session's folder."""
    batch_size: int = Field(default=16, ge=1)
    """Candidates scored at once, and recorded in one step."""

    @model_validator(mode="after")
    def _complete(self) -> RerankSpec:
        if self.by in ("model", "module") and not getattr(self, self.by):
            raise ValueError(f"no `{self.by}`; allowed: `by: {self.by}` together with `{self.by}`")
        return self


class SweepSpec(Strict):
    """Checkpoints that are evaluated one after the other, each on all samples."""

    folder: str
    """On the instance: each checkpoint is a folder in it."""
    base: bool = True
    """The order's model is evaluated too, before them: what the training began with."""


class Order(Strict):
    """All that a worker needs to know of a run. Equal orders have equal plans."""

    v: Literal[1] = SCHEMA_VERSION  # type: ignore[assignment]
    run: str
    """The run's id: the name of its folder on both sides."""
    name: str
    kind: Literal["eval", "train", "sweep"] = "eval"
    model: str
    """A hub id (`org/name`) or a folder on the instance."""
    model_id: str
    """What the model is, wherever it lies: its hub id, or the name and content hash of what was sent."""
    revision: str | None = None
    base: str | None = None
    """Where `model` is an adapter: the model that it was trained on. None: what the adapter itself says."""
    task: TaskSpec
    engine: EngineSpec
    generate: GenerateSpec
    train: TrainSpec | None = None
    """For a training: how. Task, engine and generate then say how it is evaluated meanwhile."""
    sweep: SweepSpec | None = None
    """For a sweep: which checkpoints. `model` is then the base model."""
    expect: Expectation | None = None
    rerank: list[RerankSpec] = []
    force: bool = False
    """Go on where the answer formats disagree; every number of the run is then marked as forced."""
