"""What is checked before GPU time is spent. Each check says in one sentence what it found and what to do.

The checks of this module look at the machine, the data and the rendered prompts; none of them loads the
weights. Any `fail` ends the run: it would be invalid, or would not reach its end.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from remote_agent.engines.base import Engine
from remote_agent.protocol import Check, Order
from remote_agent.registry import ENGINE_NEEDS
from remote_agent.tasks.base import LoadedTask, Sample, Task

MIB = 1 << 20
DISK_FAIL, DISK_WARN = 64 * MIB, 1024 * MIB
SMALL_SAMPLE = 100
_MARKER = re.compile(r"<\|[^|<>\s]{1,40}\|>|\[/?[A-Z_]{3,20}\]|<</?SYS>>|</?(?:start|end)_of_turn>")
_SURE_MARKER = re.compile(r"<\|.+\|>|</?(?:start|end)_of_turn>")

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Prompts:
    """What the checks of the prompts look at. `texts` and `lengths` (tokens) are in the samples' order."""

    samples: Sequence[Sample]
    texts: Sequence[str]
    lengths: Sequence[int]


def _check(name: str, status: Status, message: str) -> Check:
    return Check(name=name, status=status, message=message)


# --- the machine ---------------------------------------------------------------------------------------


def machine(order: Order, run: Path) -> Iterator[Check]:
    """Packages by importing them, and the disk."""
    yield _check("python", "ok", f"Python {platform.python_version()} on {platform.machine()}.")
    yield packages(order.engine.name)
    yield disk(shutil.disk_usage(run).free)


def packages(engine: str) -> Check:
    found, missing = [], []
    for requirement in ENGINE_NEEDS[engine]:
        name = re.split(r"[<>=!~]", requirement)[0]
        try:
            importlib.import_module(name)
            found.append(f"{name} {importlib.metadata.version(name)}")
        except (ImportError, OSError) as exc:  # a wrong build of torch raises OSError for its libraries
            missing.append(f"{name} ({exc})")
    if missing:
        fix = f"pip install {' '.join(repr(n) for n in ENGINE_NEEDS[engine])}"
        return _check("packages", "fail", f"Cannot be imported: {'; '.join(missing)}. Next: {fix}.")
    return _check("packages", "ok", f"{', '.join(found) or 'none needed'} for the engine {engine}.")


def disk(free: int) -> Check:
    text = f"{free // MIB} MiB are free on the run's disk"
    if free < DISK_FAIL:
        return _check(
            "disk", "fail", f"{text}; at least {DISK_FAIL // MIB} are needed. Free some, then resume."
        )
    if free < DISK_WARN:
        return _check("disk", "warn", f"{text}. The run waits if it fills up; better free some now.")
    return _check("disk", "ok", f"{text}.")


# --- the data and the answer format --------------------------------------------------------------------


def data(task: Task, loaded: LoadedTask) -> Iterator[Check]:
    count = len(loaded.samples)
    yield _check("data", "ok", f"{count} samples from {loaded.source}, SHA-256 {loaded.sha256[:16]}….")
    yield sample_size(count)
    yield answer_format(task)


def sample_size(count: int) -> Check:
    """The half-width is that of the normal approximation where it is widest, at 50%."""
    points = 100 * 1.96 * math.sqrt(0.25 / count)
    band = f"{count} samples give a 95% band of up to ±{points:.0f} points"
    if count < SMALL_SAMPLE:
        return _check("sample size", "warn", f"{band}: smaller differences mean nothing. Take more samples.")
    return _check("sample size", "ok", f"{band}.")


def answer_format(task: Task) -> Check:
    broken = task.format.broken()
    if broken:
        return _check(
            "answer format", "fail", f"In the task {task.name} {broken}. Next: mend its answer format."
        )
    line = task.format.line.format("N")
    return _check(
        "answer format",
        "ok",
        f"The prompt asks for `{line}`, and the rule `{task.format.rules[0]}` reads it.",
    )


# --- the prompts and the model -------------------------------------------------------------------------


def prompts(engine: Engine, task: Task, rendered: Prompts, max_tokens: int) -> Iterator[Check]:
    yield asked(task, rendered)
    yield context_window(rendered, max_tokens, engine.context_window)
    yield memory(engine.weight_bytes, engine.free_bytes)
    tokenizer = engine.tokenizer
    if tokenizer is not None:
        yield cue(tokenizer, rendered)
        yield begin_token(tokenizer, rendered.texts[0])
        yield markers(tokenizer, rendered)
        yield padding(tokenizer)
        yield vocabulary(len(tokenizer), engine.embedding_rows)


def asked(task: Task, rendered: Prompts) -> Check:
    """The template must not drop what the task says: some templates ignore a turn without an error."""
    for sample, text in zip(rendered.samples, rendered.texts, strict=True):
        for part in (sample.question.strip(), task.format.instruction):
            if part not in text:
                message = f"The prompt of {sample.id} lacks {part[:60]!r}. Next: look at the chat template."
                return _check("prompt", "fail", message)
    return _check("prompt", "ok", "Each prompt holds its question and the answer format.")


def context_window(rendered: Prompts, max_tokens: int, window: int | None) -> Check:
    longest = max(range(len(rendered.lengths)), key=rendered.lengths.__getitem__)
    need = rendered.lengths[longest] + max_tokens
    if window is None:
        return _check("context window", "ok", f"The longest prompt and its answer take {need} tokens.")
    if need > window:
        message = (
            f"{rendered.samples[longest].id} needs {need} tokens with its answer, the model reads {window}. "
            "Next: lower generate.max_tokens, or leave out the long samples."
        )
        return _check("context window", "fail", message)
    return _check("context window", "ok", f"At most {need} of {window} tokens with the answer.")


def memory(weights: int | None, free: int | None) -> Check:
    if weights is None or free is None:
        return _check("memory", "ok", "The engine needs no weights, or their size is not known.")
    text = f"The weights take {weights // MIB} MiB of {free // MIB} MiB free"
    if weights > free:
        return _check("memory", "fail", f"{text}. Next: a larger instance, or a smaller dtype.")
    if weights > 0.8 * free:
        return _check("memory", "warn", f"{text}; batches may not fit. A smaller batch_size helps.")
    return _check("memory", "ok", f"{text}.")


def cue(tokenizer: Any, rendered: Prompts) -> Check:
    """Called after rendering succeeded, so a template exists; here it must also open the assistant's turn."""
    turn = [{"role": "user", "content": "x"}]
    bare = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=False)
    cued = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    if cued == bare and not cued.rstrip().endswith("[/INST]"):
        message = "The chat template does not open the assistant's turn: answers may continue the question."
        return _check("chat template", "warn", f"{message} Next: compare it with the model's card.")
    return _check(
        "chat template", "ok", f"Rendered with it; each prompt ends in {rendered.texts[0][-24:]!r}."
    )


def begin_token(tokenizer: Any, text: str) -> Check:
    """Prompts are tokenized without special tokens, so the template must have written the begin token."""
    begin = tokenizer.bos_token_id
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    adds = tokenizer("x")["input_ids"][:1] == [begin] and begin is not None
    if begin is not None and ids[:2] == [begin, begin]:
        message = f"Prompts begin with {tokenizer.bos_token} twice. Next: take one out of the chat template."
        return _check("begin token", "fail", message)
    if adds and ids[:1] != [begin]:
        message = f"The tokenizer adds {tokenizer.bos_token}, but the chat template leaves it out."
        return _check("begin token", "warn", f"{message} Next: add it to the template if the model needs it.")
    return _check("begin token", "ok", "No begin token is doubled or missing.")


def markers(tokenizer: Any, rendered: Prompts) -> Check:
    """Chat markers must be single tokens: a marker in pieces means nothing to the model."""
    seen = {m: s for s, t in zip(rendered.samples, rendered.texts, strict=True) for m in _MARKER.findall(t)}
    single = []
    for marker, sample in sorted(seen.items()):
        ids = tokenizer(marker, add_special_tokens=False)["input_ids"]
        if len(ids) == 1:
            single.append(marker)
            continue
        pieces = " ".join(tokenizer.convert_ids_to_tokens(ids))
        text = f"{marker} is no token of this tokenizer, it falls into {len(ids)} pieces ({pieces})"
        if marker in sample.question:
            return _check("chat markers", "warn", f"{text}. It comes from the question of {sample.id}.")
        if _SURE_MARKER.fullmatch(marker):
            fix = "Next: use the tokenizer and the chat template that belong to the model"
            return _check("chat markers", "fail", f"{text}. {fix}.")
        return _check("chat markers", "warn", f"{text}; some models were trained so. Check the model's card.")
    return _check("chat markers", "ok", f"Single tokens: {' '.join(single) or 'none are used'}.")


def padding(tokenizer: Any) -> Check:
    if tokenizer.pad_token_id is None:
        message = "The tokenizer has neither a pad token nor an end token. Next: set one in its config."
        return _check("padding", "fail", message)
    if tokenizer.padding_side != "left":
        return _check(
            "padding", "fail", "Padding on the right spoils batched answers. Set padding_side to left."
        )
    return _check("padding", "ok", f"On the left, with {tokenizer.pad_token}.")


def vocabulary(tokens: int, rows: int | None) -> Check:
    if rows is not None and tokens > rows:
        message = (
            f"The tokenizer has {tokens} tokens, the model embeds {rows}: some prompts would crash it. "
            "Next: use the tokenizer that belongs to the model."
        )
        return _check("vocabulary", "fail", message)
    return _check("vocabulary", "ok", f"{tokens} tokens, {rows or 'an unknown number of'} embeddings.")
