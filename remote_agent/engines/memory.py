"""Running out of memory: how it is recognised, and how what is computed at once is halved until it fits.

Nothing of an engine's work is kept here but the size that is known to fit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from remote_agent.engines.base import EngineBroken

log = logging.getLogger("engine")

In = TypeVar("In")
Out = TypeVar("Out")

_SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch's own, Python's, or that of the CPU allocator."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)
    )


def raise_broken(error: RuntimeError) -> None:
    """Raise EngineBroken for an error after which each later call in this process would fail as well."""
    if "CUDA error" in str(error):
        raise EngineBroken(str(error).splitlines()[0]) from error


class Fitting:
    """Computes items in parts that fit. `most`: how many at once, None: all; it is halved as need be."""

    def __init__(self, most: int | None, release: Callable[[], None]) -> None:
        self.most = most
        self._release = release

    def run(self, items: Sequence[In], compute: Callable[[Sequence[In]], list[Out]]) -> list[Out]:
        """`compute` over all items, part by part, in order. Nothing that was computed is computed again.

        Raises RuntimeError where one item alone does not fit, and EngineBroken.
        """
        done: list[Out] = []
        while len(done) < len(items):
            size = min(self.most or len(items), len(items) - len(done))
            part = items[len(done) : len(done) + size]
            done += self.attempt(size, lambda part=part: compute(part)) or []  # type: ignore[misc]
        return done

    def attempt(self, size: int, compute: Callable[[], Out]) -> Out | None:
        """What `compute` returns, or None where memory ran out; then `size` at once counts as too many.

        Raises RuntimeError where `size` is 1, and EngineBroken.
        """
        try:
            return compute()
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                if isinstance(exc, RuntimeError):
                    raise_broken(exc)
                raise
        # Out here the exception, and with it the tensors of its frames, is gone.
        self._release()
        if size == 1:
            raise RuntimeError("out of memory for a single prompt")
        self.most = size // 2
        log.warning("out of memory with %d at once; going on with %d", size, self.most)
        return None
