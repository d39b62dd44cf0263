"""What is checked before the first step: the rows as the model will see them, and whether training and
evaluation speak of the same thing. Each failure names the row and the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from remote_agent import preflight
from remote_agent.checkpoint_contract import Contract, text_sha
from remote_agent.preflight import tokens
from remote_agent.protocol import Check, TaskSpec
from remote_agent.tasks import contract
from remote_agent.tasks.base import Sample, Task
from remote_agent.train_protocol import Seen, TrainSpec
from remote_agent.training.masking import Masked, MaskError, ends_turn, has_marks, mask_chat
from remote_agent.training.rows import Row, Rows

SHOWN_ROWS = 3
SHOWN_TOKENS = 400
ANSWERS = 50
"""Answers that a contract holds."""
NAMED = 3
"""Rows that one message names at most."""


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
