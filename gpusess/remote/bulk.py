"""Gigabytes through asyncssh with fewer copies: a channel's data packets are sealed, and opened, several in a
row.

They are asyncssh's own packets, under its keys and counters. All else goes asyncssh's own way: packets of
other kinds, other ciphers than AES-GCM, key exchanges, and everything where asyncssh is not one that we know.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from typing import Any

import asyncssh
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.encryption import GCMEncryption
from asyncssh.packet import SSHPacket
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KNOWN = "2.24."
"""The asyncssh whose inner workings these are."""

Write = Callable[["asyncssh.SSHClientChannel[bytes]", memoryview], None]
"""Sends as a channel's `write` does."""

READ = 1 << 20
"""Bytes that are read from the socket at once, where so many are there."""

_HEAD = struct.Struct(">IBBII")
"""The front of a data packet: its length, its padding's, its kind, the channel, its data's length."""
_LENGTH = 4
_FRONT = _HEAD.size - _LENGTH
_TAG = 16
_LEAST_PADDING = 4
_LONGEST = 256 << 10
"""Bytes of a packet that are believed: OpenSSH sends none that is longer."""


def shorten(connection: asyncssh.SSHClientConnection) -> Write:
    """Take the short way for what comes over a connection from now on; how to send the short way."""
    if not asyncssh.__version__.startswith(KNOWN):
        return lambda channel, data: channel.write(bytes(data))
    _Opener(connection).begin()
    return _Sealer(connection).write


class _Sealer:
    """What goes out."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection: Any = connection
        self._key = b""
        self._aead = AESGCM(bytes(16))

    def write(self, channel: Any, data: memoryview) -> None:
        """Send data. What the other side's window has no room for waits in the channel, as ever."""
        sent = 0
        if channel._send_state == "open" and not channel._send_buf and self._may():
            sent = min(len(data), channel._send_window)
            self._send(channel._send_chan, channel._send_pktsize, data[:sent])
            channel._send_window -= sent
        if sent < len(data):
            channel.write(data[sent:])

    def _may(self) -> bool:
        """Whether no key exchange is under way or due, and packets are sealed as they are here."""
        c = self._connection
        due = c._rekey_bytes_sent >= c._rekey_bytes or (
            c._rekey_seconds and time.monotonic() >= c._rekey_time
        )
        open_ = c._kex_complete and c._auth_complete and c._transport is not None
        return open_ and not due and c._compressor is None and isinstance(c._send_encryption, GCMEncryption)

    def _send(self, channel: int, most: int, data: memoryview) -> None:
        """Seal data in packets of `most` bytes, and send them at once."""
        c = self._connection
        cipher, block = c._send_encryption._cipher, c._send_blocksize
        if cipher._key != self._key:
            self._key, self._aead = cipher._key, AESGCM(cipher._key)
        packets = -(-len(data) // most)
        sealed = memoryview(bytearray(len(data) + packets * (_HEAD.size + block + _LEAST_PADDING + _TAG)))
        padding = os.urandom(block + _LEAST_PADDING)
        # The nonce: four bytes that stay, and eight that count packets.
        fixed, count = cipher._iv[:4], int.from_bytes(cipher._iv[4:], "big")
        at = 0
        for start in range(0, len(data), most):
            piece = data[start : start + most]
            filled = _FRONT + len(piece)
            pad = -filled % block
            pad += block if pad < _LEAST_PADDING else 0
            head = _HEAD.pack(filled + pad, pad, MSG_CHANNEL_DATA, channel, len(piece))
            length = head[:_LENGTH]
            begin, at = at + _LENGTH, at + _LENGTH + filled + pad + _TAG
            sealed[begin - _LENGTH : begin] = length
            plain = b"".join((head[_LENGTH:], piece, padding[:pad]))
            self._aead.encrypt_into(fixed + count.to_bytes(8, "big"), plain, length, sealed[begin:at])
            count = (count + 1) & 0xFFFFFFFFFFFFFFFF
        cipher._iv = fixed + count.to_bytes(8, "big")
        c._send_seq = (c._send_seq + packets) & 0xFFFFFFFF
        c._rekey_bytes_sent += at - packets * (_LENGTH + _TAG)
        c._send(sealed[:at])


class _Opener:
    """What comes in."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection: Any = connection
        self._key = b""
        self._aead = AESGCM(bytes(16))

    def begin(self) -> None:
        """Receive for the connection."""
        self._asyncssh_receives = self._connection.data_received
        self._connection.data_received = self._received
        if hasattr(transport := self._connection._transport, "max_size"):  # a tunnel's has none
            transport.max_size = READ

    def _received(self, data: bytes, datatype: Any = None) -> None:
        c = self._connection
        if not self._may():
            self._asyncssh_receives(data, datatype)
            return
        buffer = c._inpbuf + data if c._inpbuf else data
        try:
            at, other = self._open(buffer)
        except asyncssh.DisconnectError as error:
            c._send_disconnect(error.code, error.reason, error.lang)
            c._force_close(error)
            return
        c._inpbuf = buffer[at:]
        if other:
            c._recv_data()
        else:
            c._reset_keepalive_timer()

    def _may(self) -> bool:
        """Whether a packet begins here, and packets are opened as they are here."""
        c = self._connection
        between = c._recv_handler == c._recv_pkthdr and c._auth_complete
        return between and c._decompressor is None and isinstance(c._recv_encryption, GCMEncryption)

    def _open(self, buffer: bytes) -> tuple[int, bool]:
        """Take the packets at the front that can be taken here; where they end, and whether a whole one of
        another kind follows. Raises ProtocolError."""
        c = self._connection
        cipher = c._recv_encryption._cipher
        if cipher._key != self._key:
            self._key, self._aead = cipher._key, AESGCM(cipher._key)
        view, at = memoryview(buffer), 0
        while len(buffer) - at > _LENGTH:
            begin = at + _LENGTH
            size = int.from_bytes(view[at:begin], "big")
            if size > _LONGEST:
                raise asyncssh.ProtocolError("a packet that is too long")
            end = begin + size + _TAG
            if end > len(buffer):
                break
            try:
                packet = self._aead.decrypt(cipher._iv, view[begin:end], view[at:begin])
            except InvalidTag:
                return at, True  # asyncssh finds the same, and says so
            if not self._take(packet, cipher):
                return at, True
            at = end
            if c._transport is None:
                break
        return at, False

    def _take(self, packet: bytes, cipher: Any) -> bool:
        """Give a packet to its channel; False: it is left to asyncssh, which opens it once more."""
        if len(packet) <= _FRONT or packet[1] not in (MSG_CHANNEL_DATA, MSG_CHANNEL_WINDOW_ADJUST):
            return False
        number, size = struct.unpack_from(">II", packet, 2)
        channel = self._connection._channels.get(number)
        if channel is None or channel._recv_state != "open":
            return False
        data = packet[1] == MSG_CHANNEL_DATA
        if data and not (size + _FRONT + packet[0] == len(packet) and 0 < size <= channel._recv_window):
            return False
        cipher._update_iv()
        sequence = self._connection._recv_seq
        self._connection._recv_seq = (sequence + 1) & 0xFFFFFFFF
        if data:
            channel._accept_data(packet[_FRONT : _FRONT + size])
        else:
            channel.process_packet(packet[1], sequence, SSHPacket(packet[6 : -packet[0]]))
        return True
