"""Launch requests as renting makes them, for tests that drive a provider alone."""

from __future__ import annotations

from typing import Any

from gpusess.providers.base import LaunchRequest, Offer
from gpusess.remote.keys import mint_keypair


def launch_request(offer: Offer, name: str = "gpusess-5e5510n1-1", **more: Any) -> LaunchRequest:
    """A request with keys of its own."""
    _, client_public = mint_keypair("client")
    host_private, host_public = mint_keypair("host")
    return LaunchRequest(
        name=name,
        offer=offer,
        client_public_key=client_public,
        host_private_key=host_private,
        tags={"gpusess": name.split("-")[1]},
        lease_seconds=600.0,
        host_public_key=host_public,
        **more,
    )
