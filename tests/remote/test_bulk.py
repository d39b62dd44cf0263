"""The short way through asyncssh: the same bytes under the same counters, or asyncssh's own way."""

import asyncio
import hashlib
import os
import random
from types import SimpleNamespace

import asyncssh
import pytest
from asyncssh.constants import MSG_CHANNEL_DATA
from asyncssh.encryption import get_encryption
from hypothesis import given
from hypothesis import strategies as st

from gpusess.errors import Unreachable
from gpusess.providers.base import Endpoint
from gpusess.remote import bulk
from gpusess.remote.ssh import Target, connect
from tests.remote.machine import needs_sshd, running

GCM, TAG = b"aes128-gcm@openssh.com", 16
MIB = 1 << 20


def test_the_installed_asyncssh_is_one_that_is_known():
    assert asyncssh.__version__.startswith(bulk.KNOWN)


def cipher():
    return get_encryption(GCM, b"k" * 16, b"i" * 12)


def opened(stream: bytes, theirs) -> list[tuple[int, int, bytes]]:
    """(kind, channel, data) of each packet, as asyncssh's own cipher opens them."""
    found = []
    while stream:
        end = 4 + int.from_bytes(stream[:4], "big")
        packet = theirs.decrypt_packet(0, stream[:16], stream[16:end], 4, stream[end : end + TAG])
        assert packet is not None
        assert len(packet) % 16 == 0
        assert packet[0] >= 4
        body = packet[1 : -packet[0]]
        assert int.from_bytes(body[5:9], "big") == len(body) - 9
        found.append((body[0], int.from_bytes(body[1:5], "big"), body[9:]))
        stream = stream[end + TAG :]
    return found


@given(
    st.lists(st.binary(min_size=1, max_size=200), min_size=1), st.integers(1, 60), st.integers(0, 2**32 - 1)
)
def test_what_is_sealed_is_what_asyncssh_opens(pieces, most, sequence):
    ours, theirs = cipher(), cipher()
    sent = []
    connection = SimpleNamespace(
        _kex_complete=True, _auth_complete=True, _transport=object(), _compressor=None, _rekey_bytes=1 << 30,
        _rekey_bytes_sent=0, _rekey_seconds=0, _send_encryption=ours, _send_blocksize=16,
        _send_seq=sequence, _send=lambda data: sent.append(bytes(data)),
    )  # fmt: skip
    channel = SimpleNamespace(
        _send_state="open", _send_buf=[], _send_window=1 << 20, _send_chan=7, _send_pktsize=most, write=None
    )
    sealer = bulk._Sealer(connection)
    for piece in pieces:
        sealer.write(channel, memoryview(piece))
    packets = opened(b"".join(sent), theirs)
    assert b"".join(data for _, _, data in packets) == b"".join(pieces)
    assert {(kind, number) for kind, number, _ in packets} == {(MSG_CHANNEL_DATA, 7)}
    assert max(len(data) for _, _, data in packets) <= most
    assert connection._send_seq == (sequence + len(packets)) % 2**32
    assert channel._send_window == (1 << 20) - sum(map(len, pieces))
    assert connection._rekey_bytes_sent == sum(map(len, sent)) - len(packets) * (4 + TAG)
    # What asyncssh seals next has the nonce that the other side waits for.
    head = (16).to_bytes(4, "big")
    body, tag = ours.encrypt_packet(0, head, b"\x04" + b"x" * 15)
    assert theirs.decrypt_packet(0, body[:16], body[16:], 4, tag) == b"\x04" + b"x" * 15


async def there_and_back(target: Target, size: int, rekey: int = 0) -> int:
    """Send noise in pieces of all lengths through a `cat` and compare; how many bytes went the short way."""
    data = os.urandom(size)
    dice = random.Random(5)
    taken = 0
    async with await connect(target) as link:
        if rekey:
            link._connection._rekey_bytes = rekey

        async def feed(process):
            at = 0
            while at < size:
                step = dice.choice([1, 31, 1000, 32768, 300_000, MIB])
                await process.write(memoryview(data)[at : at + step])
                at += step
            process.end_input()

        real = bulk._Sealer._send

        def counted(self, channel, most, piece):
            nonlocal taken
            taken += len(piece)
            real(self, channel, most, piece)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bulk._Sealer, "_send", counted)
            async with link.open_process("cat; echo done >&2") as process:
                feeding = asyncio.create_task(feed(process))
                came = hashlib.sha256()
                length = 0
                while piece := await process.stdout.read(dice.choice([10, 5000, 1 << 20])):
                    came.update(piece)
                    length += len(piece)
                await feeding
                assert await process.stderr.read_all() == b"done\n"
                assert await process.wait() == 0
        assert length == size
        assert came.digest() == hashlib.sha256(data).digest()
        assert await link.check("echo still here") == b"still here\n"
    return taken


@needs_sshd
async def test_there_and_back_through_openssh(machine):
    assert await there_and_back(machine.target, 12 * MIB) > MIB


@needs_sshd
async def test_new_keys_in_the_middle(tmp_path):
    """Both sides exchange keys anew every megabyte or so, each when it likes."""
    with running(tmp_path, "RekeyLimit 1M") as machine:
        assert await there_and_back(machine.target, 12 * MIB, rekey=700_000) > 0


@needs_sshd
@pytest.mark.parametrize("cipher", ["chacha20-poly1305@openssh.com", "aes128-ctr"])
async def test_another_cipher_goes_asyncssh_s_own_way(tmp_path, cipher):
    with running(tmp_path, f"Ciphers {cipher}") as machine:
        assert await there_and_back(machine.target, 3 * MIB) == 0


@needs_sshd
async def test_an_unknown_asyncssh_goes_its_own_way(machine, monkeypatch):
    monkeypatch.setattr(bulk, "KNOWN", "1.")
    assert await there_and_back(machine.target, 3 * MIB) == 0


class Relay:
    """Between the two sides: what the server says can be changed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.passed = 0
        self.damage_after = 1 << 60
        self.home: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        if self.home:
            self.home.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.home = writer
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._port)

        async def out() -> None:
            while data := await reader.read(1 << 16):
                ours.write(data)
            ours.close()

        sending = asyncio.create_task(out())
        while data := await theirs.read(1 << 16):
            if self.passed <= self.damage_after < self.passed + len(data):
                at = self.damage_after - self.passed
                data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            self.passed += len(data)
            writer.write(data)
        writer.close()
        await sending

    def to(self, target: Target) -> Target:
        end = target.endpoint
        return Target(Endpoint("127.0.0.1", self.port, end.user), target.host_keys, target.client_keys)


async def read_into(came: bytearray, process) -> None:
    while piece := await process.stdout.read(1 << 16):
        came += piece
    await process.wait()


@needs_sshd
async def test_a_changed_bit_ends_the_link_and_is_never_read(machine):
    async with Relay(machine.port) as relay, await connect(relay.to(machine.target)) as link:
        async with link.open_process("yes gpusess | head -c 4000000") as process:
            relay.damage_after = relay.passed + 1_500_000
            came = bytearray()
            with pytest.raises(Unreachable):
                await read_into(came, process)
        assert 0 < len(came) < 1_600_000
        assert came == (b"gpusess\n" * (len(came) // 8 + 1))[: len(came)]


@needs_sshd
async def test_a_packet_that_is_said_to_be_huge_ends_the_link(machine):
    async with Relay(machine.port) as relay, await connect(relay.to(machine.target)) as link:
        await link.check("true")
        await asyncio.sleep(0.2)  # nothing is under way: a packet begins with what comes next
        assert relay.home
        relay.home.write((1 << 31).to_bytes(4, "big") + bytes(64))
        async with asyncio.timeout(2):
            await link.wait_closed()
