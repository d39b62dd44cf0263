"""Whether the prompts hold what was asked, and whether they and the weights fit."""

from __future__ import annotations

from remote_agent.preflight.common import MIB, Prompts, check
from remote_agent.protocol import Check, TaskSpec
from remote_agent.tasks.base import Task


def asked(task: Task, spec: TaskSpec, rendered: Prompts) -> Check:
    """The template must not drop what the task says: some templates ignore a turn without an error."""
    parts = [task.answer_format(spec).instruction, *([spec.system.strip()] if spec.system else [])]
    for sample, text in zip(rendered.samples, rendered.texts, strict=True):
        for part in (sample.question.strip(), *parts):
            if part not in text:
                message = f"The prompt of {sample.id} lacks {part[:60]!r}. Next: look at the chat template."
                return check("prompt", "fail", message)
    return check("prompt", "ok", "Each prompt holds its question and the answer format.")


def context_window(rendered: Prompts, max_tokens: int, window: int | None) -> Check:
    longest = max(range(len(rendered.lengths)), key=rendered.lengths.__getitem__)
    need = rendered.lengths[longest] + max_tokens
    if window is None:
        return check("context window", "ok", f"The longest prompt and its answer take {need} tokens.")
    if need > window:
        message = (
            f"{rendered.samples[longest].id} needs {need} tokens with its answer, the model reads {window}. "
            "Next: lower generate.max_tokens, or leave out the long samples."
        )
        return check("context window", "fail", message)
    return check("context window", "ok", f"At most {need} of {window} tokens with the answer.")


def memory(weights: int | None, free: int | None) -> Check:
    if weights is None or free is None:
        return check("memory", "ok", "The engine needs no weights, or their size is not known.")
    text = f"The weights take {weights // MIB} MiB of {free // MIB} MiB free"
    if weights > free:
        return check("memory", "fail", f"{text}. Next: a larger instance, or a smaller dtype.")
    if weights > 0.8 * free:
        return check("memory", "warn", f"{text}; batches may not fit. A smaller batch_size helps.")
    return check("memory", "ok", f"{text}.")
