"""One set of base weights and the adapter on it, which can be changed without loading the weights again.

The adapter is not merged: merging rounds, and what was trained is what should be computed. PEFT does it.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from remote_agent.engines.base import EngineError

_numbers = itertools.count()


class Wardrobe:
    """A transformers model that may wear an adapter. `model` is the same object all the time."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._peft: Any = None
        self._worn = ""

    def wear(self, adapter: Path | None) -> None:
        """Change to this adapter, or to none. Raises EngineError."""
        if adapter is None:
            if self._peft is not None:
                self._peft.base_model.disable_adapter_layers()
            return
        try:
            from peft import PeftModel
        except ImportError:
            raise EngineError(
                f"{adapter} is an adapter, which needs the Python package `peft`. "
                "Next: `setup.requirements: [peft]`."
            ) from None
        name = f"worn{next(_numbers)}"
        try:
            if self._peft is None:
                self._peft = PeftModel.from_pretrained(self.model, adapter, adapter_name=name)
            else:
                self._change(adapter, name)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError) as exc:
            reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
            raise EngineError(f"the adapter {adapter} does not go onto its base model: {reason}") from exc
        self._worn = name
        self.model.eval()

    def _change(self, adapter: Path, name: str) -> None:
        self._peft.load_adapter(adapter, adapter_name=name)
        self._peft.base_model.enable_adapter_layers()
        self._peft.set_adapter(name)
        self._peft.delete_adapter(self._worn)
