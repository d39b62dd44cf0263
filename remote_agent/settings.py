"""What a run's numbers hang on beside the model, in words: what two runs are compared by.

Batch size, threads and paths are left out: they decide nothing. No text of a secret can stand here, since an
order knows secrets by their names only.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePath
from typing import Any

from pydantic import JsonValue

from remote_agent.engines.base import Engine
from remote_agent.protocol import GenerateSpec, Order, TaskSpec
from remote_agent.tasks.base import LoadedTask, Task, method_of, template_of

SHOWN = 200
"""Characters of a text that are shown beside its hash."""


def settings(order: Order, task: Task, loaded: LoadedTask, engine: Engine) -> dict[str, str]:
    """Name → value, in the order in which a reader wants them."""
    spec, format = order.task, task.answer_format(order.task)
    method, template = method_of(task, spec), template_of(task, spec)
    return {
        "task": task.name,
        "data": _data(spec, loaded),
        "samples": f"{len(loaded.samples)} (limit {spec.limit}, seed {spec.seed})" if spec.limit else "all",
        "method": method,
        "style": spec.style,
        "system prompt": "the template's own" if spec.system is None else _text(spec.system),
        "few-shots": _fewshots(loaded),
        "instruction": _text(format.instruction),
        "chat template": _template(template, engine.tokenizer),
        "chain of thought": _text(spec.thought) if spec.thought is not None else "none asked for",
        "thinking cut out": " … ".join(spec.thinking) or "nothing",
        "stop texts": " ".join(map(repr, task.stops(spec))) or "none",
        "sampling": _sampling(order.generate) if method == "generate" else "none",
        "answers a sample": str(order.generate.candidates),
        "most tokens": str(order.generate.max_tokens) if method == "generate" else "none",
        "extractor": format.headline,
        "engine": order.engine.name,
        "dtype": engine.describe().dtype,
    }


def recorded_order(order: Order) -> dict[str, JsonValue]:
    """What grading again needs, as plain JSON."""
    whole = order.model_dump(mode="json", include={"task", "engine", "generate", "force"})
    return dict(whole)


def missing_template(task: Task, order: Order, engine: Engine) -> list[str]:
    """The sentence for an alarm where a chat model is asked without its chat template; else empty."""
    has_one = bool(getattr(engine.tokenizer, "chat_template", None))
    if template_of(task, order.task) == "none" and has_one:
        return ["the prompts go through no chat template, though the model has one"]
    return []


def _data(spec: TaskSpec, loaded: LoadedTask) -> str:
    """The file's name and its hash: the folder that it lies in on the instance is another one each time."""
    name = loaded.source if spec.path is None else PurePath(spec.path).name
    return f"{name} (sha256 {loaded.sha256[:12]})"


def _fewshots(loaded: LoadedTask) -> str:
    """How many are shown, and a hash of them: the same for any choice of samples that all see the same."""
    shown = {repr([[e.question, e.answer] for e in sample.examples]) for sample in loaded.samples}
    most = max((len(sample.examples) for sample in loaded.samples), default=0)
    return f"{most} ({_sha(repr(sorted(shown)))})" if most else "none"


def _template(template: str, tokenizer: Any | None) -> str:
    if template == "none":
        return "not used"
    text = getattr(tokenizer, "chat_template", None)
    return f"the model's ({_sha(str(text))})" if text else "the engine's"


def _sampling(generate: GenerateSpec) -> str:
    if generate.temperature == 0.0:
        return "greedy"
    said = [f"temperature {generate.temperature:g}"]
    if generate.top_p < 1.0:
        said.append(f"top_p {generate.top_p:g}")
    if generate.top_k:
        said.append(f"top_k {generate.top_k}")
    return ", ".join([*said, f"seed {generate.seed}"])


def _text(text: str) -> str:
    """The text itself where it is short, else its beginning and its hash."""
    if not text:
        return "none"
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}… ({_sha(text)})"


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
