"""The answer format as a contract: what the prompt asks for, the few-shots show, the extractor reads, and a
checkpoint was trained on. A mismatch stops the run, unless it is forced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from remote_agent.checkpoint_contract import Contract, text_sha
from remote_agent.preflight.common import check
from remote_agent.protocol import Check, TaskSpec
from remote_agent.tasks import contract as formats
from remote_agent.tasks.base import Sample, Task, method_of

SMALL_SAMPLE = 100


def sample_size(count: int) -> Check:
    """The half-width is that of the normal approximation where it is widest, at 50%."""
    points = 100 * 1.96 * math.sqrt(0.25 / count)
    band = f"{count} samples give a 95% band of up to ±{points:.0f} points"
    if count < SMALL_SAMPLE:
        return check("sample size", "warn", f"{band}: smaller differences mean nothing. Take more samples.")
    return check("sample size", "ok", f"{band}.")


def answer_format(task: Task, spec: TaskSpec, samples: Sequence[Sample] = ()) -> Check:
    """What the prompt asks for, what the few-shots show and what the headline rule reads must agree."""
    breaches = formats.breaches(task, spec, samples)
    if breaches:
        fix = "let the prompt, the few-shots and `task.extractors` agree, or force it (`force: true`)"
        message = f"In the task {task.name} {breaches[0]}. Next: {fix}."
        return check("answer format", "fail", message)
    format = task.answer_format(spec)
    if not format.line:
        return check("answer format", "ok", f"The rule `{format.rules[0]}` decides.")
    line = format.line.replace("{}", "N")
    return check(
        "answer format", "ok", f"The prompt asks for `{line}`, and the rule `{format.rules[0]}` reads it."
    )


def trained_format(task: Task, spec: TaskSpec, samples: Sequence[Sample], trained: Contract) -> Check:
    """What the checkpoint was trained to write must be what is asked for and read now."""
    name = "trained format"
    if method_of(task, spec) == "score":
        return check(name, "ok", "Given answers are scored; nothing is read.")
    line = task.answer_format(spec).line
    if line and trained.line and line.strip() != trained.line.strip():
        message = f"`{line.replace('{}', 'N')}` is asked for, `{trained.line.replace('{}', 'N')}` was trained"
        return check(name, "fail", f"{message}. Next: ask for what was trained, or force it (`force: true`).")
    known = formats.breaches(task, spec, samples)
    new = [b for b in formats.breaches(task, spec, samples, trained.answers) if b not in known]
    if new:
        return check(name, "fail", f"{new[0]}. Next: read what was trained, or force it (`force: true`).")
    return check(name, "ok", "The checkpoint was trained on the format that is asked for and read.")


def trained_prompt(tokenizer: Any, spec: TaskSpec, trained: Contract, *, plain: bool = False) -> Check:
    """Another chat template or system prompt than in training costs points without an error.

    plain: the prompts go through no template.
    """
    differs = []
    template = getattr(tokenizer, "chat_template", None)
    if trained.template_sha and plain:
        differs.append("it is asked in plain text, without the chat template")
        template = None
    if trained.template_sha and template and text_sha(str(template)) != trained.template_sha:
        differs.append("its chat template is another one")
    if (trained.system or "") != (spec.system or ""):
        differs.append(f"its system prompt was {trained.system!r}, now it is {spec.system!r}")
    if differs:
        return check("trained prompt", "warn", f"Unlike in training, {' and '.join(differs)}.")
    return check("trained prompt", "ok", "Template and system prompt are those of the training.")


def unless_forced(found: Check, force: bool) -> Check:
    """A mismatch that is forced is a warning that stays with the run's numbers."""
    if found.status != "fail" or not force:
        return found
    return Check(name=found.name, status="warn", message=f"Forced: {found.message}", forced=True)
