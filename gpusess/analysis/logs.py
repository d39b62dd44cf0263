"""Log lines of several sources, parsed and merged by time. No files are read here."""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from gpusess.analysis.text import clean

_LINE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) (\S+) (.*)"
)

LINK = ("ssh", "asyncssh")
"""Loggers whose lines in our own process's log are about the link: a source of their own."""

KEPT_LINES = 50_000
"""The merged view keeps that many; the files keep all."""


class LogLine(NamedTuple):
    """One line. `ts`: seconds since the epoch, `order`: breaks ties in the order of arrival."""

    ts: float
    order: int
    level: str
    source: str
    text: str


class LogBook:
    """Lines of all sources of a session in order of time."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.dropped = 0
        """Lines at the beginning that are no longer kept."""
        self.version = 0
        self._order = 0
        self._last: dict[str, LogLine] = {}

    def add(self, source: str, lines: Iterable[str]) -> None:
        """Add whole lines of one source. A line without a time (a traceback) goes with the one before it."""
        for raw in lines:
            line = self._last[source] = self._parse(source, raw)
            if not self.lines or line >= self.lines[-1]:
                self.lines.append(line)
            else:
                insort(self.lines, line)
            self.version += 1
        if len(self.lines) > KEPT_LINES * 1.2:
            surplus = len(self.lines) - KEPT_LINES
            del self.lines[:surplus]
            self.dropped += surplus

    def _parse(self, source: str, raw: str) -> LogLine:
        self._order += 1
        found = _LINE.match(raw)
        if not found:
            before = self._last.get(source)
            ts, level = (before.ts, before.level) if before else (0.0, "INFO")
            return LogLine(ts, self._order, level, before.source if before else source, clean(raw))
        stamp, level, logger, text = found.groups()
        if source == "local" and logger.partition(".")[0] in LINK:
            source = "ssh"
        ts = datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()
        return LogLine(ts, self._order, level, source, clean(text))
