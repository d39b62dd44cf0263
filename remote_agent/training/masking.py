"""A chat as the model will see it in training: its tokens, and which of them count for the loss.

Only what the assistant says counts, with the token that ends its turn. Where the chat template marks that
itself, its marks are taken; else the assistant's turns are found by rendering the chat turn by turn. The
same tokens go into the trainer and are shown to the user: there is no second way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Message = dict[str, str]

IGNORED = -100
"""A label that does not count, by PyTorch's cross entropy."""


class MaskError(Exception):
    """A chat cannot be turned into tokens and a mask that are right; the message says why."""


@dataclass(frozen=True, slots=True)
class Masked:
    """One chat. `ids` and `counts` have one entry a token."""

    ids: list[int]
    counts: list[bool]
    repaired: bool
    """The template has no marks of its own; the turns were found by rendering."""

    @property
    def labels(self) -> list[int]:
        return [id if counts else IGNORED for id, counts in zip(self.ids, self.counts, strict=True)]


def has_marks(tokenizer: Any) -> bool:
    """Whether the chat template says itself what the assistant has said."""
    template = tokenizer.chat_template
    return isinstance(template, str) and "{% generation" in template.replace("{%-", "{%")


def mask_chat(tokenizer: Any, messages: Sequence[Message], assistant_only: bool = True) -> Masked:
    """Tokens and mask of a whole chat. Raises MaskError.

    assistant_only: False counts every token, the prompt's as well.
    """
    if not any(message["role"] == "assistant" for message in messages):
        raise MaskError("the chat has no turn of the assistant")
    text = _render(tokenizer, messages, cue=False)
    ids, offsets = _tokens(tokenizer, text)
    if not assistant_only:
        return Masked(ids, [True] * len(ids), repaired=False)
    if has_marks(tokenizer):
        return Masked(ids, _marked(tokenizer, messages, ids), repaired=False)
    spans = _spans(tokenizer, messages, text)
    return Masked(ids, [_inside(offset, spans) for offset in offsets], repaired=True)


def _render(tokenizer: Any, messages: Sequence[Message], cue: bool) -> str:
    try:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=cue)
    except Exception as exc:
        # Templates are programs of the model's makers: whatever they raise, this chat cannot be rendered.
        raise MaskError(f"the chat template does not render it: {exc}") from exc
    return str(text)


def _tokens(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    if not tokenizer.is_fast:
        raise MaskError("this tokenizer does not say where its tokens lie in the text; a fast one is needed")
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(encoded["input_ids"]), [tuple(offset) for offset in encoded["offset_mapping"]]


def _marked(tokenizer: Any, messages: Sequence[Message], ids: list[int]) -> list[bool]:
    encoded = tokenizer.apply_chat_template(
        list(messages), return_dict=True, return_assistant_tokens_mask=True, add_generation_prompt=False
    )
    if list(encoded["input_ids"]) != ids:
        raise MaskError("its tokens differ between rendering and encoding at once")
    return [bool(counts) for counts in encoded["assistant_masks"]]


def _spans(tokenizer: Any, messages: Sequence[Message], text: str) -> list[tuple[int, int]]:
    """Where in the text the assistant's turns are, from the end of the cue to the end of the turn's mark."""
    spans = []
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _render(tokenizer, messages[:at], cue=True)
        whole = _render(tokenizer, messages[: at + 1], cue=False)
        if not (text.startswith(before) and text.startswith(whole) and len(before) < len(whole)):
            raise MaskError(
                f"the chat template changes what stands before turn {at + 1} when that turn is added, so the "
                "assistant's part cannot be told from the rest; give the tokenizer a template with "
                "{% generation %} marks"
            )
        # Line ends after the turn's mark are the template's; at generation the turn has ended before them.
        spans.append((len(before), len(whole.rstrip())))
    return spans


def _inside(offset: tuple[int, int], spans: Sequence[tuple[int, int]]) -> bool:
    start, end = offset
    return start < end and any(first <= start and end <= last for first, last in spans)


def ends_turn(tokenizer: Any, masked: Masked, end_ids: Sequence[int]) -> bool:
    """Whether the last token that counts ends a turn; a model that never learns it does not stop."""
    counted = [id for id, counts in zip(masked.ids, masked.counts, strict=True) if counts]
    return bool(counted) and counted[-1] in {*end_ids, tokenizer.eos_token_id}
