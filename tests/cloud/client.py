"""A simulated cloud as tests see it: start it, point gpusess at it, arm faults, and ask what bills."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from .clock import SharedClock
from .openapi import document_path
from .serve import cloud_class
from .simulator import CONTROL

REPOSITORY = Path(__file__).resolve().parents[2]


class ControlError(AssertionError):
    """The simulator did not understand a test."""


class Simulator:
    """A running simulated cloud of that provider.

    ssh: machines are real SSH servers. frozen: time moves only when somebody sleeps on `clock`.
    judge: hold every call against the official document, where that is there; see `violations`.
    key: of another account than the usual one.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        ssh: bool = False,
        frozen: bool = False,
        judge: bool = True,
        key: str = "",
    ) -> None:
        self.name = name
        self.cloud = cloud_class(name)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key = key or self.cloud.key
        flags = [f for f, on in (("--ssh", ssh), ("--frozen", frozen), ("--judge", judge)) if on]
        flags += ["--key", key] if key else []
        self._log = (folder / "simulator.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cloud.serve", name, str(folder), *flags],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise ControlError(
                f"the simulator of {name} did not start:\n{(folder / 'simulator.log').read_text()}"
            )
        told = json.loads(line)
        self.origin: str = told["origin"]
        """http://127.0.0.1:PORT"""
        self.url: str = told["url"]
        """The address that the client is given."""
        self.clock = SharedClock(folder / "clock")
        self.judged = judge and bool(self.cloud.document) and document_path(self.cloud.document).exists()
        self._http = httpx.Client(timeout=60)

    @property
    def env(self) -> dict[str, str]:
        """What gpusess needs to use this cloud in place of the real one."""
        return {f"GPUSESS_{self.name.upper()}_URL": self.url, **self.keys}

    @property
    def keys(self) -> dict[str, str]:
        """The account's key, by the name that gpusess looks for."""
        return self.cloud.environment or {f"{self.name.upper()}_API_KEY": self.key}

    def control(self, do: str, **args: Any) -> Any:
        answer = self._http.post(self.origin + CONTROL, json={"do": do, **args})
        if answer.status_code != 200:
            raise ControlError(answer.text)
        return answer.json()["value"]

    def arm(self, kind: str, op: str = "*", **more: Any) -> None:
        """One fault; see `faults.Fault`."""
        self.control("arm", faults=[{"kind": kind, "op": op, **more}])

    def calls(self, op: str = "") -> list[dict[str, Any]]:
        return [c for c in self.control("calls") if not op or c["op"] == op]

    def machines(self) -> list[dict[str, Any]]:
        """All that were ever made and are no other's."""
        return [m for m in self.control("machines") if not m["foreign"]]

    def billing(self) -> list[dict[str, Any]]:
        """What bills now and is no other's."""
        return [m for m in self.control("billing") if not m["foreign"]]

    def touched(self) -> list[str]:
        """What of others' things is not as it was: always empty."""
        told: list[str] = self.control("touched")
        return told

    def violations(self) -> list[str]:
        """Calls and answers that the official document does not allow, and the simulator's own failures."""
        told: list[str] = self.control("violations")
        return told

    def close(self) -> None:
        self._http.close()
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, _t: type[BaseException] | None, _v: BaseException | None, _b: TracebackType | None
    ) -> None:
        self.close()
