"""The trial of the packages, in a process that may crash: import each, and hold their versions together.

Prints one JSON line. Only the standard library until a package is asked for.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from collections.abc import Sequence
from typing import Any

from remote_agent import gpu_check

WATCHED = ("torch", "numpy", "transformers", "tokenizers", "accelerate", "vllm", "huggingface-hub", "triton")
"""Packages whose versions exclude each other in practice."""


def main(names: Sequence[str]) -> int:
    """Print what was found: `versions`, `errors` by name, `conflicts` in words, `gpu` if torch is needed."""
    versions, errors = {}, {}
    for name in names:
        try:
            module = importlib.import_module(name.replace("-", "_"))
            # A package's own word counts first: `vllm` may come from a package of another name.
            own = getattr(module, "__version__", None)
            versions[name] = own if isinstance(own, str) else importlib.metadata.version(name)
        except Exception as exc:  # noqa: BLE001
            # Whatever a package raises while it is imported, it cannot be used.
            errors[name] = f"{type(exc).__name__}: {str(exc).splitlines()[0] if str(exc) else 'no message'}"
    facts: dict[str, Any] = {"versions": versions, "errors": errors, "conflicts": conflicts(), "gpu": None}
    if "torch" in names and "torch" not in errors:
        facts["gpu"] = {"driver": gpu_check.check_driver(), "torch": gpu_check.check_torch()}
    print(json.dumps(facts))
    return 0


def conflicts(watched: Sequence[str] = WATCHED) -> list[str]:
    """What installed packages ask for of each other and do not get: `vllm 0.11 wants torch==2.9.0, …`."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:  # it comes with transformers; without it nothing can be said
        return []
    installed = {name: version for name in watched if (version := _version(name))}
    found = []
    for name, version in installed.items():
        for text in importlib.metadata.requires(name) or []:
            try:
                wanted = Requirement(text)
            except InvalidRequirement:
                continue
            has = installed.get(wanted.name.replace("_", "-").lower())
            applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
            if has and applies and not wanted.specifier.contains(has, prereleases=True):
                found.append(f"{name} {version} wants {wanted.name}{wanted.specifier}, {has} is installed")
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
