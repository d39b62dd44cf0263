"""The names of tasks and engines, and where each one lives.

Strings only: nothing heavy is imported before a run needs it. A new task or engine is one module and
one line here.
"""

from __future__ import annotations

import importlib
from typing import Any

TASKS: dict[str, str] = {
    "gsm8k": "remote_agent.tasks.gsm8k:Gsm8k",
    "word_problems": "remote_agent.tasks.word_problems:WordProblems",
}

ENGINES: dict[str, str] = {
    "recorded": "remote_agent.engines.recorded:RecordedEngine",
    "transformers": "remote_agent.engines.transformers:TransformersEngine",
}


def load(path: str) -> Any:
    """Import what a registry line names (`package.module:Name`) and return it."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
