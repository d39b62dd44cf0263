"""Prints the table of docs/providers/README.md, from what the providers say of themselves.

`python docs/providers_table.py`
"""

from __future__ import annotations

import importlib
from typing import Any

from gpusess.providers import PROVIDERS
from gpusess.providers.base import Abilities, HostKey, LeaseEnd

_HOST_KEY = {
    HostKey.INJECTED: "set by the launch",
    HostKey.LOGGED: "read from the log",
    HostKey.OWN: "your known_hosts",
    HostKey.FIRST_USE: "first use, if you allow it",
}
_END = {
    LeaseEnd.PROVIDER: "the provider",
    LeaseEnd.SHUTDOWN: "its own shutdown",
    LeaseEnd.INSTANCE_KEY: "a key that ends only it",
    LeaseEnd.NOTHING: "nothing; see billing",
}
_HEAD = (
    "provider",
    "ended without you by",
    "deadline moves",
    "spot",
    "stop and start",
    "host key",
    "tags",
    "start script",
    "says what else bills",
    "absence counts after",
)


def table() -> str:
    rows = [_HEAD, tuple("---" for _ in _HEAD), *(_row(name) for name in PROVIDERS)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str) -> tuple[str, ...]:
    module, _, attribute = PROVIDERS[name].partition(":")
    kind: Any = getattr(importlib.import_module(module), attribute)
    can: Abilities = kind.abilities
    return (
        f"`{name}`",
        _END[can.lease_end] if can.rents else "nothing bills",
        _yes(hasattr(kind, "move_deadline")),
        _yes(can.spot),
        _yes(can.stops),
        _HOST_KEY[can.host_key],
        _yes(can.tags),
        _yes(can.user_data),
        _yes(hasattr(kind, "leftovers")),
        f"{can.settle_seconds:.0f} s",
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    print(table())
