"""A function out of a user's own Python file, which came with the session's code: rewards and rerankers.

It runs in the worker, as the user's own code on the user's own instance.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class UserCodeError(Exception):
    """The file cannot be imported, or lacks the function; the message names the file."""


def function_of(path: Path, function: str, name: str) -> Callable[..., Any]:
    """The function. The file's folder is on the path, so that it may import its neighbours.

    name: tells the modules of several files apart.
    """
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    unique = f"gpusess_{re.sub(r'[^A-Za-z0-9]', '_', name)}"
    try:
        spec = importlib.util.spec_from_file_location(unique, path.resolve())
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[unique] = module
        spec.loader.exec_module(module)
    except Exception as exc:
        # The user's own code: whatever it raises is said with its place.
        raise UserCodeError(f"{path} cannot be imported: {type(exc).__name__}: {exc}") from exc
    found = getattr(module, function, None)
    if not callable(found):
        raise UserCodeError(f"{path} has no function `{function}`. Next: name it as `function`")
    made: Callable[..., Any] = found
    return made
