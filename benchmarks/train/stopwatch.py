"""A stopwatch around a trainer's steps, the same for both sides, and around what is written beside them.

From the end of the first step's backward pass to the end of the last one's: every step but the first, with
its optimiser, its logging and, on our side, its journal.
"""

from __future__ import annotations

import time
from typing import Any


class Stopwatch:
    """`cpu` and `wall`: seconds of each step but the first. `saving`: wall seconds of the checkpoints."""

    def __init__(self, passes: int) -> None:
        """passes: forward and backward passes of one step."""
        self._left = self._passes = passes
        self._last: tuple[float, float] | None = None
        self.cpu: list[float] = []
        self.wall: list[float] = []
        self.saving = 0.0

    def attach(self, trainer: type[Any]) -> None:
        """Measure every trainer of this class."""
        step, save = trainer.training_step, trainer._save_checkpoint

        def timed_step(this: Any, *args: Any, **kwargs: Any) -> Any:
            loss = step(this, *args, **kwargs)
            self._lap()
            return loss

        def timed_save(this: Any, *args: Any, **kwargs: Any) -> None:
            started = time.perf_counter()
            save(this, *args, **kwargs)
            self.saving += time.perf_counter() - started

        trainer.training_step, trainer._save_checkpoint = timed_step, timed_save

    def _lap(self) -> None:
        self._left -= 1
        if self._left:
            return
        self._left = self._passes
        now = time.process_time(), time.perf_counter()
        if self._last is not None:
            self.cpu.append(now[0] - self._last[0])
            self.wall.append(now[1] - self._last[1])
        self._last = now

    def facts(self) -> dict[str, Any]:
        return {"cpu": self.cpu, "wall": self.wall, "saving": self.saving}
