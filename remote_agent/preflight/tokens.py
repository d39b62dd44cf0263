"""Whether the tokenizer, its chat template and the model belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from remote_agent.preflight.common import Prompts, check
from remote_agent.protocol import Check

_MARKER = re.compile(r"<\|[^|<>\s]{1,40}\|>|\[/?[A-Z_]{3,20}\]|<</?SYS>>|</?(?:start|end)_of_turn>")
_SURE_MARKER = re.compile(r"<\|.+\|>|</?(?:start|end)_of_turn>")
PADDED_ROWS = 2048
"""Models round their embeddings up by about so much; more rows than that belong to another tokenizer."""
NAMED = 5
"""Tokens that are named in a finding."""


def template(tokenizer: Any) -> Check:
    """A chat template must be there, and open the assistant's turn when asked to."""
    if not getattr(tokenizer, "chat_template", None):
        message = "The tokenizer has no chat template: this seems to be a base model"
        fix = "name the chat model, or set `task.template: none`"
        return check("chat template", "fail", f"{message}. Next: {fix}.")
    return check("chat template", "ok", "The tokenizer has one.")


def not_rendered(error: Exception, system: str | None) -> str:
    """What to say of a template that raises; some take no system prompt, or no few-shots as turns."""
    said = (str(error).splitlines() or [type(error).__name__])[0]
    fix = "look at it on the model's card, or set `task.template: none`"
    if system is not None and "system" in said.lower():
        fix = "leave `task.system` out"
    return f"The chat template does not render: {said}. Next: {fix}."


def cue(tokenizer: Any, rendered: Prompts) -> Check:
    """Called after rendering succeeded, so a template exists; here it must also open the assistant's turn."""
    turn = [{"role": "user", "content": "x"}]
    bare = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=False)
    cued = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    if cued == bare and not cued.rstrip().endswith("[/INST]"):
        message = "The chat template does not open the assistant's turn: answers may continue the question."
        return check("generation prompt", "warn", f"{message} Next: compare it with the model's card.")
    ending = rendered.texts[0][-24:]
    return check("generation prompt", "ok", f"Rendered with it; each prompt ends in {ending!r}.")


def begin_token(tokenizer: Any, text: str) -> Check:
    """Prompts are tokenized without special tokens, so the template must have written the begin token."""
    begin = tokenizer.bos_token_id
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    adds = tokenizer("x")["input_ids"][:1] == [begin] and begin is not None
    if begin is not None and ids[:2] == [begin, begin]:
        message = f"Prompts begin with {tokenizer.bos_token} twice. Next: take one out of the chat template."
        return check("begin token", "fail", message)
    if adds and ids[:1] != [begin]:
        message = f"The tokenizer adds {tokenizer.bos_token}, but the chat template leaves it out."
        return check("begin token", "warn", f"{message} Next: add it to the template if the model needs it.")
    return check("begin token", "ok", "No begin token is doubled or missing.")


def markers_in(text: str) -> list[str]:
    """What looks like a chat marker, in order."""
    return _MARKER.findall(text)


def markers(tokenizer: Any, rendered: Prompts) -> Check:
    """Chat markers must be single tokens: a marker in pieces means nothing to the model."""
    seen = {m: s for s, t in zip(rendered.samples, rendered.texts, strict=True) for m in markers_in(t)}
    single = []
    for marker, sample in sorted(seen.items()):
        text = in_pieces(tokenizer, marker)
        if not text:
            single.append(marker)
            continue
        if marker in sample.question:
            return check("chat markers", "warn", f"{text}. It comes from the question of {sample.id}.")
        if _SURE_MARKER.fullmatch(marker):
            fix = "Next: use the tokenizer and the chat template that belong to the model"
            return check("chat markers", "fail", f"{text}. {fix}.")
        return check("chat markers", "warn", f"{text}; some models were trained so. Check the model's card.")
    return check("chat markers", "ok", f"Single tokens: {' '.join(single) or 'none are used'}.")


def trained_markers(tokenizer: Any, trained: Iterable[str]) -> Check:
    """The same for the markers that the training data held."""
    name = "trained markers"
    broken = [text for marker in sorted(set(trained)) if (text := in_pieces(tokenizer, marker))]
    if broken:
        fix = "Next: evaluate with the tokenizer that was trained with, or train again"
        return check(name, "fail", f"In the training data {broken[0]}. {fix}.")
    return check(name, "ok", f"Single tokens: {' '.join(sorted(set(trained))) or 'none were used'}.")


def in_pieces(tokenizer: Any, marker: str) -> str:
    """How a marker falls apart, in words; empty where it is one token."""
    ids = tokenizer(marker, add_special_tokens=False)["input_ids"]
    if len(ids) == 1:
        return ""
    pieces = " ".join(tokenizer.convert_ids_to_tokens(ids))
    return f"{marker} is no token of this tokenizer, it falls into {len(ids)} pieces ({pieces})"


def added_tokens(tokenizer: Any, rows: int | None, texts: Sequence[str] = ()) -> Check:
    """Each added token must come out as itself: alone, between letters, and in the prompts that hold it.

    A token that was added to the tokenizer and not to the model, or that the tokenizer normalises before it
    looks for it, is silently something else.
    """
    name, added = "added tokens", dict(tokenizer.get_added_vocab())
    for token, number in sorted(added.items(), key=lambda item: item[1]):
        if rows is not None and number >= rows:
            message = f"The token {token} has the number {number}, the model embeds {rows}"
            return check(name, "fail", f"{message}. Next: resize the model's embeddings, or train again.")
        alone = tokenizer(token, add_special_tokens=False)["input_ids"]
        if alone != [number]:
            pieces = " ".join(tokenizer.convert_ids_to_tokens(alone))
            message = f"The added token {token!r} is read as {len(alone)} tokens ({pieces})"
            return check(name, "fail", f"{message}. Next: add it with normalized=False.")
        if number not in tokenizer(f"a{token}b", add_special_tokens=False)["input_ids"]:
            lost = _lost(tokenizer, token, number, texts)
            where = "in a prompt that holds it" if lost else "between letters"
            message = f"The added token {token!r} is not found {where}"
            fix = "add it with normalized=False and single_word=False"
            return check(name, "fail" if lost else "warn", f"{message}. Next: {fix}.")
        back = tokenizer.decode([number], skip_special_tokens=False)
        if back.strip() != token.strip():
            message = f"The added token {token!r} decodes to {back!r}"
            return check(name, "fail", f"{message}. Next: mend the tokenizer.")
    return check(name, "ok", f"{len(added)} encode as one token and decode back: {_some(list(added))}.")


def _lost(tokenizer: Any, token: str, number: int, texts: Sequence[str]) -> bool:
    """Whether the first prompt that holds the token does not hold it once it is tokenized."""
    text = next((text for text in texts if token in text), None)
    return text is not None and number not in tokenizer(text, add_special_tokens=False)["input_ids"]


def padding(tokenizer: Any) -> Check:
    if tokenizer.pad_token_id is None:
        message = "The tokenizer has neither a pad token nor an end token. Next: set one in its config."
        return check("padding", "fail", message)
    if tokenizer.padding_side != "left":
        message = "Padding on the right spoils batched answers. Set padding_side to left."
        return check("padding", "fail", message)
    return check("padding", "ok", f"On the left, with {tokenizer.pad_token}.")


def vocabulary(tokens: int, rows: int | None) -> Check:
    """`rows`: of the embedding. A few more than tokens are there to round it up."""
    if rows is not None and tokens > rows:
        message = (
            f"The tokenizer has {tokens} tokens, the model embeds {rows}: some prompts would crash it. "
            "Next: use the tokenizer that belongs to the model."
        )
        return check("vocabulary", "fail", message)
    if rows is not None and rows - tokens > PADDED_ROWS:
        message = f"The model embeds {rows} tokens, the tokenizer has {tokens}: it may be another model's"
        return check("vocabulary", "warn", f"{message}. Next: compare it with the model's card.")
    return check("vocabulary", "ok", f"{tokens} tokens, {rows or 'an unknown number of'} embeddings.")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return " ".join(names[:NAMED]) + more if names else "there are none"
