"""A user's own reranker: a function in a Python file that came with the session's code, and its checkpoint.

The function is called once, with the checkpoint's path or None, and returns what scores a list of candidates.
It runs in the worker, as the user's own code on the user's own instance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from remote_agent.protocol import RerankSpec
from remote_agent.reranking.base import Candidate, RerankError
from remote_agent.user_code import UserCodeError, function_of

BLOCK = 1 << 20


class Module:
    """`module:function`, with `checkpoint`."""

    def __init__(self, spec: RerankSpec) -> None:
        assert spec.module is not None
        self._name = spec.name
        self._module = Path(spec.module)
        self._function = spec.function
        self._checkpoint = Path(spec.checkpoint) if spec.checkpoint else None
        self._score: Callable[[list[dict[str, Any]]], Any] | None = None

    def prepare(self) -> str:
        for path in (self._module, self._checkpoint):
            if path is not None and not path.is_file():
                raise RerankError(
                    f"the reranker {self._name} needs the file {path}, which is not in the session's folder. "
                    "Next: send it with `sync.code` or `sync.push`"
                )
        self._imported()
        named = [self._module, *([self._checkpoint] if self._checkpoint else [])]
        return ", ".join(f"{path.name} {_hash(path)}" for path in named) + f", {self._function}"

    def load(self) -> None:
        make = self._imported()
        try:
            self._score = make(str(self._checkpoint) if self._checkpoint else None)
        except Exception as exc:
            raise RerankError(f"{self._where} failed with {type(exc).__name__}: {exc}") from exc
        if not callable(self._score):
            raise RerankError(f"{self._where} returned no function, but {type(self._score).__name__}")

    def score(self, candidates: Sequence[Candidate]) -> list[float]:
        assert self._score is not None
        try:
            scores = [float(score) for score in self._score([asdict(c) for c in candidates])]
        except Exception as exc:
            raise RerankError(f"what {self._where} returned failed with {type(exc).__name__}: {exc}") from exc
        if len(scores) != len(candidates):
            raise RerankError(
                f"what {self._where} returned gave {len(scores)} scores for {len(candidates)} answers"
            )
        return scores

    @property
    def _where(self) -> str:
        return f"{self._module}:{self._function}"

    def _imported(self) -> Callable[[str | None], Any]:
        try:
            return function_of(self._module, self._function, f"reranker_{self._name}")
        except UserCodeError as exc:
            raise RerankError(str(exc)) from exc


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()[:16]
