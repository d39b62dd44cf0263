"""The cockpit: a Textual app that draws what the board says and sends intents. Nothing here opens a
connection, computes a result or keeps a truth of its own.
"""

from __future__ import annotations

import os

if "SSH_CONNECTION" in os.environ:
    # Textual reads this when it is imported: over a link, 15 frames a second save half the bytes.
    os.environ.setdefault("TEXTUAL_FPS", "15")
