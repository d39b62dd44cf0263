"""A provider's official OpenAPI document as a judge of calls: what the client sends and what the simulator answers.

Written on jsonschema; versions 3.0 and 3.1. The documents are read where `GPUSESS_SHARED` (default `../shared`
beside the checkout) has them, and are no part of the project.
"""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_HERE = "urn:document"


def shared() -> Path:
    """The folder of shared files."""
    return Path(os.environ.get("GPUSESS_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def document_path(name: str) -> Path:
    """Where the official document of that name would be; it may not exist."""
    return shared() / "reference" / "openapi" / name


@functools.cache
def load(path: Path) -> Document:
    return Document(path)


class Document:
    """One official document. Problems are lines of text; none: the call is as the document says."""

    def __init__(self, path: Path) -> None:
        text = path.read_text()
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.doc: dict[str, Any] = json.loads(text) if path.suffix == ".json" else yaml.load(text, loader)
        if str(self.doc["openapi"]).startswith("3.0"):
            _modernise(self.doc)
        resource = Resource.from_contents(self.doc, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_HERE, resource)
        self._paths = [
            (re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(p)).replace("/$", "/?$") + "$"), p)
            for p in sorted(self.doc["paths"], key=lambda p: (p.count("{"), p))
        ]

    def operation(self, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
        """The path's template and the operation, where the document has it."""
        for pattern, template in self._paths:
            if (pattern.match(path) or pattern.match(path.rstrip("/"))) and method.lower() in self.doc[
                "paths"
            ][template]:
                return template, self.doc["paths"][template][method.lower()]
        return None

    def request_problems(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> list[str]:
        found = self.operation(method, path)
        if found is None:
            return [f"{method} {path}: not in the document"]
        template, operation = found
        at = ("paths", template, method.lower())
        problems = self._query_problems(template, operation, query)
        content = self._deref(operation.get("requestBody", {}))
        schema = content.get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            if body is not None:
                problems.append("a body, where the document has none")
        elif body is None:
            if content.get("required"):
                problems.append("no body")
        else:
            place = (
                self._place(operation["requestBody"], (*at, "requestBody")),
                "content",
                "application/json",
                "schema",
            )
            problems += self._body_problems(_flat(place), schema, body)
        return [f"{method} {path}: {p}" for p in problems]

    def reply_problems(self, method: str, path: str, status: int, body: Any) -> list[str]:
        found = self.operation(method, path)
        if found is None:
            return []
        template, operation = found
        key = next(
            (k for k in (str(status), f"{status // 100}XX", "default") if k in operation["responses"]), ""
        )
        if not key:
            return [f"{method} {path}: status {status} is not in the document"]
        response = self._deref(operation["responses"][key])
        place = self._place(
            operation["responses"][key], ("paths", template, method.lower(), "responses", key)
        )
        kinds = response.get("content", {})
        kind = next((k for k in kinds if "json" in k), "")
        if not kind:
            return [] if body in (None, "", {}) else [f"{method} {path}: {status} with a body"]
        schema = kinds[kind].get("schema", {})
        problems = self._body_problems(_flat((place, "content", kind, "schema")), schema, body)
        return [f"{method} {path} → {status}: {p}" for p in problems]

    def _query_problems(
        self, template: str, operation: dict[str, Any], query: dict[str, list[str]]
    ) -> list[str]:
        declared = [
            self._deref(p)
            for p in [*self.doc["paths"][template].get("parameters", []), *operation.get("parameters", [])]
        ]
        known = {p["name"]: p for p in declared if p["in"] == "query"}
        missing = [n for n, p in known.items() if p.get("required") and n not in query]
        strange = [n for n in query if n.removesuffix("[]") not in {k.removesuffix("[]") for k in known}]
        return [f"no ?{n}=" for n in missing] + [f"?{n}= is not in the document" for n in strange]

    def _body_problems(self, place: tuple[str, ...], schema: dict[str, Any], body: Any) -> list[str]:
        pointer = "/".join(part.replace("~", "~0").replace("/", "~1") for part in place)
        validator = Draft202012Validator(
            {"$ref": f"{_HERE}#/{pointer}"}, registry=self._registry, format_checker=FormatChecker()
        )
        errors = sorted(validator.iter_errors(body), key=lambda e: e.json_path)
        problems = [f"{e.json_path}: {_short(e.message)}" for e in errors]
        known = self._properties(schema)
        if known and isinstance(body, dict):
            problems += [f"$.{k}: not in the document" for k in body if k not in known]
        return problems

    def _properties(self, schema: dict[str, Any]) -> set[str]:
        """All properties that the schema names at its top; empty where it leaves them open."""
        schema = self._deref(schema)
        names = set(schema.get("properties", {}))
        for part in ("allOf", "oneOf", "anyOf"):
            for one in schema.get(part, []):
                found = self._properties(one)
                if not found:
                    return set()
                names |= found
        return set() if schema.get("additionalProperties") else names

    def _place(self, value: dict[str, Any], at: tuple[str, ...]) -> tuple[str, ...]:
        while "$ref" in value:
            at = tuple(value["$ref"].removeprefix("#/").split("/"))
            value = self._at(at)
        return at

    def _deref(self, value: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in value:
            value = self._at(tuple(value["$ref"].removeprefix("#/").split("/")))
        return value

    def _at(self, place: tuple[str, ...]) -> dict[str, Any]:
        value: Any = self.doc
        for part in place:
            value = value[part.replace("~1", "/").replace("~0", "~")]
        return value  # type: ignore[no-any-return]


def _flat(place: tuple[Any, ...]) -> tuple[str, ...]:
    return (*place[0], *place[1:])


def _short(text: str) -> str:
    return text if len(text) < 300 else text[:300] + "…"


def _modernise(node: Any) -> None:
    """What 3.0 writes differently from JSON Schema: `nullable`, and limits as flags."""
    if isinstance(node, list):
        for one in node:
            _modernise(one)
    if not isinstance(node, dict):
        return
    if node.pop("nullable", False) is True and isinstance(node.get("type"), str):
        node["type"] = [node["type"], "null"]
        if "enum" in node and None not in node["enum"]:
            node["enum"].append(None)
    for flag, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if node.get(flag) is True:
            node[flag] = node.pop(limit)
        elif node.get(flag) is False:
            del node[flag]
    for value in node.values():
        _modernise(value)
