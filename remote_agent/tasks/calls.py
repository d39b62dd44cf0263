"""Reading function calls out of a completion, without ever evaluating it.

Three notations: Hermes' `<tool_call>` blocks, JSON objects with a name and arguments, and Python's `f(a=1)`.
The last one is parsed with `ast.parse`, and its tree is walked for literals only. How calls are judged is in
`call_rules.py`.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from remote_agent.tasks.base import Sample
from remote_agent.tasks.reading import Reading
from remote_agent.tasks.spots import json_values

MAX_PYTHON = 20_000
"""Characters; longer Python is not read."""
MAX_DEPTH = 50
"""Nesting beyond this is no call."""
LONG = 2000
"""Characters of a reading that are shown."""
NAMES = ("name", "function_name", "tool_name", "tool")
ARGUMENTS = ("arguments", "parameters", "args", "input", "kwargs")

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_FENCE = re.compile(r"```[a-z_]*[ \t]*\n?")
_CALL_SIGN = re.compile(
    r"<tool_call>|</tool_call>|<function|[\"'](?:name|function|tool_calls|arguments|parameters)[\"']\s*:"
    r"|\w\(\s*\w+\s*="
)
_PYTHON = re.compile(r"\[?[ \t\r\n]*[A-Za-z_][\w.]*[ \t]*\(")


class Unreadable(ValueError):
    """It is not a call, or not one of literals."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function's name and its arguments, JSON values by name."""

    name: str
    arguments: dict[str, Any]


def tool_call(text: str, _sample: Sample) -> Reading | None:
    """The calls in all `<tool_call>` blocks; one that is not closed is read and marked."""
    calls, marks, start, at = list[Call](), list[str](), -1, 0
    while (opened := text.find(_OPEN, at)) >= 0:
        start = opened if start < 0 else start
        inside = opened + len(_OPEN)
        closed, again = text.find(_CLOSE, inside), text.find(_OPEN, inside)
        if closed < 0 or 0 <= again < closed:
            marks.append("tool_call not closed")
            closed = again if again >= 0 else len(text)
            at = closed
        else:
            at = closed + len(_CLOSE)
        try:
            calls += _block(text[inside:closed])
        except Unreadable:
            return None
    return _reading(text, calls, (start, at), tuple(dict.fromkeys(marks))) if calls else None


def json_calls(text: str, _sample: Sample) -> Reading | None:
    """The calls in the JSON objects and lists of the text, fenced or bare."""
    calls, spans = list[Call](), list[tuple[int, int]]()
    for value, span in json_values(text):
        try:
            found = list(_from_json(value))
        except Unreadable:
            continue
        if found:
            calls += found
            spans.append(span)
    if not calls:
        return None
    start, end = spans[0][0], spans[-1][1]
    said = text[:start] + text[end:]
    marks = ("text around the call",) if _FENCE.sub("", said).strip("` \n\t\r") else ()
    return _reading(text, calls, (start, end), marks)


def python_calls(text: str, _sample: Sample) -> Reading | None:
    """The calls in Python's notation, `[f(a=1), g(b="x")]`: the whole reply, or a fenced block of it."""
    parts = text.split("```")
    blocks = [re.sub(r"^[a-z_]+\n", "", part) for part in parts[1::2]] if len(parts) > 2 else [text]
    for block in blocks[:20]:
        stripped = block.strip(" \n\t\r`")
        if len(stripped) > MAX_PYTHON or not _PYTHON.match(stripped):
            continue
        try:
            calls, marks = parse_python(stripped)
        except Unreadable:
            continue
        at = text.find(stripped)
        return _reading(text, calls, (at, at + len(stripped)), marks)
    return None


def no_call(text: str, sample: Sample) -> Reading | None:
    """A reply without any sign of a call: the model declined. An unreadable call is not that."""
    if not text.strip() or _CALL_SIGN.search(text) or _opens_a_call(text, sample):
        return None
    return Reading("", (0, 0), "[]", ("no call",))


def _opens_a_call(text: str, sample: Sample) -> bool:
    """Whether a function that was offered is named with a bracket after it, read or not."""
    offered = sample.data.get("tools")
    names = (
        [tool.get("name") for tool in offered if isinstance(tool, dict)] if isinstance(offered, list) else []
    )
    return any(isinstance(name, str) and name and f"{name}(" in text for name in names)


def without_cut_call(text: str) -> str:
    """A cut-off text, or nothing where a `<tool_call>` was still open: who knows what would have followed."""
    return "" if text.rfind(_OPEN) > text.rfind(_CLOSE) else text


def value_of(calls: list[Call]) -> str:
    """Calls as one text that can be compared: JSON with sorted keys."""
    return json.dumps([[c.name, c.arguments] for c in calls], sort_keys=True, ensure_ascii=False)


def calls_of(reading: Reading) -> list[Call]:
    """The calls of a reading."""
    return [Call(name, arguments) for name, arguments in json.loads(str(reading.value))]


def _reading(text: str, calls: list[Call], span: tuple[int, int], marks: tuple[str, ...]) -> Reading:
    try:
        value = value_of(calls)
    except (ValueError, RecursionError):  # a surrogate, or nesting without end
        return Reading(text[slice(*span)][:LONG], span, "[]", (*marks, "call that cannot be kept"))
    return Reading(text[slice(*span)][:LONG], span, value, marks)


# --- JSON ----------------------------------------------------------------------------------------------


def _block(block: str) -> list[Call]:
    """The calls of one `<tool_call>` block: JSON, or a Python literal as small models write it."""
    stripped = block.strip().removeprefix("```json").strip("` \n\t\r")
    try:
        value = json.loads(stripped)
    except (ValueError, RecursionError):
        value = _literal(_parsed(stripped))
    found = list(_from_json(value))
    if not found:
        raise Unreadable("no call")
    return found


def is_json(text: str) -> bool:
    """Whether the calls of a reading are written as valid JSON: each block, or each object."""
    blocks = [part.partition(_CLOSE)[0] for part in text.split(_OPEN)[1:]] or [_FENCE.sub("", text)]
    try:
        for block in blocks:
            json.loads(block.strip("` \n\t\r"))
    except (ValueError, RecursionError):
        return False
    return True


def _from_json(value: Any) -> Iterator[Call]:
    """The calls that a JSON value describes. Raises Unreadable for one that is half a call."""
    if isinstance(value, list):
        for item in value:
            yield from _from_json(item)
        return
    if not isinstance(value, dict):
        return
    for inner in ("tool_calls", "function_calls", "calls"):
        if isinstance(value.get(inner), list):
            yield from _from_json(value[inner])
            return
    if isinstance(value.get("function"), dict):
        yield from _from_json(value["function"])
        return
    name = next((value[key] for key in (*NAMES, "function") if isinstance(value.get(key), str)), None)
    if name is None:
        return
    given: Any = next((value[key] for key in ARGUMENTS if key in value), {})
    if isinstance(given, str):  # OpenAI's form: the arguments are JSON in a text
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise Unreadable("arguments that are not JSON") from None
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise Unreadable("arguments that are no object")
    yield Call(name, given)


# --- Python --------------------------------------------------------------------------------------------


def parse_python(text: str) -> tuple[list[Call], tuple[str, ...]]:
    """The calls of `f(a=1)` or `[f(a=1), …]`, and marks. Raises Unreadable; nothing is evaluated."""
    node = _parsed(text)
    nodes = node.elts if isinstance(node, ast.List | ast.Tuple) else [node]
    calls, marks = [], list[str]()
    for item in nodes:
        if not isinstance(item, ast.Call):
            raise Unreadable("not a call")
        arguments = {f"*{at}": _literal(value) for at, value in enumerate(item.args)}
        if item.args:
            marks.append("positional arguments")
        for keyword in item.keywords:
            if keyword.arg is None or keyword.arg in arguments:
                raise Unreadable("arguments that cannot be told apart")
            arguments[keyword.arg] = _literal(keyword.value)
        calls.append(Call(_dotted(item.func), arguments))
    if not calls:
        raise Unreadable("no call")
    return calls, tuple(dict.fromkeys(marks))


def _parsed(text: str) -> ast.expr:
    if len(text) > MAX_PYTHON:
        raise Unreadable("too long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `1is 2` and the like are the model's, not ours
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise Unreadable(str(exc)) from None


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise Unreadable("a function without a name")
    return ".".join([node.id, *reversed(parts)])


def _literal(node: ast.expr, depth: int = 0) -> Any:
    """The JSON value of a literal: text, number, true/false/none, list, object. Raises Unreadable."""
    if depth > MAX_DEPTH:
        raise Unreadable("nested too deeply")
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool | None):
        return node.value
    if isinstance(node, ast.Name) and node.id in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _literal(node.operand, depth + 1)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unreadable("a sign before what is no number")
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item, depth + 1) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {
            _key(key, depth): _literal(value, depth + 1)
            for key, value in zip(node.keys, node.values, strict=True)
        }
    raise Unreadable(f"{type(node).__name__} is no literal")


def _key(node: ast.expr | None, depth: int) -> str:
    key = None if node is None else _literal(node, depth + 1)
    if not isinstance(key, str):
        raise Unreadable("an object's key that is no text")
    return key
