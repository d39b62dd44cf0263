"""Memory that was freed stays with the process while it moves gigabytes. Else the C library gives that of
each block back to the kernel, which clears it and hands it out again: a tenth of what a transfer takes.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

LARGE = 8 << 20
"""Bytes from which on memory goes back to the kernel at once: no block is that long."""
KEPT = 32 << 20
"""Free bytes that a process keeps at the most."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As `malloc.h` of the GNU C library has them."""


def keep_freed() -> None:
    """Say so to the C library, where it is one that can be told."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_MMAP_THRESHOLD, LARGE)
            library.mallopt(_TRIM_THRESHOLD, KEPT)
