"""The agent on an instance: bringing it there, giving it an environment, and asking things of it.

On the instance everything lies below `~/.gpusess`:

    agents/<id>.pyz   the agent, one file a build
    envs/<id>/        environments that the bootstrap made
    blobs/<id>/       code, models and data, one folder a content; sync/ says what they are
    sessions/<id>/    a session's folder: links into blobs
    runs/<run>/       a run's order, journals and logs
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from gpusess.errors import CommandFailed, RemoteError
from gpusess.remote.keys import printable
from gpusess.remote.package import build
from gpusess.remote.pool import Pool
from gpusess.remote.ssh import Connection
from remote_agent.files import CHECKPOINTS
from remote_agent.registry import BASE_NEEDS, ENGINE_NEEDS

ROOT = ".gpusess"
"""Relative to the home folder, in which commands start."""
COMMAND_LIMIT = 60.0
INSTALL_LIMIT = 3600.0

Say = Callable[[str], None]


class Agent:
    """The agent of one connection. `say` takes progress lines for the user."""

    def __init__(self, connection: Connection, say: Say) -> None:
        self._connection = connection
        self._say = say
        self._package = build()
        self._path = f"{ROOT}/agents/{self._package.file_name}"
        self._python = "python3"

    async def install(self) -> bool:
        """Bring the agent there unless this very build is there; True where it was sent."""
        path = shlex.quote(self._path)
        found = await self._connection.run(f"test -f {path}", timeout=COMMAND_LIMIT)
        if found.exit_status == 0:
            return False
        await self._connection.upload(
            [self._package.content],
            f"umask 077 && mkdir -p {ROOT}/agents {ROOT}/runs {ROOT}/sessions {ROOT}/blobs {ROOT}/envs"
            f" && cat > {path}.$$ && mv {path}.$$ {path}",
            timeout=COMMAND_LIMIT * 5,
        )
        return True

    async def use_python(self, python: str) -> dict[str, Any]:
        """Run the agent with that interpreter from now on; its facts (see `remote_agent.probe`).

        Raises RemoteError where it is no Python that can run the agent, or where the agent came damaged.
        """
        self._python = shlex.quote(python)
        try:
            facts = await self.ask("probe")
        except CommandFailed as exc:
            raise RemoteError(
                f"the agent does not run with `{python}` on the instance: {exc.message}",
                "name a Python of 3.11 or newer as `setup.python` in the spec",
            ) from exc
        if facts["agent"] != self._package.id:
            raise RemoteError("the agent's file on the instance is damaged", "terminate and launch again")
        return facts

    async def environment(
        self, python: str | None, requirements: Iterable[str], engines: set[str]
    ) -> dict[str, Any]:
        """Choose or make the environment that the runs get; its facts.

        The spec's `python` is taken as it is. Else `python3`, where it has all that the engines need and
        the spec asks for nothing more. Else an environment is made, once for the same requirements.
        """
        needs = [*BASE_NEEDS, *(need for engine in sorted(engines) for need in ENGINE_NEEDS[engine])]
        if python:
            return _with_needs(await self.use_python(python), python, needs)
        facts = await self.use_python("python3")
        wanted = list(requirements)
        if not wanted and not _missing(facts, needs):
            return facts
        made = await self._make_environment([*needs, *wanted])
        return _with_needs(await self.use_python(made), made, needs)

    async def _make_environment(self, requirements: list[str]) -> str:
        key = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:16]
        folder = f"{ROOT}/envs/{key}"
        ready = await self._connection.run(f"test -f {folder}/ready", timeout=COMMAND_LIMIT)
        if ready.exit_status != 0:
            self._say(f"making an environment with {', '.join(requirements)}")
            packages = " ".join(map(shlex.quote, requirements))
            await self._connection.check(
                f"python3 -m venv --clear {folder} && {folder}/bin/python -m pip install -q"
                f" --disable-pip-version-check {packages} && touch {folder}/ready",
                timeout=INSTALL_LIMIT,
            )
        return f"{folder}/bin/python"

    def command(self, *args: str) -> str:
        """The shell command that runs the agent with these arguments."""
        return f"{self._python} {shlex.quote(self._path)} {' '.join(map(shlex.quote, args))}"

    async def ask(
        self, *args: str, input: bytes | None = None, timeout: float = COMMAND_LIMIT
    ) -> dict[str, Any]:
        """Run an agent command that answers with one JSON line. Raises CommandFailed."""
        answer = await self._connection.check(self.command(*args), input=input, timeout=timeout)
        try:
            facts = json.loads(answer.strip().rpartition(b"\n")[2])
        except ValueError:
            raise CommandFailed(f"the agent's answer is no JSON: {printable(answer, 200)}") from None
        if not isinstance(facts, dict):
            raise CommandFailed(f"the agent's answer is no object: {printable(answer, 200)}")
        return facts

    # --- content ---

    def channels(self) -> Pool:
        """Channels for syncing, to be used as a context. With the environment's Python, once it is chosen."""
        return Pool(self._connection, self.command("sync"))

    async def script(self, folder: str, env: dict[str, str], lines: Iterable[str]) -> tuple[int, str]:
        """Run shell lines in a folder up to the first that fails; the exit status and what they printed.

        The script, with the environment in it, goes over stdin: no secret stands in a command line.
        """
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())
        script = f"{exports}cd {shlex.quote(folder)} || exit 1\n" + "\n".join(lines) + "\n"
        done = await self._connection.run("sh -es 2>&1", input=script.encode(), timeout=INSTALL_LIMIT)
        return done.exit_status, done.stdout.decode("utf-8", "replace")

    # --- runs ---

    async def put_order(self, run: str, order: str, workdir: str) -> None:
        """Write a run's order (JSON text) and link the folder that its worker works in."""
        folder = run_folder(run)
        await self._connection.check(
            f"umask 077 && mkdir -p {folder} && cat > {folder}/order.tmp && mv {folder}/order.tmp"
            f' {folder}/order.json && ln -sfn "$HOME"/{shlex.quote(workdir)} {folder}/work',
            input=order.encode(),
            timeout=COMMAND_LIMIT,
        )

    async def lengths(self, run: str) -> tuple[int | None, dict[str, int]]:
        """The supervisor's pid (None: none runs) and the acknowledged lengths of the run's journals."""
        facts = await self.ask("status", run_folder(run))
        return facts["supervisor"], facts["lengths"]

    async def has_checkpoints(self, run: str) -> bool:
        """Whether the run has a folder for checkpoints."""
        place = shlex.quote(f"{run_folder(run)}/{CHECKPOINTS}")
        return (await self._connection.run(f"test -d {place}", timeout=COMMAND_LIMIT)).exit_status == 0

    async def put_file(self, run: str, name: str, content: Iterable[bytes]) -> None:
        """Give a new instance what an earlier one had written. Only while nothing there writes that file."""
        path = f"{run_folder(run)}/{name}"
        await self._connection.upload(
            content, f"umask 077 && mkdir -p {run_folder(run)} && cat > {path}.tmp && mv {path}.tmp {path}"
        )

    async def start(self, run: str, env: dict[str, str]) -> None:
        """Start the run's supervisor, detached; fine where one runs already. `env` goes over stdin."""
        answer = await self.ask("supervise", run_folder(run), input=json.dumps({"env": env}).encode())
        if "error" in answer:
            raise RemoteError(str(answer["error"]), "`gpusess logs` shows what it said")

    async def steer(self, run: str, ask: dict[str, Any]) -> str:
        """Leave a user's ask for the run's training; empty, or why nobody takes it."""
        answer = await self.ask("steer", run_folder(run), input=json.dumps(ask).encode())
        return str(answer.get("error", ""))

    async def stop(self, run: str) -> None:
        """End the run's supervisor and worker; returns when both are gone."""
        await self.ask("stop", run_folder(run))


def session_folder(session: str) -> str:
    return f"{ROOT}/sessions/{session}"


def run_folder(run: str) -> str:
    return f"{ROOT}/runs/{run}"


def _missing(facts: dict[str, Any], needs: Iterable[str]) -> list[str]:
    names = (need.split("=")[0].split(">")[0].split("<")[0] for need in needs)
    # What the probe does not look for is optional: the agent does without it.
    return [n for n in names if n in facts["looked_for"] and n not in facts["packages"]]


def _with_needs(facts: dict[str, Any], python: str, needs: list[str]) -> dict[str, Any]:
    missing = _missing(facts, needs)
    if missing:
        raise RemoteError(
            f"`{python}` on the instance has no {', '.join(missing)}",
            f"install it there: {python} -m pip install {' '.join(missing)}",
        )
    return facts
