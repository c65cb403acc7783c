"""A service says what it is at, on the topic of services: when that changes, and every few seconds."""

from __future__ import annotations

import os
import secrets
import socket
import time
from typing import Any, Final

import structlog

from schemas.records import ServiceRecord
from streams.bus import Bus, Outgoing
from streams.topics import SERVICES

_SETTLE: Final = 1.0
"""Seconds between two records of which only the work differs."""

_MEMORY: Final = 86400.0
"""Seconds for which a process that is gone is remembered."""

log = structlog.get_logger("calstream")


class Announcer:
    """Keeps a service's record on the bus.

    Parameters
    ----------
    bus : Bus
        With the topic there.
    service : str
        Name.
    interval : float, optional
        Seconds between two records of which nothing differs.
    """

    def __init__(self, bus: Bus, service: str, interval: float = 5.0) -> None:
        self._bus = bus
        self._said = 0.0
        now = time.time()
        self.record = ServiceRecord(
            service=service,
            instance=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
            host=socket.gethostname(),
            pid=os.getpid(),
            started=now,
            time=now,
            interval=interval,
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
        self.record = self.record.model_copy(update={**changes, "time": time.time()})
        return Outgoing(topic=SERVICES, key=self.record.key, value=self.record.to_bytes())

    def publish(self) -> None:
        """Publish the record; a bus that cannot take it now will be told later."""
        try:
            self._bus.publish([self.outgoing()])
        except Exception as error:  # what a service does must not end because it cannot say so
            log.warning("not announced", reason=str(error))

    def gone(self) -> None:
        """Say that the service has stopped, and take away what was said of its processes long ago."""
        self.say(state="stopped", in_work=(), open=0)
        try:
            self._bus.publish([Outgoing(topic=SERVICES, key=key, value=b"") for key in self._forgotten()])
        except Exception as error:  # as above
            log.warning("not taken away", reason=str(error))

    def _forgotten(self) -> list[str]:
        """Return the keys of this service's records that nobody has renewed for long."""
        last = {message.key: message for message in self._bus.read(SERVICES)}
        mine = f"{self.record.service}/"
        old = time.time() - _MEMORY
        return [k for k, m in last.items() if k.startswith(mine) and m.value and m.timestamp < old]
