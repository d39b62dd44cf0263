"""What a sync would send, leave out and remove: `push`'s own comparison, and nothing is changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gpusess.sync.push import Known, Tree, packed, rows_asked_for
from gpusess.sync.tree import Entry, Skipped, content_id, hash_entry
from gpusess.sync.wire import Channels
from remote_agent.syncing.rows import difference


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sync would send."""

    id: str
    entries: tuple[Entry, ...]
    send: tuple[Entry, ...]
    gone: tuple[str, ...]
    """Known to be there now, and to go."""
    skipped: tuple[Skipped, ...]

    @property
    def files(self) -> int:
        return sum(entry.mode != "folder" for entry in self.entries)


async def preview(tree: Tree, place: str, channels: Channels, known: Known | None = None) -> Plan:
    """What `push` would send. Large files are hashed for it. Raises SyncError, Unreachable."""
    entries = await asyncio.to_thread(_hashed, tree)
    id = content_id(entries)
    first = await channels.channel(0)
    payload, codec = await packed(first, list(entries))
    header, data = await first.ask("tree", payload, tree=id, place=place, codec=codec, dry=True)
    numbers = rows_asked_for(header, data, len(entries))
    gone = difference(known.rows, entries)[1] if known else []
    return Plan(id, entries, tuple(entries[n] for n in numbers), tuple(gone), tree.skipped)


def _hashed(tree: Tree) -> tuple[Entry, ...]:
    """The tree's entries, with the large files hashed too."""
    return tuple(
        entry if entry.content or entry.mode == "folder" else hash_entry(tree.root, entry, tree.index)
        for entry in tree.entries
    )
