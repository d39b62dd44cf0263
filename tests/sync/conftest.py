from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gpusess.remote.channel import Channel

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that knows no user and no global ignore file, and a cache of our own."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GPUSESS_CACHE", str(tmp_path / "home/cache"))


def git(root: Path, *args: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *who, *args], cwd=root, check=True, capture_output=True)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def snapshot(root: Path) -> dict[bytes, tuple[str, bytes]]:
    """Every file, link and empty folder below a folder: its kind and its bytes or target."""
    found = {}
    for folder, inner, names in os.walk(os.fsencode(root)):
        here = Path(os.fsdecode(folder))
        for raw in (*names, *inner):
            path = here / os.fsdecode(raw)
            name = os.fsencode(path.relative_to(root))
            if path.is_symlink():
                # Not Path.readlink: it would tidy the target up.
                found[name] = ("link", os.fsencode(os.readlink(path)))  # noqa: PTH115
            elif path.is_file():
                found[name] = ("exec" if path.stat().st_mode & 0o100 else "file", path.read_bytes())
            elif path.is_dir() and not any(path.iterdir()):
                found[name] = ("folder", b"")
    return found


class _Pipes:
    """An agent's `sync` process as `Channel` wants it: the same bytes as over SSH, without SSH."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.stdout = process.stdout
        self.stderr = process.stderr

    async def write(self, data: bytes) -> None:
        from gpusess.errors import CommandFailed

        try:
            self.process.stdin.write(data)
            await self.process.stdin.drain()
        except OSError as error:
            raise CommandFailed("the command stopped reading its input") from error

    def end_input(self) -> None:
        self.process.stdin.close()


class Agents:
    """Channels to `sync` processes on this machine whose home folder is `home`."""

    def __init__(self, home: Path, most: int = 1) -> None:
        self.home = home
        self.most = most
        self.pipes: dict[int, _Pipes] = {}
        self.sent: list[tuple[str, int]] = []
        """Every request's name and payload."""
        self._channels: dict[int, Channel] = {}
        self._stack = AsyncExitStack()
        home.mkdir(exist_ok=True)

    def wanted(self, size: int) -> int:
        return self.most

    async def channel(self, number: int) -> Channel:
        if number not in self._channels or self._channels[number].broken:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "remote_agent", "sync", cwd=REPOSITORY, limit=1 << 20,
                env={**os.environ, "HOME": str(self.home)},
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            self.pipes[number] = _Pipes(process)
            channel = _Counting(self.pipes[number], self)
            await channel.start()
            tasks = [asyncio.create_task(channel.read()), asyncio.create_task(channel.listen())]
            self._channels[number] = channel

            async def end() -> None:
                process.stdin.close()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.wait_for(process.wait(), 10)
                process._transport.close()

            self._stack.push_async_callback(end)
        return self._channels[number]

    def kill(self, number: int = 0) -> None:
        self.pipes[number].process.send_signal(signal.SIGKILL)

    async def broken(self, number: int = 0) -> None:
        """Until the end of a killed agent is known here."""
        while not self._channels[number].broken:
            await asyncio.sleep(0.001)

    def bytes_of(self, op: str) -> int:
        return sum(size for name, size in self.sent if name == op)

    async def close(self) -> None:
        await self._stack.aclose()


class _Counting(Channel):
    def __init__(self, process: _Pipes, agents: Agents) -> None:
        super().__init__(process)
        self._agents = agents

    async def send(self, op, payload=b"", **facts):
        self._agents.sent.append((op, len(payload)))
        return await super().send(op, payload, **facts)


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    found = Agents(tmp_path / "instance")
    try:
        yield found
    finally:
        await found.close()
