"""The names of a run's files, on the instance and in the mirror."""

from __future__ import annotations

JOURNAL = "journal.jsonl"
EVENTS = "events.jsonl"
WORKER_LOG = "worker.log"
SUPERVISOR_LOG = "supervisor.log"
ORDER = "order.json"
CHECKPOINTS = "checkpoints"
"""A folder: see `checkpoints.py`."""
JOURNALS = (JOURNAL, EVENTS)
"""Files with an envelope and an acknowledged length: mirrored byte for byte."""
LOGS = (WORKER_LOG, SUPERVISOR_LOG)
"""Plain text that is mirrored too, but proves nothing."""
