"""Figures of a training sent on to TensorBoard, Weights & Biases or trackio, through their own libraries.

The journal is the truth, and these are copies of what it holds: each has a thread of its own, so that one
that fails or hangs never holds the training up. That it failed is said once, without any secret in it.
"""

from __future__ import annotations

import importlib
import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from remote_agent.evaluation import PatientWriter
from remote_agent.protocol import Check
from remote_agent.train_protocol import Evaluated, Step

log = logging.getLogger("mirrors")

PROJECT = "gpusess"
END_SECONDS = 30.0
"""How long the end of a run waits for a mirror to send what it holds."""
_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 6
"""A secret's value that is shorter would take ordinary words out of a message."""

Figures = Mapping[str, float]


class Target(Protocol):
    """One library's run."""

    def log(self, step: int, figures: Figures) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in a folder beside the run's journal."""

    def __init__(self, run: Path, name: str, settings: dict[str, Any]) -> None:
        board = importlib.import_module("torch.utils.tensorboard")
        self._writer = board.SummaryWriter(log_dir=str(run / "mirrors" / "tensorboard"))
        self._writer.add_text("settings", f"{name}: {settings}")

    def log(self, step: int, figures: Figures) -> None:
        for figure, value in figures.items():
            self._writer.add_scalar(figure, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run of Weights & Biases; its settings come from the environment (`WANDB_API_KEY`, `WANDB_MODE`)."""

    def __init__(self, run: Path, name: str, settings: dict[str, Any]) -> None:
        wandb = importlib.import_module("wandb")
        folder = run / "mirrors"
        folder.mkdir(exist_ok=True)
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        fields = {"project": project, "name": name, "id": name, "resume": "allow", "config": settings}
        self._run = wandb.init(**fields, dir=str(folder), settings=wandb.Settings(console="off"))

    def log(self, step: int, figures: Figures) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """A run of trackio, where trackio keeps its runs (`TRACKIO_DIR`), or in a Space (`TRACKIO_SPACE_ID`)."""

    def __init__(self, _run: Path, name: str, settings: dict[str, Any]) -> None:
        trackio = importlib.import_module("trackio")
        space = os.environ.get("TRACKIO_SPACE_ID")
        fields = {"project": os.environ.get("TRACKIO_PROJECT", PROJECT), "name": name, "resume": "allow"}
        self._run = trackio.init(**fields, space_id=space, config=settings)

    def log(self, step: int, figures: Figures) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._run.finish()


TARGETS: dict[str, Callable[[Path, str, dict[str, Any]], Target]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}


class Mirror:
    """One of them, fed by its thread. `trouble`: what ended it, until somebody has taken it."""

    def __init__(self, name: str, open_target: Callable[[], Target]) -> None:
        self.name = name
        self.trouble = ""
        self._open = open_target
        self._waiting: queue.SimpleQueue[tuple[int, Figures] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"mirror {name}", daemon=True)
        self._thread.start()

    def log(self, step: int, figures: Figures) -> None:
        self._waiting.put((step, figures))

    def close(self) -> None:
        """Let it send what it holds, for a while."""
        self._waiting.put(None)
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            self.trouble = f"{self.name} has not taken everything within {END_SECONDS:g} s"

    def _work(self) -> None:
        try:
            target = self._open()
            while (item := self._waiting.get()) is not None:
                target.log(*item)
            target.close()
        except BaseException as exc:  # noqa: BLE001 (the libraries also raise SystemExit)
            reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
            self.trouble = without_secrets(f"{self.name} takes no figures: {type(exc).__name__}: {reason}")


class MirroringWriter(PatientWriter):
    """Writes into the journal, and hands on what was written."""

    def __init__(self, writer: PatientWriter, mirrors: list[Mirror]) -> None:
        super().__init__(writer.journal)
        self._mirrors = mirrors

    def write(self, *records: BaseModel) -> None:
        super().write(*records)
        for record in records:
            found = _figures(record)
            for mirror in self._mirrors if found else ():
                assert found is not None
                mirror.log(*found)
        self._say_trouble()

    def close(self) -> None:
        """Let each mirror send what it holds, for a while."""
        for mirror in self._mirrors:
            mirror.close()
        self._say_trouble()

    def _say_trouble(self) -> None:
        for mirror in [mirror for mirror in self._mirrors if mirror.trouble]:
            message, mirror.trouble = mirror.trouble, ""
            log.warning("%s", message)
            text = f"{message[:300]}. The run goes on, and its journal has every figure."
            super().write(Check(name="mirror", status="warn", message=text))


def mirrors(names: list[str], run: Path, name: str, settings: dict[str, Any]) -> list[Mirror]:
    """One for each name. Nothing is opened here: each does that in its own thread."""
    return [Mirror(n, lambda n=n: TARGETS[n](run, name, settings)) for n in names]  # type: ignore[misc]


def _figures(record: BaseModel) -> tuple[int, Figures] | None:
    if isinstance(record, Step):
        return record.step, {key: value for key, value in record.figures.items() if value is not None}
    if isinstance(record, Evaluated):
        return record.step, {"accuracy": record.right / max(1, record.samples)}
    return None


def without_secrets(text: str) -> str:
    """A text in which no value stands that the environment holds under a secret's name."""
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= _SHORTEST:
            text = text.replace(value, f"({name})")
    return text
