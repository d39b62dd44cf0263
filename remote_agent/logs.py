"""The agent's log lines: `2026-01-31T03:30:00.123Z INFO supervisor message`, in UTC."""

from __future__ import annotations

import logging
import sys
import time


def setup_logging(level: int = logging.INFO) -> None:
    """Send everything to stderr in the one format that the log views merge by time."""
    handler = logging.StreamHandler(sys.stderr)
    form = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    form.converter = time.gmtime
    handler.setFormatter(form)
    logging.basicConfig(level=level, handlers=[handler], force=True)
