"""Reading the host key that a server answers with, before anything is sent to it: the key exchange proves
that the server holds the private half, and nobody has logged in. Whether that key is the right one is decided
elsewhere.
"""

from __future__ import annotations

import asyncio

import asyncssh

from gpusess.errors import Unreachable
from gpusess.remote.keys import Address, printable


async def answering_key(endpoint: Address, timeout: float = 15.0) -> tuple[str, str]:
    """The OpenSSH line of the server's key, and its `SHA256:…` fingerprint. Raises Unreachable."""
    try:
        async with asyncio.timeout(timeout):
            key = await asyncssh.get_server_host_key(endpoint.host, endpoint.port, config=None)
    except TimeoutError:
        raise Unreachable(f"{endpoint.host}:{endpoint.port} did not answer within {timeout:g} s") from None
    except (OSError, asyncssh.Error) as error:
        said = printable(str(error))
        raise Unreachable(f"{endpoint.host}:{endpoint.port} does not answer: {said}") from error
    if key is None:
        raise Unreachable(f"{endpoint.host}:{endpoint.port} named no host key")
    return key.export_public_key().decode().strip(), key.get_fingerprint()
