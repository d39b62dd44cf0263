"""Judging function calls: exact arguments, their F1, and the rules of the Berkeley leaderboard (BFCL).

Patil et al., "The Berkeley Function Calling Leaderboard (BFCL): From Tool Use to Agentic Evaluation of
Large Language Models", ICML 2025; the rules are those of its AST checker (v4). A right call lists for each
parameter the values that are accepted; the empty text among them says that the parameter may be left out.
Two accidents of that checker are not copied: true passing for 1 in a list, and [] for a left-out parameter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from remote_agent.tasks.base import Sample
from remote_agent.tasks.calls import Call, calls_of, is_json
from remote_agent.tasks.reading import Reading

OMITTED = ""
"""Among accepted values: the parameter may be left out."""

_LOOSE = re.compile(r"[ ,./\-_*^]")
_TYPES: dict[str, type] = {
    "integer": int, "int": int, "long": int, "short": int, "byte": int,
    "float": float, "number": float, "double": float,
    "string": str, "str": str, "char": str, "any": str,
    "boolean": bool, "bool": bool,
    "array": list, "list": list, "tuple": list,
    "dict": dict, "object": dict, "hashmap": dict,
}  # fmt: skip

Accepted = dict[str, list[Any]]


def wanted(sample: Sample) -> list[tuple[str, Accepted]]:
    """The right calls: names, and accepted values by parameter."""
    found: list[tuple[str, Accepted]] = []
    for call in json.loads(sample.gold):
        if "name" in call:
            arguments = call.get("arguments", {})
            found.append((call["name"], {key: [value] for key, value in arguments.items()}))
        else:
            ((name, accepted),) = call.items()
            found.append((name, accepted))
    return found


def has_alternatives(sample: Sample) -> bool:
    """Whether the right calls are given as accepted values, in the leaderboard's form."""
    return any("name" not in call for call in json.loads(sample.gold))


def is_right(reading: Reading, sample: Sample) -> bool:
    """By the leaderboard's rules where the data has its form, else names and arguments exactly."""
    given = calls_of(reading)
    return ast_rules(given, sample) if has_alternatives(sample) else exact(given, sample)


def metrics(text: str, reading: Reading | None, sample: Sample) -> Mapping[str, float]:
    """`json_valid`, `name_match`, `args_exact`, `args_f1` and `ast`, each 0 to 1; a sample without a reading
    has none of them. Declining rightly counts as a match, and as valid."""
    if reading is None:
        return dict.fromkeys(("json_valid", "name_match", "args_exact", "args_f1", "ast"), 0.0)
    given, right = calls_of(reading), wanted(sample)
    return {
        "json_valid": float(not given or is_json(text[slice(*reading.span)])),
        "name_match": float(sorted(c.name for c in given) == sorted(name for name, _ in right)),
        "args_exact": float(exact(given, sample)),
        "args_f1": _f1(given, right),
        "ast": float(ast_rules(given, sample)),
    }


def exact(given: Sequence[Call], sample: Sample) -> bool:
    """The same calls in any order: equal names, and arguments that are equal as JSON, or accepted."""
    return _matched(given, wanted(sample), _same_call)


def _same_call(call: Call, name: str, accepted: Accepted) -> bool:
    if call.name != name or not set(call.arguments) <= set(accepted):
        return False
    for key, values in accepted.items():
        if key not in call.arguments:
            if OMITTED not in values:
                return False
        elif not any(_accepts(value, call.arguments[key]) for value in values):
            return False
    return True


def _accepts(value: Any, given: Any) -> bool:
    """Equal as JSON; of an accepted object each key lists its own accepted values."""
    if (
        isinstance(value, dict)
        and isinstance(given, dict)
        and all(isinstance(v, list) for v in value.values())
    ):
        inner = Call("", given)
        return _same_call(inner, "", value) or _equal(value, given)
    return _equal(value, given)


def _equal(a: Any, b: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0, true does not equal 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _f1(given: Sequence[Call], right: Sequence[tuple[str, Accepted]]) -> float:
    """F1 over (function, parameter, value); a call's right partner is the first of its name not yet taken."""
    left = list(right)
    hits = 0
    needed = sum(OMITTED not in values for _, accepted in right for values in accepted.values())
    said = sum(len(call.arguments) for call in given)
    optional = 0
    for call in given:
        at = next((i for i, (name, _) in enumerate(left) if name == call.name), None)
        if at is None:
            continue
        accepted = left.pop(at)[1]
        for key, value in call.arguments.items():
            if key in accepted and any(_accepts(other, value) for other in accepted[key]):
                hits += 1
                optional += OMITTED in accepted[key]
    if not said and not needed:
        return float(sorted(c.name for c in given) == sorted(name for name, _ in right))
    return 2 * hits / (said + needed + optional)


def _matched(given: Sequence[Call], right: Sequence[tuple[str, Accepted]], same: Any) -> bool:
    """Whether calls and right calls go into pairs, taken one after the other as they first fit."""
    left = list(right)
    if len(given) != len(left):
        return False
    for call in given:
        at = next((i for i, (name, accepted) in enumerate(left) if same(call, name, accepted)), None)
        if at is None:
            return False
        left.pop(at)
    return True


# --- the leaderboard's rules ---------------------------------------------------------------------------


def ast_rules(given: Sequence[Call], sample: Sample) -> bool:
    """The verdict of the leaderboard's checker: names, required and unexpected parameters, types, values."""
    tools = {tool["name"]: tool for tool in map(description, sample.data.get("tools", []))}

    def same(call: Call, name: str, accepted: Accepted) -> bool:
        return _ast_call(call, name, accepted, tools.get(name, {}).get("parameters", {}))

    return _matched(given, wanted(sample), same)


def description(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A function's description, out of OpenAI's wrapping if it has one."""
    inner = tool.get("function")
    return inner if isinstance(inner, dict) else tool


def _ast_call(call: Call, name: str, accepted: Accepted, schema: Mapping[str, Any]) -> bool:
    # Names with dots are written with underscores where an interface allows no dots.
    if call.name.replace(".", "_") != name.replace(".", "_"):
        return False
    if any(key not in call.arguments for key in schema.get("required", [])):
        return False
    properties = schema.get("properties", {})
    for key, value in call.arguments.items():
        if key not in accepted or (properties and key not in properties):
            return False
        if not _fits(value, accepted[key], properties.get(key, {})):
            return False
    return all(key in call.arguments or OMITTED in values for key, values in accepted.items())


def _fits(value: Any, accepted: list[Any], schema: Mapping[str, Any]) -> bool:
    kind = _TYPES.get(str(schema.get("type", "")).lower())
    if kind is float and type(value) is int:
        value = float(value)
    stated = next((type(a) for a in accepted if a != OMITTED), None)
    if kind is not None and type(value) is not kind and type(value) is not stated:
        return False
    inner = _TYPES.get(str((schema.get("items") or {}).get("type", "")).lower())
    if kind is list and isinstance(value, list) and inner and not _items_fit(value, inner, accepted):
        return False
    # A variable's name stands where another type is declared: it must be that name.
    same = _equal if kind is not None and stated not in (None, kind) else _ast_equal
    return any(same(value, other) for other in accepted)


def _items_fit(values: list[Any], kind: type, accepted: list[Any]) -> bool:
    """Whether the items have the declared type, or that of an accepted list's first item."""
    for other in accepted:
        first = next(map(type, other), None) if isinstance(other, list) else None
        if not isinstance(other, list) or all(type(v) in (kind, first) for v in values):
            return True
    return False


def _ast_equal(value: Any, accepted: Any) -> bool:
    """Texts without case and signs, also in a list; objects by their accepted values; else equal."""
    if isinstance(value, list) and isinstance(accepted, list):
        return len(value) == len(accepted) and all(
            _ast_item(v, a) for v, a in zip(value, accepted, strict=True)
        )
    if isinstance(value, dict) and isinstance(accepted, dict):
        return _ast_object(value, accepted)
    return _loosely_equal(value, accepted)


def _ast_object(value: Mapping[str, Any], accepted: Mapping[str, Any]) -> bool:
    if any(key not in accepted for key in value):
        return False
    for key, values in accepted.items():
        choices = values if isinstance(values, list) else [values]
        if key not in value:
            if OMITTED not in choices:
                return False
        elif not any(_loosely_equal(value[key], choice) for choice in choices):
            return False
    return True


def _ast_item(value: Any, accepted: Any) -> bool:
    if isinstance(value, dict) and isinstance(accepted, dict):
        return _ast_object(value, accepted)
    return _loosely_equal(value, accepted)


def _loosely_equal(value: Any, accepted: Any) -> bool:
    if isinstance(value, str) and isinstance(accepted, str):
        return _loose(value) == _loose(accepted)
    return _equal(value, accepted)


def _loose(text: str) -> str:
    return _LOOSE.sub("", text).lower().replace("'", '"')
