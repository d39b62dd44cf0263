"""What is checked before GPU time is spent. Each check says in one sentence what it found and what to do.

Here the checks are put in order; they live in `host.py`, `formats.py`, `tokens.py`, `sizes.py` and
`trying.py`. Any `fail` ends the run: it would be invalid, or would not reach its end.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from remote_agent import checkpoint_contract, models
from remote_agent.checkpoint_contract import Contract, ContractBroken
from remote_agent.engines.base import Engine
from remote_agent.preflight import formats, host, sizes, tokens, trying
from remote_agent.preflight.common import Prompts as Prompts
from remote_agent.preflight.common import check
from remote_agent.preflight.host import packages as packages
from remote_agent.preflight.tokens import markers as markers
from remote_agent.preflight.tokens import not_rendered as not_rendered
from remote_agent.protocol import Check, Order, TaskSpec
from remote_agent.tasks.base import LoadedTask, Task, template_of


def machine(order: Order, run: Path, *, tried: bool = False) -> Iterator[Check]:
    """Python, packages and GPUs by using them, and the disk. `tried`: an earlier attempt has used them."""
    yield check("python", "ok", f"Python {platform.python_version()} on {platform.machine()}.")
    if tried:
        yield host.packages(order.engine.name)
    else:
        yield from host.trial(order.engine.name)
    yield host.disk(shutil.disk_usage(run).free)


def data(task: Task, spec: TaskSpec, loaded: LoadedTask, *, force: bool = False) -> Iterator[Check]:
    """The samples, how many there are, and the answer format."""
    count = len(loaded.samples)
    yield check("data", "ok", f"{count} samples from {loaded.source}, SHA-256 {loaded.sha256[:16]}….")
    yield from (check("data", "warn", f"{note}.") for note in loaded.notes)
    yield formats.sample_size(count)
    yield formats.unless_forced(formats.answer_format(task, spec, loaded.samples), force)


def template(engine: Engine, task: Task, spec: TaskSpec) -> Iterator[Check]:
    """Before anything is rendered: there must be something to render with."""
    if engine.tokenizer is not None and template_of(task, spec) == "chat":
        yield tokens.template(engine.tokenizer)


def prompts(
    engine: Engine, task: Task, spec: TaskSpec, rendered: Prompts, max_tokens: int, *, force: bool = False
) -> Iterator[Check]:
    """The rendered prompts, and whether tokenizer, model and training fit together."""
    yield sizes.asked(task, spec, rendered)
    yield sizes.context_window(rendered, max_tokens, engine.context_window)
    yield sizes.memory(engine.weight_bytes, engine.free_bytes)
    tokenizer = engine.tokenizer
    if tokenizer is None:
        return
    if template_of(task, spec) == "chat":
        yield tokens.cue(tokenizer, rendered)
    yield tokens.begin_token(tokenizer, rendered.texts[0])
    yield tokens.markers(tokenizer, rendered)
    yield tokens.added_tokens(tokenizer, engine.embedding_rows, rendered.texts)
    yield tokens.padding(tokenizer)
    yield tokens.vocabulary(len(tokenizer), engine.embedding_rows)
    yield from _trained(tokenizer, task, spec, rendered, force)
    yield from _base(engine)


def dry_batch(engine: Engine, rendered: Prompts) -> Iterator[Check]:
    """With the weights loaded: the longest prompts go through the model once."""
    if engine.can_score and engine.renders:  # an endpoint's memory is its owner's care
        yield trying.dry_batch(engine, rendered)


def _trained(
    tokenizer: object, task: Task, spec: TaskSpec, rendered: Prompts, force: bool
) -> Iterator[Check]:
    """For a checkpoint that says how it was trained: whether that is how it is asked now."""
    folder = Path(str(getattr(tokenizer, "name_or_path", "")))
    try:
        contract: Contract | None = checkpoint_contract.read(folder)
    except ContractBroken as exc:
        yield check("trained format", "fail", f"{exc}.")
        return
    if contract is None:
        return
    yield tokens.trained_markers(tokenizer, contract.markers)
    yield formats.unless_forced(formats.trained_format(task, spec, rendered.samples, contract), force)
    plain = template_of(task, spec) == "none"
    yield formats.trained_prompt(tokenizer, spec, contract, plain=plain)


def _base(engine: Engine) -> Iterator[Check]:
    """For an adapter that says on which weights it was trained: whether these are they."""
    adapter: Path | None = getattr(engine, "adapter", None)
    if adapter is None:
        return
    contract = checkpoint_contract.read(adapter)
    if contract is None or not contract.base_sha:
        return
    weights: Path = engine.weights  # type: ignore[attr-defined]
    name = "trained base"
    if models.fingerprint(weights) == contract.base_sha:
        yield check(name, "ok", "The adapter was trained on these very weights.")
    else:
        message = f"The weights in {weights} are not those that the adapter was trained on ({contract.base})"
        yield check(name, "warn", f"{message}: another revision, another dtype, or another model.")
