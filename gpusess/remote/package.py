"""The agent's package as one file: built from the `remote_agent` that is installed here, the same bytes for
the same source, named after their hash so that an instance that has it is sent nothing.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

_MAIN = "import sys\nfrom remote_agent.__main__ import main\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SHIPPED = (".py", ".jsonl")


@dataclass(frozen=True, slots=True)
class AgentPackage:
    """`id`: first 16 hex digits of the content's SHA-256."""

    id: str
    content: bytes = field(repr=False)

    @property
    def file_name(self) -> str:
        return f"{self.id}.pyz"


@cache
def build() -> AgentPackage:
    """The package of the agent that belongs to this gpusess."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        for name, content in _walk(resources.files("remote_agent"), "remote_agent"):
            _add(archive, name, content)
    content = buffer.getvalue()
    return AgentPackage(hashlib.sha256(content).hexdigest()[:16], content)


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        name = f"{prefix}/{entry.name}"
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _walk(entry, name)
        elif entry.name.endswith(_SHIPPED):
            yield name, entry.read_bytes()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, content)
