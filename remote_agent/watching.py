"""A writer that watches what it writes, and raises the alarm when the accuracy is not what was expected."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pydantic import BaseModel

from remote_agent import protocol
from remote_agent.evaluation import PatientWriter
from remote_agent.expectation import Monitor
from remote_agent.journal import Record

log = logging.getLogger("expectation")

WATCHED = (protocol.Begin, protocol.Result, protocol.Failed)


class Halted(BaseException):
    """The run stops here as its spec says. No sample's error, and nothing on the way may take it for one."""


class WatchfulWriter(PatientWriter):
    """Raises Halted after an alarm if the expectation says `pause`. What was written is durable then."""

    def __init__(self, writer: PatientWriter, monitor: Monitor) -> None:
        super().__init__(writer.journal)
        self._monitor = monitor

    def write(self, *records: BaseModel) -> None:
        super().write(*records)
        self._monitor.take(_payloads(records))
        alarm = self._monitor.alarm()
        if alarm is None:
            return
        log.error("alarm: %s", alarm.message)
        for cause in alarm.causes:
            log.error("maybe: %s", cause)
        super().write(alarm)
        if alarm.paused:
            raise Halted(f"stopped at the alarm: {alarm.message}. Resuming goes on with what is missing.")


def _payloads(records: Iterable[BaseModel]) -> list[Record]:
    return [protocol.payload(record) for record in records if isinstance(record, WATCHED)]
