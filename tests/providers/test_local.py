"""The local provider's instances: their life, their end, and what runs on them."""

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import psutil
import pytest

from gpusess import paths
from gpusess.errors import CommandFailed, HostKeyMismatch, SpecError, Unreachable
from gpusess.providers import local_state
from gpusess.providers.base import Instance, InstanceStatus, LaunchRequest
from gpusess.providers.local import LocalProvider
from gpusess.remote.ssh import Connection, Target, connect, mint_keypair, ssh_argv


@dataclass
class Rented:
    provider: LocalProvider
    instance: Instance
    target: Target

    @property
    def home(self) -> Path:
        return paths.home() / "local" / self.instance.id / "home"

    @property
    def record(self) -> local_state.Record:
        record = local_state.read(self.home.parent)
        assert record
        return record


@contextlib.asynccontextmanager
async def rented(tmp_path: Path, lease: float = 0.0):
    provider = LocalProvider({"price": 1.5})
    host_private, host_public = mint_keypair("host")
    client_private, client_public = mint_keypair("client")
    key = tmp_path / "client_key"
    local_state.write_private(key, client_private)
    offer = (await provider.offers())[0]
    request = LaunchRequest("gpusess-t1", offer, client_public, host_private, {"session": "t1"}, lease)
    assert "PRIVATE KEY" not in repr(request)
    instance = await provider.launch(request)
    assert instance.endpoint
    try:
        yield Rented(provider, instance, Target(instance.endpoint, [host_public], [key]))
    finally:
        await provider.terminate(instance.id)


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("GPUSESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOME_API_KEY", "hunter2")


@pytest.fixture
async def box(tmp_path):
    async with rented(tmp_path) as instance:
        yield instance


@pytest.fixture
async def link(box):
    async with await connect(box.target) as connection:
        yield connection


async def until(condition, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0.05)


async def test_life_cycle(tmp_path):
    async with rented(tmp_path) as box:
        assert box.instance.status is InstanceStatus.RUNNING
        assert box.instance.price == 1.5
        assert box.instance.tags == {"session": "t1"}
        assert [i.id for i in await box.provider.list()] == [box.instance.id]
        async with await connect(box.target) as connection:
            assert await connection.check("echo hello") == b"hello\n"
        await asyncio.gather(*(box.provider.terminate(box.instance.id) for _ in range(3)))
        found = await box.provider.get(box.instance.id)
        assert found
        assert found.status is InstanceStatus.TERMINATED
        assert found.endpoint is None
        assert not box.home.exists()
        assert not (box.home.parent / "host_key").exists()
        with pytest.raises(Unreachable):
            await connect(box.target)
        later = LocalProvider(clock=lambda: time.time() + 7200)
        assert await later.list() == []
        assert await later.get(box.instance.id) is None


async def test_unknown_instances():
    provider = LocalProvider()
    assert await provider.list() == []
    for name in ("local-00", "../x", ""):
        assert await provider.get(name) is None
        await provider.terminate(name)


@pytest.mark.parametrize("options", [{"prize": 1}, {"price": "much"}, {"price": -1}])
def test_bad_options(options):
    with pytest.raises(SpecError, match=r"pri[cz]e"):
        LocalProvider(options)


async def test_terminate_ends_what_detached_itself(box, link):
    script = "setsid sh -c 'trap \"\" TERM HUP; sleep 600 & echo $$ > pid; wait; sleep 600' >/dev/null 2>&1 </dev/null &"
    await link.check(script)
    await until(lambda: (box.home / "pid").exists() and (box.home / "pid").read_text().strip())
    pid = int((box.home / "pid").read_text())
    assert psutil.Process(pid).parent().pid in (1, *(p.pid for p in psutil.Process(pid).parents()))
    await box.provider.terminate(box.instance.id)
    assert local_state.marked(box.instance.id) == set()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_terminate_that_was_killed_half_way(box):
    folder = box.home.parent
    local_state.write(folder, local_state.replace(box.record, phase="ending"))
    assert (await box.provider.get(box.instance.id)).status is InstanceStatus.TERMINATING
    await box.provider.terminate(box.instance.id)
    assert (await box.provider.get(box.instance.id)).status is InstanceStatus.TERMINATED
    assert not local_state.is_alive(folder)


async def test_a_killed_server_is_seen(box):
    os.kill(box.record.pid, signal.SIGKILL)
    await until(lambda: not local_state.is_alive(box.home.parent))
    found = await box.provider.get(box.instance.id)
    assert found.status is InstanceStatus.FAILED
    assert "the server process is gone" in found.reason


async def test_a_launch_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    provider = LocalProvider()
    request = LaunchRequest("n", (await provider.offers())[0], "x", "y", {}, 0)
    with pytest.raises(Exception, match="did not start"):
        await provider.launch(request)
    assert [i.status for i in await provider.list()] == [InstanceStatus.TERMINATED]


async def test_lease_ends_an_abandoned_instance(tmp_path):
    async with rented(tmp_path, lease=0.6) as box:
        async with await connect(box.target) as connection:
            await connection.check("nohup sleep 600 >/dev/null 2>&1 </dev/null &")
            await asyncio.sleep(1.2)
            assert not connection.closed
        await until(lambda: box.record.phase == "ended", 10)
        found = await box.provider.get(box.instance.id)
        assert found.status is InstanceStatus.TERMINATED
        assert "nobody asked" in found.reason
        await until(lambda: local_state.marked(box.instance.id) == set())


async def test_a_working_run_holds_the_lease(tmp_path):
    async with rented(tmp_path, lease=0.8) as box:
        events = box.home / ".gpusess/runs/r1/events.jsonl"
        events.parent.mkdir(parents=True)
        for _ in range(8):
            events.touch()
            await asyncio.sleep(0.25)
        assert box.record.phase == "open"
        await until(lambda: box.record.phase == "ended", 10)


async def test_the_instance_sees_nothing_of_the_user(box, link):
    lines = (await link.check("env; pwd")).decode().split("\n")
    assert f"HOME={box.home}" in lines
    assert str(box.home) in lines
    assert f"GPUSESS_CACHE={paths.cache()}" in lines
    assert f"GPUSESS_INSTANCE={box.instance.id}" in lines
    assert not any("hunter2" in line or line.startswith("PYTHONPATH") for line in lines)


async def test_another_host_key_is_refused(box):
    _, other = mint_keypair("other")
    with pytest.raises(HostKeyMismatch, match="nothing was sent"):
        await connect(Target(box.target.endpoint, [other], box.target.client_keys))
    with pytest.raises(HostKeyMismatch, match="no host key"):
        await connect(Target(box.target.endpoint, [], box.target.client_keys))


async def test_another_client_key_is_refused(box, tmp_path):
    key = tmp_path / "other"
    local_state.write_private(key, mint_keypair("other")[0])
    with pytest.raises(Exception, match="refused the login"):
        await connect(Target(box.target.endpoint, box.target.host_keys, [key]))


async def test_64_mib_both_ways(link):
    data = os.urandom(1 << 20)
    expected = hashlib.sha256(data * 64).hexdigest()
    result = await link.upload((data for _ in range(64)), "tee big | sha256sum", timeout=60)
    assert result.stdout.decode().split()[0] == expected
    assert await link.check("cat", data + b"\x00\r\n\xff") == data + b"\x00\r\n\xff"
    digest = hashlib.sha256()
    async with link.open_process("cat big") as process:
        while block := await process.stdout.read(1 << 20):
            digest.update(block)
        assert await process.wait() == 0
    assert digest.hexdigest() == expected


async def test_a_slow_reader_of_input_gets_all_of_it(link):
    result = await link.run("sleep 0.3; sha256sum; echo end >&2; exit 4", b"x" * 5_000_000)
    assert result.stdout.split()[0].decode() == hashlib.sha256(b"x" * 5_000_000).hexdigest()
    assert (result.stderr, result.exit_status) == (b"end\n", 4)


async def test_exit_by_signal_and_unread_input(link):
    assert (await link.run("kill -TERM $$")).exit_status == -signal.SIGTERM
    assert (await link.run("exit 0", b"y" * 5_000_000)).exit_status == 0


async def test_a_client_that_goes_away_hangs_up_the_command(box, link):
    async with (
        await connect(box.target) as other,
        other.open_process(
            "exec 2>log; trap 'echo hup > hup; exit' HUP; echo up; while :; do sleep 0.1; done"
        ) as process,
    ):
        assert await process.stdout.readline() == b"up\n"
        other._connection.abort()
        await until((box.home / "hup").exists)
        with pytest.raises(Unreachable):
            await process.wait()
    await link.check("(setsid sleep 601 >/dev/null 2>&1 </dev/null &)")
    await link.close()
    await asyncio.sleep(0.3)
    assert any("601" in p.cmdline() for p in local_state.marked(box.instance.id))


def ssh(box: Rented, tmp_path: Path, command: str = "", stdin: str = "", tty: bool = False):
    argv = ssh_argv(box.target, tmp_path / "known hosts", command, tty)
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=20)


async def test_the_real_client(box, tmp_path):
    done = await asyncio.to_thread(ssh, box, tmp_path, "cat; exit 7", "abc")
    assert (done.returncode, done.stdout) == (7, "abc")
    done = await asyncio.to_thread(ssh, box, tmp_path, "test -t 0 && tty && echo $TERM; exit 3", tty=True)
    assert done.returncode == 3
    assert "/dev/" in done.stdout
    done = await asyncio.to_thread(ssh, box, tmp_path, stdin="echo $((40+2)); exit 5\n", tty=True)
    assert done.returncode == 5
    assert "42" in done.stdout
    _, other = mint_keypair("other")
    box.target = Target(box.target.endpoint, [other], box.target.client_keys)
    done = await asyncio.to_thread(ssh, box, tmp_path, "true")
    assert done.returncode == 255


async def test_terminal_size(box):
    async with asyncssh.connect(
        box.target.endpoint.host,
        box.target.endpoint.port,
        username=box.target.endpoint.user,
        known_hosts=([asyncssh.import_public_key(box.target.host_keys[0])], [], []),
        client_keys=[str(box.target.client_keys[0])],
        config=None,
    ) as connection:
        process = await connection.create_process(
            "stty size; read x; stty size", term_type="xterm", term_size=(100, 30)
        )
        assert (await process.stdout.readline()).strip() == "30 100"
        process.change_terminal_size(132, 50)
        await asyncio.sleep(0.1)
        process.stdin.write("\n")
        assert "50 132" in await process.stdout.read()


async def test_commands_at_once_and_a_timeout(box, link: Connection):
    started = time.monotonic()
    results = await asyncio.gather(*(link.run(f"sleep 0.1; echo {i}") for i in range(20)))
    assert [r.stdout for r in results] == [f"{i}\n".encode() for i in range(20)]
    assert time.monotonic() - started >= 0.3, "20 commands in waves of 8"
    with pytest.raises(CommandFailed, match="no end within"):
        await link.run("sleep 602; echo never", timeout=0.4)
    await until(lambda: not any("602" in p.cmdline() for p in local_state.marked(box.instance.id)))
    assert await link.check("echo on") == b"on\n"
