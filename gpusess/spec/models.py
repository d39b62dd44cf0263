"""The spec's models: each field, its unit, and what it may hold.

Field by field only. What needs two fields or a look at the disk is in `checks.py`; the wire's own models
(task, engine, generate) are `remote_agent.protocol`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from gpusess.providers import PROVIDERS
from remote_agent.protocol import (
    EngineSpec,
    Expectation,
    GenerateSpec,
    Order,
    RerankSpec,
    SweepSpec,
    TaskSpec,
)
from remote_agent.train_protocol import TrainSpec

REMOTE = "remote:"

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[smhd])+")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SECRET_WORD = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
_FLAG = re.compile(r"[0-9]?|true|false|yes|no|on|off", re.IGNORECASE)


@dataclass(frozen=True)
class Allowed:
    """What a field may hold, in a user's words. It stands in the field's `Annotated`."""

    text: str


def _pattern(pattern: str, allowed: str) -> Any:
    regex = re.compile(pattern)

    def check(value: str) -> str:
        if not regex.fullmatch(value):
            raise ValueError(allowed)
        return value

    return AfterValidator(check)


def seconds(value: object) -> float:
    """`90s`, `30m`, `1h30m` → seconds."""
    if isinstance(value, str) and len(value) <= 20 and _DURATION.fullmatch(value):
        total = sum(float(part[:-1]) * _UNITS[part[-1]] for part in re.findall(r"[0-9.]+[smhd]", value))
        if total > 0:
            return total
    raise ValueError("a duration above zero")


def _provider(value: str) -> str:
    if value not in PROVIDERS:
        raise ValueError("a provider's name")
    return value


def _target(value: str) -> str:
    path = PurePosixPath(value)
    if not path.parts or path.is_absolute() or ".." in path.parts or value.startswith("~") or "\\" in value:
        raise ValueError("a path inside the session's folder")
    return str(path)


def _secret_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,79}", value):
        raise ValueError("a name, not a value")
    return value


def _env_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("a name of letters, digits and _")
    return value


def _or_empty(value: object) -> object:
    """A section of which every line is commented out is an empty section."""
    return {} if value is None else value


def _or_none_listed(value: object) -> object:
    return [] if value is None else value


def _listed(value: object) -> object:
    """One of something may stand without the list around it."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _or_value(value: object) -> object:
    """A number alone is the expected accuracy."""
    return {"value": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


def _rerankers(value: object) -> object:
    """`logprob` alone is a reranker's name and kind."""
    return [
        {"name": "logprob", "by": "logprob"} if item == "logprob" else item
        for item in (value if isinstance(value, list) else [] if value is None else [value])
    ]


def looks_secret(name: str, value: object) -> bool:
    """Whether an `env` entry holds a secret: by its name, unless the value is only a switch."""
    return bool(_SECRET_WORD.search(name)) and not _FLAG.fullmatch(str(value))


_SPEC_NAME = "lower-case letters, digits and -, at most 40, not starting with -"
_RUN_NAME = "lower-case letters, digits and . _ -, at most 40, starting with a letter or digit"
_GPU = 'MODEL or MODEL:COUNT, such as "H100:1"'
_DURATION_WORDS = "a duration above zero, such as 90s, 30m or 2h"
_MODEL = "a hub id (org/name), ./folder beside the spec, or remote:/folder on the instance"
_SHARE = "a share from 0 to 1, such as 0.60"
_TARGET = "a path relative to the session's folder, without .."
_SECRETS = "the secret's name only (letters, digits, _); its value comes from the environment at start"

SpecName = Annotated[str, _pattern(r"[a-z0-9][a-z0-9-]{0,39}", _SPEC_NAME), Allowed(_SPEC_NAME)]
RunName = Annotated[str, _pattern(r"[a-z0-9][a-z0-9._-]{0,39}", _RUN_NAME), Allowed(_RUN_NAME)]
ProviderName = Annotated[str, AfterValidator(_provider), Allowed(", ".join(sorted(PROVIDERS)))]
GpuName = Annotated[
    str, _pattern(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}(:[1-9][0-9]{0,2})?", _GPU), Allowed(_GPU)
]
Seconds = Annotated[float, BeforeValidator(seconds), Allowed(_DURATION_WORDS)]
Target = Annotated[str, AfterValidator(_target), Allowed(_TARGET)]
SecretName = Annotated[str, AfterValidator(_secret_name), Allowed(_SECRETS)]
EnvName = Annotated[str, AfterValidator(_env_name), Allowed("a name of letters, digits and _")]
Text = Annotated[str, Field(min_length=1), Allowed("text")]
_Providers = Annotated[
    list[ProviderName],
    BeforeValidator(_listed),
    Field(min_length=1),
    Allowed(", ".join(sorted(PROVIDERS))),
]
_Gpus = Annotated[list[GpuName], BeforeValidator(_listed), Allowed(_GPU)]
_Regions = Annotated[list[Text], BeforeValidator(_listed), Allowed("a region's name, or several")]
_HUB = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?"
Model = Annotated[str, _pattern(rf"{_HUB}|\.{{1,2}}/.+|remote:/.+", _MODEL), Allowed(_MODEL)]


class Section(BaseModel):
    """A part of the spec: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Resources(Section):
    """What is rented, and what it may cost."""

    provider: _Providers
    """Names of the providers' registry: one, or several of which the cheapest that has capacity is taken."""
    gpu: _Gpus = []
    """`MODEL` or `MODEL:COUNT`, or several of them. Empty: an instance without a GPU will do."""
    region: _Regions = []
    """The provider's names of regions; `any` or empty: whichever has capacity."""
    max_price: float | None = Field(default=None, gt=0)
    """$ per hour; a launch above it is refused."""
    spot: Literal["no", "allow", "only"] = "no"
    """Whether an instance will do that is cheaper and may be taken away at any time."""
    on_preemption: Literal["fail", "resume"] = "fail"
    """What follows when a spot instance was taken away: `resume` goes on on another one."""
    wait: Seconds | None = None
    """Seconds to wait for capacity. None: not at all."""
    budget: float | None = Field(default=None, gt=0)
    """$; the session is ended when it is spent."""
    max_hours: float | None = Field(default=None, gt=0)
    """Hours; the session is ended after that."""
    lease: Seconds = 1800.0
    """Seconds that the instance may live without a word from its user or a running run."""
    lease_key: Literal["none", "agent"] = "none"
    """`agent`: where only the account's key can end an instance, the agent on it holds that key in memory."""
    trust_first_use: bool = False
    """Take the host key that answers first, where the provider has no way to know it before."""
    options: Annotated[dict[str, Any], BeforeValidator(_or_empty)] = {}
    """The provider's own settings, passed on as they are; with several providers, a mapping for each."""

    @property
    def gpus(self) -> list[tuple[str, int]]:
        """The wanted GPUs as (model, count)."""
        parts = (gpu.partition(":") for gpu in self.gpu)
        return [(model.strip(), int(count or 1)) for model, _, count in parts]

    @property
    def regions(self) -> list[str]:
        """The wanted regions; empty: any."""
        return [] if "any" in self.region else list(self.region)

    def options_for(self, provider: str) -> dict[str, Any]:
        """The own settings of one of the providers."""
        if len(self.provider) == 1:
            return self.options
        own: dict[str, Any] = self.options.get(provider) or {}
        return own


class Push(Section):
    """A file or folder that is sent before the runs."""

    source: Text = Field(alias="from")
    """Relative to the spec's folder."""
    to: Target
    """Relative to the session's folder on the instance."""

    def local(self, base: Path) -> Path:
        return base / self.source


class Checkpoints(Section):
    """Which of a run's checkpoints are brought home while it goes on. 0 and no best: none."""

    keep: int = Field(default=1, ge=0)
    """The newest that many."""
    best: bool = True
    """And the one with the best score, where scores are measured."""


class Sync(Section):
    """What is sent to the instance, and what comes back beside the results."""

    code: Text | None = None
    """A folder relative to the spec's folder, sent as git sees it."""
    push: Annotated[list[Push], BeforeValidator(_or_none_listed)] = []

    checkpoints: Annotated[Checkpoints, BeforeValidator(_or_empty)] = Checkpoints()

    def local_code(self, base: Path) -> Path | None:
        return None if self.code is None else base / self.code


class Setup(Section):
    """What happens on the instance before the runs."""

    python: Text | None = None
    """The interpreter that the agent runs in. None: the bootstrap makes an environment."""
    requirements: Annotated[list[Text], BeforeValidator(_or_none_listed)] = []
    """What pip installs into the environment that the bootstrap makes."""
    commands: Annotated[list[Text], BeforeValidator(_or_none_listed)] = []
    """Shell lines, run in the session's folder in this order."""


class Expect(Section):
    """The accuracy that a run should come out at: a number, or that of another run."""

    value: Annotated[float | None, Field(ge=0, le=1), Allowed(_SHARE)] = None
    """A share, such as 0.60."""
    baseline: Text | None = None
    """Another run, whose 95% interval is expected: `RUN` of this file, done before, or `SESSION/RUN`."""
    within: Annotated[float, Field(ge=0, le=1), Allowed(_SHARE)] = 0.0
    """So much more or less is as expected, too; a share."""
    pause: bool = False
    """Stop the run at the alarm; resuming the session goes on with what is missing."""


class Sweep(Section):
    """Whose checkpoints are evaluated."""

    of: Text
    """A training of this file that is done before, `SESSION/RUN`, or a folder of checkpoints (`./…`)."""
    base: bool = True
    """The run's model is evaluated too: what the training began with."""

    def local_folder(self, base: Path) -> Path | None:
        """The folder beside the spec, or None for a run."""
        return base / self.of if self.of.startswith(("./", "../", "/")) else None


class RunEntry(Section):
    """One run of the session."""

    name: RunName
    """Unique in the file."""
    kind: Literal["eval", "train", "sweep"] | None = None
    """None: a training where `train` stands, a sweep where `sweep` stands, else an evaluation."""
    model: Model
    """A hub id, `./folder` beside the spec (sent), or `remote:/folder` on the instance."""
    revision: Text | None = None
    """The hub's branch, tag or commit. None: its default."""
    base: Model | None = None
    """Where `model` is an adapter: the model that it was trained on. None: what the adapter itself says."""
    task: TaskSpec
    engine: Annotated[EngineSpec, BeforeValidator(_or_empty)] = EngineSpec()
    generate: Annotated[GenerateSpec, BeforeValidator(_or_empty)] = GenerateSpec()
    expect: Annotated[Expect | None, BeforeValidator(_or_value)] = None
    """What the accuracy should be; an alarm is raised as soon as it cannot be so any more."""
    rerank: Annotated[list[RerankSpec], BeforeValidator(_rerankers)] = []
    """What scores the answers of each sample, where there are several."""
    force: bool = False
    """Go on where the answer formats disagree. Every number of the run is then marked as forced."""
    train: TrainSpec | None = None
    """For a training: how. `task`, `engine` and `generate` say how it is evaluated meanwhile."""
    sweep: Sweep | None = None
    """For a sweep: which checkpoints. `model` is then the base model."""

    def local_model(self, base: Path) -> Path | None:
        """The folder to send, or None for a hub id or a folder on the instance."""
        return base / self.model if self.model.startswith(("./", "../")) else None

    def local_base(self, base: Path) -> Path | None:
        """The base model's folder to send."""
        return base / self.base if self.base and self.base.startswith(("./", "../")) else None

    @property
    def remote_model(self) -> str | None:
        """The folder on the instance that `remote:` names."""
        return self.model.removeprefix(REMOTE) if self.model.startswith(REMOTE) else None

    def local_data(self, base: Path) -> Path | None:
        """The data to send, a file or a folder, or None where the task brings its own."""
        return None if self.task.path is None else base / self.task.path

    def local_examples(self, base: Path) -> Path | None:
        """The file of few-shots to send."""
        return None if self.task.examples is None else base / self.task.examples

    def local_training_data(self, base: Path) -> Path | None:
        """The file of rows to learn from."""
        return None if self.train is None else base / self.train.data.path

    @property
    def needs(self) -> set[str]:
        """What has to be installed for it: keys of the agent's `ENGINE_NEEDS`."""
        adapters = self.train or self.sweep or self.base
        return {self.engine.name, *(["training"] if self.train else ["adapters"] if adapters else [])}

    def local_recording(self, base: Path) -> Path | None:
        """The `recorded` engine's file to send."""
        return None if self.engine.path is None else base / self.engine.path


class Spec(Section):
    """A whole file."""

    name: SpecName
    resources: Resources
    sync: Annotated[Sync, BeforeValidator(_or_empty)] = Sync()
    setup: Annotated[Setup, BeforeValidator(_or_empty)] = Setup()
    env: Annotated[dict[EnvName, Annotated[str, Allowed("text")]], BeforeValidator(_or_empty)] = {}
    """Environment of setup and runs."""
    secrets: Annotated[list[SecretName], BeforeValidator(_or_none_listed)] = []
    """Names only: the values come from the environment or the settings at start."""
    runs: list[RunEntry] = Field(min_length=1)
    after: Literal["terminate", "keep"] = "terminate"
    """What happens to the instance when all runs are done."""

    _base: Path = PrivateAttr(default=Path())

    @property
    def base(self) -> Path:
        """The folder of the file: what its relative paths start from."""
        return self._base


def order_for(
    run: RunEntry,
    run_id: str,
    *,
    model: str,
    model_id: str,
    data_path: str | None,
    examples: str | None = None,
    recording: str | None = None,
    training_data: str | None = None,
    base: str | None = None,
    checkpoints: str | None = None,
    expect: Expectation | None = None,
    force: bool = False,
) -> Order:
    """The order of a run. `model` and the paths are as the instance knows them; `model_id` is what the model
    is wherever it lies; `expect` is the run's expectation with its baseline looked up; `checkpoints` is the
    folder of a sweep's."""
    sweep = None
    if run.sweep is not None and checkpoints is not None:
        sweep = SweepSpec(folder=checkpoints, base=run.sweep.base)
    train = run.train
    if train is not None and training_data is not None:
        data = train.data.model_copy(update={"path": training_data})
        train = train.model_copy(update={"data": data})
    return Order(
        run=run_id,
        name=run.name,
        kind="train" if train else "sweep" if sweep else "eval",
        train=train,
        sweep=sweep,
        model=model,
        model_id=model_id,
        revision=run.revision,
        base=base,
        task=run.task.model_copy(update={"path": data_path, "examples": examples}),
        engine=run.engine.model_copy(update={"path": recording}),
        generate=run.generate,
        expect=expect,
        rerank=run.rerank,
        force=run.force or force,
    )
