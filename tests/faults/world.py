"""One user's world for the crash matrix: data folder, spec, real commands, real instances of the local provider,
and what can be asked of them from outside. Nothing is simulated; whatever still lives at the end is ended.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import psutil
import yaml

from gpusess.providers import local_state
from gpusess.sessions.store import RunRow, SessionRow, Store
from remote_agent import control
from remote_agent.engines.base import prompt_sha
from remote_agent.engines.recorded import RecordedEngine
from remote_agent.follow import JOURNALS
from remote_agent.journal import Record, decode, decode_all, key_of
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, TaskSpec
from remote_agent.tasks.word_problems import WordProblems

REPOSITORY = Path(__file__).resolve().parents[2]

Pair = tuple[str, int]
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What an undisturbed run holds for one key."""

    verdict: str
    completion: str


@dataclass
class World:
    """Everything of one test lies below `folder`."""

    folder: Path
    expected: dict[Pair, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = self.folder / "data"
        self._cache = self.folder / "cache"
        self._config = self.folder / "config.toml"
        self._kept: dict[str, BinaryIO] = {}
        self.home.mkdir()
        self.store = Store(self.home / "gpusess.db")

    # --- spec ---

    def write_spec(
        self, samples: int = 24, batch: int = 4, pace: float = 0.2, candidates: int = 1, **sections: Any
    ) -> Path:
        """A spec over recorded answers to the shipped word problems; every third answer is wrong."""
        task = TaskSpec(name="word_problems", limit=samples)
        generate = GenerateSpec(candidates=candidates, temperature=0.5, max_tokens=64)
        self._record(task, generate)
        engine = {"name": "recorded", "path": "rec.jsonl", "batch_size": batch, "pace": pace}
        run = {
            "name": "eval",
            "model": "test/none",
            "task": {"name": task.name, "limit": samples},
            "engine": engine,
            "generate": generate.model_dump(exclude_defaults=True),
        }
        resources = {"provider": "local", "options": {"price": 1.0}}
        spec = {"name": "faults", "resources": resources, "runs": [run], **sections}
        path = self.folder / "spec.yaml"
        path.write_text(yaml.safe_dump(spec))
        return path

    def _record(self, task_spec: TaskSpec, generate: GenerateSpec) -> None:
        order = Order(
            run="r", name="r", model="none", model_id="none", task=task_spec,
            engine=EngineSpec(name="recorded"), generate=generate,
        )  # fmt: skip
        task, engine = WordProblems(), RecordedEngine(order)
        rows = []
        samples = task.load(task_spec).samples
        items = [(c, s) for c in range(generate.candidates) for s in samples]
        for number, (candidate, sample) in enumerate(items):
            wrong = number % 3 == 2
            completion = f"answer {number}\n#### {int(sample.gold) + wrong}"
            self.expected[sample.id, candidate] = Answer("wrong" if wrong else "right", completion)
            rows.append(
                {
                    "prompt_sha": prompt_sha(engine.render(task.messages(sample, task_spec))),
                    "candidate": candidate,
                    "completion": completion,
                    "tokens_in": 9,
                    "tokens_out": 5,
                    "finish": "stop",
                }
            )
        (self.folder / "rec.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    # --- commands ---

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "GPUSESS_HOME": str(self.home),
            "GPUSESS_CACHE": str(self._cache),
            "GPUSESS_CONFIG": str(self._config),
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *args: str) -> subprocess.Popen[str]:
        """`gpusess ARGS` as its own process."""
        return subprocess.Popen(
            [sys.executable, "-m", "gpusess", *args],
            cwd=REPOSITORY,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def gpusess(self, *args: str, code: int = 0, timeout: float = 120) -> str:
        """Run `gpusess ARGS` to its end, which must be `code`; what it said."""
        process = self.start(*args)
        try:
            said, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
        assert process.returncode == code, f"gpusess {' '.join(args)}: {process.returncode}\n{said}"
        return said

    def status(self) -> dict[str, Any]:
        """The newest session, as `gpusess status --json` says it."""
        facts: dict[str, Any] = json.loads(self.gpusess("status", self.session.id, "--json"))
        return facts

    # --- what there is ---

    @property
    def session(self) -> SessionRow:
        return self.store.find(None)

    @property
    def run(self) -> RunRow:
        return self.store.runs(self.session.id)[0]

    @property
    def mirror(self) -> Path:
        return self.home / "sessions" / self.session.id / "runs" / self.run.id

    def instances(self) -> list[local_state.Record]:
        """Every instance that was ever begun, oldest first."""
        records = map(local_state.read, (self.home / "local").glob("local-*"))
        return sorted((r for r in records if r), key=lambda r: r.created)

    @property
    def instance_folder(self) -> Path:
        instance = self.session.instance_id
        assert instance
        return self.home / "local" / instance

    @property
    def remote_run(self) -> Path:
        """The run's folder on the present instance."""
        return self.instance_folder / "home/.gpusess/runs" / self.run.id

    def records(self, name: str = "journal.jsonl", folder: Path | None = None) -> list[Record]:
        """The whole records of a mirror (or of another folder), each with its checksum verified."""
        path = (folder or self.mirror) / name
        data = path.read_bytes() if path.exists() else b""
        return list(decode_all(data[: data.rfind(b"\n") + 1]))

    def done(self) -> int:
        """Results on the present instance's disk; 0 while there is none."""
        path = self.remote_run / "journal.jsonl"
        data = path.read_bytes() if path.exists() else b""
        return data.count(b'"kind":"result"') + data.count(b'"kind":"failed"')

    # --- processes ---

    def processes(self) -> list[psutil.Process]:
        """Every live process of this world, on either side."""
        mark = str(self._cache)
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if (
                    process.environ().get("GPUSESS_CACHE") == mark
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
        return found

    def driver(self) -> psutil.Process:
        """The process that drives the session."""

        def look() -> psutil.Process | None:
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    if "drive" in process.cmdline():
                        return process
            return None

        return self.wait(look, "a driver")

    def supervisor(self) -> psutil.Process:
        def look() -> psutil.Process | None:
            pid = control.supervisor_pid(self.remote_run)
            return psutil.Process(pid) if pid else None

        return self.wait(look, "a supervisor")

    def worker(self, not_pid: int = 0) -> psutil.Process:
        """The supervisor's live worker, other than `not_pid`."""

        def look() -> psutil.Process | None:
            for child in self.supervisor().children():
                with contextlib.suppress(psutil.Error):
                    if child.pid != not_pid and "work" in child.cmdline():
                        return child
            return None

        return self.wait(look, "a worker")

    def kill_driver(self) -> None:
        driver = self.driver()
        driver.kill()
        self.wait(lambda: not driver.is_running() or driver.status() == psutil.STATUS_ZOMBIE, "its end")

    # --- waiting ---

    def wait(self, look: Callable[[], T], what: str, seconds: float = 30) -> T:
        """Until `look` finds something true; that."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}\n{self.story()}"
            time.sleep(0.01)
        return found

    def wait_state(self, *states: str, seconds: float = 60) -> None:
        self.wait(lambda: self.session.state in states, f"the state {' or '.join(states)}", seconds)

    def up_until(self, done: int, spec: Path) -> None:
        """Start a session in the background; return when the instance's disk holds `done` results."""
        self.gpusess("up", str(spec), "--detach")
        self.wait_state("running")
        self.wait(lambda: self.done() >= done, f"{done} results")

    def story(self) -> str:
        """What a reader of a failed test wants to see."""
        lines = []
        for row in self.store.sessions()[:1]:
            lines += [f"{t.at:.2f} {t.state} {t.detail}" for t in self.store.transitions(row.id)]
            log = self.home / "sessions" / row.id / "driver.log"
            if log.exists():
                lines += log.read_text().splitlines()[-25:]
        return "\n".join(lines)

    # --- the promises ---

    def keep_originals(self) -> None:
        """Hold the instance's journals open, so that they can be read after the instance is gone."""
        for name in JOURNALS:
            self._kept[name] = (self.remote_run / name).open("rb")

    def assert_identical(self) -> None:
        """The mirror is the whole original, byte for byte."""
        for name in JOURNALS:
            self._kept[name].seek(0)
            assert (self.mirror / name).read_bytes() == self._kept[name].read(), name
        assert not list(self.mirror.glob("diverged-*"))

    def assert_complete(self, failed: Iterable[str] = ()) -> None:
        """Every planned key once, graded as it would have been undisturbed; only `failed` is marked so."""
        missing = {(sample, 0) for sample in failed}
        records = self.records()
        keys = Counter((k[1], k[2]) for k in map(key_of, records) if k)
        assert keys == Counter(list(self.expected))
        got = {
            (r["sample"], r["candidate"]): Answer(r["verdict"], r["completion"])
            for r in records
            if r["kind"] == "result"
        }
        assert got == {key: answer for key, answer in self.expected.items() if key not in missing}
        assert {(r["sample"], r["candidate"]) for r in records if r["kind"] == "failed"} == missing
        assert [r["seq"] for r in records] == list(range(len(records)))
        assert self.run.status == "complete"

    def assert_given_back(self) -> None:
        """Nothing lives, nothing bills, every intent is settled, and instances came one after the other."""
        assert self.session.state == "terminated"
        self.wait(lambda: not self.processes(), "the end of all processes", 10)
        intents = self.store.intents(self.session.id)
        assert all(intent.settled for intent in intents)
        instances = self.instances()
        assert [r.phase for r in instances] == ["ended"] * len(instances)
        for before, after in itertools.pairwise(instances):
            assert before.ended <= after.created
        names = [r.name for r in instances]
        assert sorted(names) == sorted({i.launch_name for i in intents if i.outcome == "launched"})

    def close(self) -> None:
        """End all that lives, also what is started meanwhile."""
        while living := self.processes():
            for process in living:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(0.05)
        for file in self._kept.values():
            file.close()
        self.store.close()


def journal_is_valid(path: Path, upto: int) -> bool:
    """Whether the first `upto` bytes of a journal are whole records. Raises BadLine where one is damaged."""
    with path.open("rb") as file:
        data = file.read(upto)
    lines = data.split(b"\n")
    for line in lines[:-1]:
        decode(line)
    return not lines[-1]
