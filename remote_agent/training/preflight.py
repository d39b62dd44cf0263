"""What is checked before the first step: the rows as the model will see them, and whether training and
evaluation speak of the same thing. Each failure names the row and the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from remote_agent import preflight
from remote_agent.checkpoint_contract import Contract, text_sha
from remote_agent.preflight import tokens
from remote_agent.preflight.formats import unless_forced
from remote_agent.protocol import Check, TaskSpec
from remote_agent.tasks import contract
from remote_agent.tasks.base import Sample, Task, template_of
from remote_agent.train_protocol import Seen, TrainSpec
from remote_agent.training.masking import Masked, MaskError, ends_turn, has_marks, mask_chat
from remote_agent.training.rows import Row, Rows

SHOWN_ROWS = 3
SHOWN_TOKENS = 400
ANSWERS = 50
"""Answers that a contract holds."""
NAMED = 3
"""Rows that one message names at most."""


def hardware(train: TrainSpec) -> Iterator[Check]:
    """What some settings need beside the usual: a CUDA GPU, and a package."""
    wanted = [("lora.quantise: 4bit", "bitsandbytes")] if train.lora and train.lora.quantise == "4bit" else []
    if train.vllm and train.method != "sft":
        wanted.append(("vllm: true", "vllm"))
    for setting, package in wanted:
        missing = [] if torch.cuda.is_available() else ["a CUDA GPU"]
        missing += [] if find_spec(package) else [f"the package {package} (`setup.requirements`)"]
        if missing:
            message = f"`{setting}` needs {' and '.join(missing)}, which this instance lacks."
            yield Check(name="settings", status="fail", message=message)


def masked_rows(
    tokenizer: Any, rows: Sequence[Row], train: TrainSpec
) -> tuple[list[Masked], list[tuple[str, str]]]:
    """Each row as tokens and mask, and the rows that cannot be trained on with the reason."""
    masked, refused = [], []
    for row in rows:
        try:
            found = mask_chat(tokenizer, row.chat, train.assistant_only)
        except MaskError as exc:
            refused.append((row.name, str(exc)))
            continue
        if not any(found.counts):
            refused.append((row.name, "none of its tokens counts for the loss"))
        elif len(found.ids) > train.max_length:
            refused.append(
                (
                    row.name,
                    f"{len(found.ids)} tokens, above max_length {train.max_length}: its end would be cut",
                )
            )
        masked.append(found)
    return masked, refused


def supervised(
    tokenizer: Any, rows: Rows, train: TrainSpec, end_ids: Sequence[int]
) -> tuple[list[Masked], list[Check]]:
    """Tokens and masks of all rows, with what was found."""
    without = [(row.name, "no answer to learn from") for row in rows.rows if not row.answer]
    if without:
        return [], [_refused(without)]
    masked, refused = masked_rows(tokenizer, rows.rows, train)
    if refused:
        return masked, [_refused(refused)]
    return masked, [*_mask_checks(tokenizer, rows, masked, train, end_ids)]


def _refused(refused: Sequence[tuple[str, str]]) -> Check:
    named = "; ".join(f"{name}: {reason}" for name, reason in refused[:NAMED])
    more = f"; and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
    return Check(name="rows", status="fail", message=f"{named}{more}. Mend these rows, or leave them out.")


def _mask_checks(
    tokenizer: Any, rows: Rows, masked: Sequence[Masked], train: TrainSpec, end_ids: Sequence[int]
) -> Iterator[Check]:
    counted = sum(sum(m.counts) for m in masked)
    total = sum(len(m.ids) for m in masked)
    longest = max(len(m.ids) for m in masked)
    yield Check(
        name="rows",
        status="ok",
        message=f"{len(masked)} rows, {total} tokens, {counted} of them ({counted / total:.0%}) count; "
        f"the longest has {longest} of {train.max_length}",
    )
    if train.assistant_only and not has_marks(tokenizer):
        yield Check(
            name="mask",
            status="ok",
            message="the chat template does not mark the assistant's turns; they were found by rendering. "
            "What counts is exactly the answers and the token that ends each",
        )
    if train.assistant_only:
        open_ended = [
            row.name for row, m in zip(rows.rows, masked, strict=True) if not ends_turn(tokenizer, m, end_ids)
        ]
        if open_ended:
            yield Check(
                name="end of turn",
                status="warn",
                message=f"{open_ended[0]} and {len(open_ended) - 1} more: the last token that counts does "
                "not end a turn, so the model may not learn to stop",
            )


def lengths(masked: Sequence[Masked], rows: Rows, window: int | None, answer_limit: int) -> Iterator[Check]:
    """Rows that the model cannot read to their end, and answers that the evaluation would cut off.

    window: tokens that the model reads; answer_limit: tokens that the evaluation lets an answer have.
    """
    longest = max(range(len(masked)), key=lambda i: len(masked[i].ids), default=None)
    if longest is None:
        return
    size = len(masked[longest].ids)
    if window is not None and size > window:
        name = rows.rows[longest].name
        message = f"{name}: {size} tokens, and the model reads {window}: its end would be lost"
        yield Check(name="rows", status="fail", message=f"{message}. Mend this row, or leave it out.")
    cut = sum(_last_turn(m) > answer_limit for m in masked)
    if cut:
        message = f"{cut} of {len(masked)} answers are longer than the {answer_limit} tokens of "
        fix = "generate.max_tokens: the evaluation would cut off what was learned. Raise it."
        yield Check(name="answer length", status="warn", message=message + fix)


def _last_turn(masked: Masked) -> int:
    """Tokens of the last answer, its end included."""
    counted = len(masked.counts)
    while counted and not masked.counts[counted - 1]:
        counted -= 1
    start = counted
    while start and masked.counts[start - 1]:
        start -= 1
    return counted - start


def same_prompt(task: Task, spec: TaskSpec, rows: Rows, force: bool) -> Check:
    """What is trained goes through the chat template, with a system prompt or without; the evaluation must
    ask like that too."""
    name = "prompt"
    if template_of(task, spec) == "none":
        message = "the rows are trained through the chat template, and the evaluation asks in plain text"
        found = Check(name=name, status="fail", message=f"{message}. Set `task.template: chat`, or force it.")
        return unless_forced(found, force)
    # Rows of a question are asked with the task's own words, its system prompt included.
    systems = {_system(row) for row in rows.rows if row.fields.keys() & {"messages", "prompt"}}
    if systems - {spec.system}:
        trained = "several ones" if len(systems) > 1 else repr(next(iter(systems)))
        message = f"the rows' system prompt is {trained}, the evaluation's {spec.system!r}"
        return Check(name=name, status="warn", message=f"{message}: answers may differ by that alone.")
    return Check(name=name, status="ok", message="the rows and the evaluation are asked alike")


def _system(row: Row) -> str | None:
    return next((turn["content"] for turn in row.chat if turn["role"] == "system"), None)


def markers(tokenizer: Any, rows: Rows) -> Check:
    """Chat markers in the rows must be single tokens of this tokenizer."""
    texts = ["\n".join(turn["content"] for turn in row.chat) for row in rows.rows]
    samples = [Sample(row.name, "", "") for row in rows.rows]
    return preflight.markers(tokenizer, preflight.Prompts(samples, texts, [0] * len(texts)))


def format_contract(
    task: Task, spec: TaskSpec, samples: Sequence[Sample], answers: Sequence[str], force: bool
) -> list[Check]:
    """Whether what is trained is what the evaluation asks for and reads."""
    breaches = contract.breaches(task, spec, samples, answers)
    if not breaches:
        return [Check(name="format", status="ok", message="training answers and the evaluation agree")]
    status = "warn" if force else "fail"
    return [
        Check.model_validate(
            {
                "name": "format",
                "status": status,
                "message": f"{breach}. Train and test on one format"
                + ("; forced." if force else ", or force it (`force: true`)."),
            }
        )
        for breach in breaches
    ]


def shown(tokenizer: Any, rows: Rows, masked: Sequence[Masked]) -> list[Seen]:
    """The first, the longest and the last row, token by token."""
    longest = max(range(len(masked)), key=lambda i: len(masked[i].ids))
    chosen = list(dict.fromkeys([0, longest, len(masked) - 1]))[:SHOWN_ROWS]
    return [
        Seen(
            row=rows.rows[i].name,
            pieces=[
                (tokenizer.decode([id]), counts)
                for id, counts in list(zip(masked[i].ids, masked[i].counts, strict=True))[:SHOWN_TOKENS]
            ],
            truncated=len(masked[i].ids) > SHOWN_TOKENS,
        )
        for i in chosen
    ]


def contract_of(tokenizer: Any, rows: Rows, task: Task, spec: TaskSpec) -> Contract:
    """What the checkpoints say of themselves, for the evaluations to come."""
    texts = [tokenizer.apply_chat_template(row.chat, tokenize=False) for row in rows.rows[:ANSWERS]]
    systems = {turn["content"] for row in rows.rows for turn in row.chat if turn["role"] == "system"}
    return Contract(
        task=task.name,
        line=task.answer_format(spec).line,
        answers=rows.answers[:ANSWERS],
        markers=sorted({marker for text in texts for marker in tokens.markers_in(text)}),
        template_sha=text_sha(str(tokenizer.chat_template)),
        system=systems.pop() if len(systems) == 1 else None,
    )
