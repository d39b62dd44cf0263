"""The playground's far end: answers prompts with one model after another, and sends the text as it grows.

stdin: one JSON object a line, each a prompt (see `Asked`). stdout: one JSON object a line, each an event (see
`_say`). Nothing is recorded, and an engine is kept only while it is the only one that is asked for.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import Field, ValidationError

from remote_agent.engines import environment
from remote_agent.engines.base import Completion, Engine, EngineBroken, EngineError, Message, Prompt
from remote_agent.logs import setup_logging
from remote_agent.models import ModelUnavailable
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, Strict, TaskSpec
from remote_agent.registry import ENGINES, load

EVERY = 0.05
"""Seconds between two events about one answer that is growing."""

log = logging.getLogger("playground")

Say = Callable[[dict[str, Any]], None]


class Asked(Strict):
    """One prompt for one or more models. Each model answers it once a seed."""

    models: list[str] = Field(min_length=1)
    """Hub ids, or folders on this machine."""
    prompt: str
    system: str | None = None
    raw: bool = False
    """The prompt is plain text to go on from; no chat template."""
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)
    stop: tuple[str, ...] = ()
    engine: EngineSpec = EngineSpec()
    generate: GenerateSpec = GenerateSpec()
    env: dict[str, str] = Field(default_factory=dict)
    """Secrets for the engine, by name."""


def main() -> int:
    """Answer until stdin ends. Errors are events as well; the exit status is 0."""
    say = _own_stdout()
    setup_logging()
    kept: dict[str, Engine] = {}
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            asked = Asked.model_validate_json(line)
        except ValidationError as exc:
            first = exc.errors()[0]
            field = ".".join(map(str, first["loc"]))
            say({"event": "error", "model": None, "message": f"{field}: {first['msg']}"})
            continue
        os.environ.update(asked.env)
        for number, model in enumerate(asked.models):
            _answer(number, model, asked, kept, say)
            if len(asked.models) > 1:
                _forget(kept)
        say({"event": "end"})
    _forget(kept)
    return 0


def _own_stdout() -> Say:
    """Keep stdout for events: what libraries print goes to stderr from now on."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)

    def say(event: dict[str, Any]) -> None:
        print(json.dumps(event), file=out, flush=True)

    return say


def _answer(number: int, model: str, asked: Asked, kept: dict[str, Engine], say: Say) -> None:
    """All answers of one model; what goes wrong is said and ends only this model's turn."""
    try:
        engine = kept.get(model) or _loaded(model, asked, number, say)
        kept[model] = engine
        _complete(engine, number, asked, say)
    except (EngineError, EngineBroken, ModelUnavailable) as exc:
        say({"event": "error", "model": number, "message": str(exc)})
    except Exception as exc:
        # A model's own code may raise anything; the other models are still to be asked.
        log.exception("%s failed", model)
        say({"event": "error", "model": number, "message": f"{type(exc).__name__}: {exc}"})


def _loaded(model: str, asked: Asked, number: int, say: Say) -> Engine:
    order = Order(
        run="playground", name="playground", model=model, model_id=model, task=TaskSpec(name="word_problems"),
        engine=asked.engine, generate=asked.generate,
    )  # fmt: skip
    environment.settle(order)
    say({"event": "loading", "model": number})
    try:
        engine: Engine = load(ENGINES[asked.engine.name])(order)
    except ImportError as exc:
        raise EngineError(f"the engine {asked.engine.name} needs a package that is not here: {exc}") from exc
    engine.prepare()
    engine.load()
    return engine


def _complete(engine: Engine, number: int, asked: Asked, say: Say) -> None:
    messages = _messages(asked)
    text = engine.render(messages) if messages else engine.document(asked.prompt)
    prompts = [Prompt(text, seed, "", at, tuple(asked.stop), messages) for at, seed in enumerate(asked.seeds)]
    started = time.monotonic()
    if asked.engine.name == "transformers":
        answers: list[Completion] = engine.generate(prompts, _growing(number, say))  # type: ignore[call-arg]
    else:
        answers = engine.generate(prompts)
    seconds = round(time.monotonic() - started, 3)
    for at, answer in enumerate(answers):
        say(
            {
                "event": "done", "model": number, "answer": at, "text": answer.text, "finish": answer.finish,
                "tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out, "logprob": answer.logprob,
                "seconds": seconds,
            }
        )  # fmt: skip


def _messages(asked: Asked) -> tuple[Message, ...]:
    if asked.raw:
        return ()
    system = [{"role": "system", "content": asked.system}] if asked.system is not None else []
    return (*system, {"role": "user", "content": asked.prompt})


def _growing(number: int, say: Say) -> Callable[[int, str], None]:
    """Tells of an answer's text so far, not more often than a reader can see."""
    told: dict[int, float] = {}

    def drawn(answer: int, text: str) -> None:
        now = time.monotonic()
        if now - told.get(answer, 0.0) >= EVERY:
            told[answer] = now
            say({"event": "text", "model": number, "answer": answer, "text": text})

    return drawn


def _forget(kept: dict[str, Engine]) -> None:
    """Give the memory of loaded models back."""
    for engine in kept.values():
        engine.close()
    kept.clear()
    gc.collect()
    for empty in _caches():
        empty()


def _caches() -> Iterator[Callable[[], None]]:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        yield torch.cuda.empty_cache
