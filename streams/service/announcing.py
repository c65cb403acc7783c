"""A service says what it is at, on the topic of services: when that changes, and every few seconds."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from schemas.records import ServiceRecord
from streams.bus import Bus, Outgoing
from streams.topics import SERVICES

_SETTLE: Final = 1.0
"""Seconds between two records of which only the work differs."""

log = structlog.get_logger("calstream")


class Announcer:
    """Keeps a service's record on the bus.

    Parameters
    ----------
    bus : Bus
        With the topic there.
    service : str
        Name.
    clock : callable, optional
        Seconds since 1970.
    """

    def __init__(self, bus: Bus, service: str, clock: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._clock = clock
        self._said = 0.0
        now = clock()
        self.record = ServiceRecord(
            service=service,
            instance=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
            host=socket.gethostname(),
            pid=os.getpid(),
            started=now,
            time=now,
        )

    def say(self, **changes: Any) -> None:
        """Change what the record says, and publish it if it is time to."""
        before = self.record
        self.record = before.model_copy(update=changes)
        since = time.monotonic() - self._said
        urgent = before.state != self.record.state or before.sentence != self.record.sentence
        changed = urgent or before.in_work != self.record.in_work or before.open != self.record.open
        if urgent or since > self.record.interval or (changed and since > _SETTLE) or not self._said:
            self.publish()

    def outgoing(self, **changes: Any) -> Outgoing:
        """Change the record and return it as a message, for a transaction with others."""
        self._said = time.monotonic()
        self.record = self.record.model_copy(update={**changes, "time": self._clock()})
        return Outgoing(topic=SERVICES, key=self.record.key, value=self.record.to_bytes())

    def publish(self) -> None:
        """Publish the record; a bus that cannot take it now will be told later."""
        try:
            self._bus.publish([self.outgoing()])
        except Exception as error:  # what a service does must not end because it cannot say so
            log.warning("not announced", reason=str(error))

    def gone(self) -> None:
        """Take the record away: the service has stopped, and nobody is to miss it."""
        try:
            self._bus.publish([Outgoing(topic=SERVICES, key=self.record.key, value=b"")])
        except Exception as error:  # as above
            log.warning("not announced", reason=str(error))
