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

BASE_NEEDS: tuple[str, ...] = ("pydantic>=2.12,<3", "psutil>=7,<8", "nvidia-ml-py>=13")
"""What pip installs for the agent itself into an environment that the bootstrap makes."""

ENGINE_NEEDS: dict[str, tuple[str, ...]] = {
    "recorded": (),
    "transformers": ("torch", "transformers>=5.23,<6", "accelerate>=1.15"),
}
"""What an engine needs beyond that."""


def load(path: str) -> Any:
    """Import what a registry line names (`package.module:Name`) and return it."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
