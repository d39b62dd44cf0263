"""Connections against a real OpenSSH server, and against what is none."""

import asyncio
import getpass
import random
import re
import shutil
import socket
import subprocess

import psutil
import pytest

from gpusess.errors import CommandFailed, HostKeyMismatch, RemoteError, Unreachable
from gpusess.providers.base import Endpoint, InstanceStatus, LaunchRequest
from gpusess.providers.ssh import SshProvider, resolve
from gpusess.remote.keys import printable
from gpusess.remote.ssh import Target, backoff, connect, mint_keypair, ssh_argv
from tests.remote.machine import needs_sshd, private


def processes_with(word: str) -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if word in (p.info["cmdline"] or [])]


@needs_sshd
async def test_commands_on_openssh(machine):
    async with await connect(machine.target) as link:
        result = await link.run("cat; echo err >&2; exit 3", b"\x00\xff" * 3_000_000)
        assert (result.stdout, result.stderr, result.exit_status) == (b"\x00\xff" * 3_000_000, b"err\n", 3)
        assert (await link.run("kill -KILL $$")).exit_status == -9
        with pytest.raises(CommandFailed, match=r"exit status 2.*no such luck") as caught:
            await link.check("printf 'no \\033[31msuch\\007 luck\\n' >&2; exit 2")
        assert "\x1b" not in str(caught.value)
        with pytest.raises(CommandFailed, match="full"):
            await link.upload(
                (b"z" * 65536 for _ in range(500)), "head -c 100 >/dev/null; echo full >&2; exit 1"
            )


@needs_sshd
async def test_more_commands_than_channels(machine):
    async with await connect(machine.target) as link:
        results = await asyncio.gather(*(link.check(f"sleep 0.05; echo {i}") for i in range(20)))
    assert results == [f"{i}\n".encode() for i in range(20)]


@needs_sshd
async def test_a_timeout_kills_the_command(machine):
    async with await connect(machine.target) as link:
        with pytest.raises(CommandFailed, match=r"no end within 0\.5 s"):
            await link.run("trap '' TERM; sleep 6021; sleep 6021", timeout=0.5)
        task = asyncio.create_task(link.run("sleep 6022"))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with link.open_process("sleep 6023") as process:
            assert process.exit_status is None
    for word in ("6021", "6022", "6023"):
        assert processes_with(word) == []


@needs_sshd
async def test_a_wrong_host_key_gets_nothing(machine):
    _, other = mint_keypair("other")
    with pytest.raises(HostKeyMismatch, match="another machine answers"):
        await connect(Target(machine.target.endpoint, [other], machine.target.client_keys))
    said = machine.log.read_text()
    assert "publickey" not in said
    assert "Starting session" not in said


@needs_sshd
async def test_a_refused_login_and_a_bad_key(machine, tmp_path):
    stranger = private(tmp_path / "stranger", mint_keypair("x")[0])
    with pytest.raises(RemoteError, match="refused the login"):
        await connect(Target(machine.target.endpoint, machine.target.host_keys, [stranger]))
    with pytest.raises(RemoteError, match="cannot read the key"):
        await connect(Target(machine.target.endpoint, machine.target.host_keys, [tmp_path / "none"]))


@needs_sshd
async def test_a_broken_link_is_unreachable(machine):
    link = await connect(machine.target)
    running = asyncio.create_task(link.run("sleep 3"))
    await asyncio.sleep(0.3)
    link._connection.abort()
    with pytest.raises(Unreachable):
        await running
    assert link.closed
    with pytest.raises(Unreachable):
        await link.run("true")
    await link.close()


async def test_who_does_not_answer():
    _, key = mint_keypair("host")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = Endpoint("127.0.0.1", silent.getsockname()[1], "u")
        with pytest.raises(Unreachable, match=r"within 0\.3 s"):
            await connect(Target(endpoint, [key]), timeout=0.3)
        caller, _ = silent.accept()
        with caller:
            caller.settimeout(2)
            said = b""
            while block := caller.recv(4096):
                said += block
            assert said.startswith(b"SSH-2.0-")
    with pytest.raises(Unreachable, match="does not answer"):
        await connect(Target(endpoint, [key]), timeout=2)


@needs_sshd
@pytest.mark.parametrize("hashed", [False, True])
async def test_the_users_own_machine(machine, tmp_path, monkeypatch, hashed):
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path / "data"))
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{machine.port} {machine.host_key}\n")
    if hashed:
        subprocess.run(["ssh-keygen", "-H", "-f", str(known)], check=True, capture_output=True)
        assert "127.0.0.1" not in known.read_text()
    settings = {"port": str(machine.port), "hostname": "127.0.0.1", "userknownhostsfile": str(known)}
    monkeypatch.setattr("gpusess.providers.ssh._ssh_settings", lambda host, user, port: settings)

    provider = SshProvider({"host": "127.0.0.1", "identity": str(machine.identity), "price": 2})
    offer = (await provider.offers())[0]
    request = LaunchRequest("mine", offer, "", "", {"session": "s"}, 0)
    instance = await provider.launch(request)
    assert instance.endpoint == Endpoint("127.0.0.1", machine.port, getpass.getuser())
    keys = await provider.known_host_keys(instance)
    assert [key.split()[1] for key in keys] == [machine.host_key.split()[1]]
    async with await connect(Target(instance.endpoint, keys, provider.client_keys(instance.id))) as link:
        assert await link.check("echo here") == b"here\n"

    again = SshProvider()
    assert [(i.name, i.price) for i in await again.list()] == [("mine", 2)]
    await again.terminate(instance.id)
    await again.terminate(instance.id)
    found = await again.get(instance.id)
    assert found
    assert found.status is InstanceStatus.TERMINATED
    known.write_text("")
    assert await provider.known_host_keys(instance) == []


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh")
def test_resolving_a_host():
    machine = resolve("example.invalid", "me", 2222)
    assert (machine.host, machine.port, machine.user, machine.key_name) == (
        "example.invalid",
        2222,
        "me",
        "example.invalid",
    )
    assert any(name.endswith(".ssh/known_hosts") for name in machine.known_hosts)


@pytest.mark.parametrize(
    "options",
    [{}, {"host": "-oProxyCommand=x"}, {"host": "a b"}, {"host": "h", "port": 99999}, {"hots": "h"}],
)
async def test_bad_options_of_the_ssh_provider(options):
    with pytest.raises(Exception, match="the provider 'ssh'"):
        await SshProvider(options).launch(LaunchRequest("n", None, "", "", {}, 0))


@needs_sshd
def test_the_real_client_on_openssh(machine, tmp_path):
    argv = ssh_argv(machine.target, tmp_path / "pinned hosts", "echo out; exit 9")
    done = subprocess.run(argv, capture_output=True, timeout=20)
    assert (done.returncode, done.stdout) == (9, b"out\n")


def test_keys_and_texts():
    private_key, public_key = mint_keypair("a comment")
    assert private_key.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert re.fullmatch(r"ssh-ed25519 \S+ a comment", public_key)
    assert printable(b"a\x1b[2Jb\r\n\x07c\xc2\x9b") == "a b c"
    assert len(printable("x" * 1000)) == 401


def test_backoff():
    waits = backoff(random.Random(1))
    for expected in (0.5, 1, 2, 4, 8, 16, 30, 30, 30):
        assert 0.75 * expected <= next(waits) <= 1.25 * expected
