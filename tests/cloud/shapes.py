"""Short words for JSON Schema: how a simulated cloud says what it takes. Each says it by itself, without the
official document, which then judges both sides."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

Shape = dict[str, Any]


def text(pattern: str = "", most: int = 0, least: int = 0) -> Shape:
    shape: Shape = {"type": "string", "minLength": least}
    if pattern:
        shape["pattern"] = pattern
    if most:
        shape["maxLength"] = most
    return shape


def one_of(*values: Any) -> Shape:
    return {"enum": [*values]}


def number(least: float | None = None, most: float | None = None, whole: bool = False) -> Shape:
    shape: Shape = {"type": "integer" if whole else "number"}
    if least is not None:
        shape["minimum"] = least
    if most is not None:
        shape["maximum"] = most
    return shape


def many(of: Shape, least: int = 0, most: int | None = None) -> Shape:
    shape = {"type": "array", "items": of, "minItems": least}
    return shape if most is None else {**shape, "maxItems": most}


def table(required: str = "", **fields: Shape) -> Shape:
    """An object; `required` names fields, split by spaces."""
    return {"type": "object", "properties": fields, "required": required.split()}


def problem(shape: Shape, value: Any) -> str:
    """The first thing that is wrong with the value; empty: nothing."""
    errors = sorted(Draft202012Validator(shape).iter_errors(value), key=lambda e: e.json_path)
    return f"{errors[0].json_path}: {errors[0].message[:200]}" if errors else ""
