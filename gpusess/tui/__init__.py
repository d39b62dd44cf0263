"""The cockpit: a Textual app that draws what the board says and sends intents. Nothing here opens a
connection, computes a result or keeps a truth of its own.
"""

from __future__ import annotations

import os

# Textual reads this when it is imported. It paints at the next frame after a change, and nothing where none
# was: here short frames answer a key sooner, over a link 15 a second save half the bytes.
os.environ.setdefault("TEXTUAL_FPS", "15" if "SSH_CONNECTION" in os.environ else "240")
