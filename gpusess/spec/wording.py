"""Pydantic's errors → sentences in the user's language: what was found, what is allowed, the nearest key.

What stands under `env` and `secrets` may be a secret by mistake, so it is described and never shown.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gpusess.spec.document import Document, Loc, printable
from gpusess.spec.models import Allowed

PRIVATE = ("env", "secrets")


def sentence(document: Document, root: type[BaseModel], error: Mapping[str, Any]) -> tuple[Loc, str]:
    """The place and the sentence of one of `ValidationError.errors()`."""
    loc: Loc = tuple(step for step in error["loc"] if step != "[key]")
    if isinstance(loc[-1], int) and not isinstance(document.at(*loc[:-1]), list):
        loc = loc[:-1]  # one of something may stand without the list around it
    if error["type"] == "extra_forbidden":
        return loc, _unknown(root, loc)
    known = _allowed(root, loc, error)
    if isinstance(document.at(*loc[:-1]), str | int | float):
        loc = loc[:-1]  # a plain value may stand for a mapping
    if error["type"] == "missing":
        return loc, f"missing; allowed: {known}"
    text = f"found {found(document, loc)}; allowed: {known}"
    value = document.at(*loc)
    if isinstance(value, str) and loc[:1] not in {(name,) for name in PRIVATE}:
        near = nearest(value, known.split(", "))
        return loc, text + (f"; did you mean '{near}'?" if near and near != value else "")
    return loc, text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    by_lower = {name.lower(): name for name in known}
    match = difflib.get_close_matches(word[:80].lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[match[0]] if match else None


def found(document: Document, loc: Loc) -> str:
    """What stands at a place: a scalar as it is written, unless it may be a secret."""
    value = document.at(*loc)
    if value is None and not document.raw.get(loc):
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if loc[:1] in {(name,) for name in PRIVATE}:
        return "text" if isinstance(value, str) else "a number, true, false or null without quotes"
    return f"'{printable(document.raw.get(loc, str(value)), 60)}'"


def _unknown(root: type[BaseModel], loc: Loc) -> str:
    model = _model_at(root, loc[:-1])
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    near = nearest(str(loc[-1]), known)
    hint = f"did you mean '{near}'? " if near else ""
    return f"unknown key '{printable(str(loc[-1]), 60)}'; {hint}allowed: {', '.join(known)}"


def _allowed(root: type[BaseModel], loc: Loc, error: Mapping[str, Any]) -> str:
    reason = str(error.get("ctx", {}).get("error", ""))
    if "; allowed: " in reason:  # the wire's models know their own registries
        return reason.partition("; allowed: ")[2]
    words = describe(_type_at(root, loc))
    if error["type"] == "string_type" and words == "text":
        return "text (put it in quotes)"
    return words


def describe(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type in words: `int` with `ge=1` → `a whole number ≥ 1`."""
    metadata = tuple(metadata)
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return describe(inner, (*metadata, *more))
    for item in metadata:
        if isinstance(item, Allowed):
            return item.text
    if get_origin(annotation) in (Union, types.UnionType):
        inner = next(arg for arg in get_args(annotation) if arg is not type(None))
        return describe(inner, metadata)
    if get_origin(annotation) is Literal:
        return ", ".join(map(str, get_args(annotation)))
    return _plain(annotation) + _bounds(metadata)


def _plain(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        keys = ", ".join(field.alias or name for name, field in annotation.model_fields.items())
        return f"a mapping with {keys}"
    origin = get_origin(annotation) or annotation
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}
    return "a list of at least one" if origin is list else words.get(origin, "something else")


def _bounds(metadata: Iterable[Any]) -> str:
    for item in metadata:
        if isinstance(item, FieldInfo):
            return _bounds(item.metadata)
        if isinstance(item, annotated_types.Ge):
            return f" ≥ {item.ge:g}" if isinstance(item.ge, int | float) else ""
        if isinstance(item, annotated_types.Gt):
            return f" > {item.gt:g}" if isinstance(item.gt, int | float) else ""
    return ""


def _field(model: type[BaseModel], key: str | int) -> Any:
    """The field's type with its metadata, or None."""
    for name, info in model.model_fields.items():
        if key == (info.alias or name):
            return Annotated[(info.annotation, *info.metadata, info)]
    return None


def _bare(annotation: Any) -> Any:
    """The type without `Annotated` and `| None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
        else:
            return annotation


def _type_at(root: type[BaseModel], loc: Loc) -> Any:
    annotation: Any = root
    for step in loc:
        bare = _bare(annotation)
        if isinstance(bare, type) and issubclass(bare, BaseModel):
            annotation = _field(bare, step)
        elif get_origin(bare) in (list, dict):
            annotation = get_args(bare)[-1]
        else:
            return Any
    return annotation


def _model_at(root: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    bare = _bare(_type_at(root, loc))
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None
