"""What the others are told while ingest runs: that more may come."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from types import TracebackType
from typing import Final, Self

import structlog

from schemas.errors import CalstreamError
from schemas.records import ServiceRecord
from streams.bus import Bus, Outgoing
from streams.topics import SERVICES

SERVICE: Final = "ingest"

log = structlog.get_logger("calstream")


class Presence:
    """Says every few seconds that ingest watches, as long as the block lasts, and then that it stopped.

    Parameters
    ----------
    bus : Bus
        With the topic there; it is used from another thread.
    interval : float, optional
        Seconds.
    """

    def __init__(self, bus: Bus, interval: float = 5.0) -> None:
        now = time.time()
        self._bus = bus
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="presence", daemon=True)
        self.record = ServiceRecord(
            service=SERVICE,
            instance=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
            host=socket.gethostname(),
            pid=os.getpid(),
            state="watching",
            started=now,
            time=now,
            interval=interval,
        )

    def __enter__(self) -> Self:
        self._say("watching")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        try:
            self._say("stopped")
        except CalstreamError as failure:  # who went before says more
            log.warning("not announced", reason=str(failure))

    def _repeat(self) -> None:
        while not self._over.wait(self.record.interval):
            try:
                self._say("watching")
            except Exception as error:  # it will be said again
                log.warning("not announced", reason=str(error))

    def _say(self, state: str) -> None:
        record = self.record.model_copy(update={"state": state, "time": time.time()})
        self._bus.publish([Outgoing(topic=SERVICES, key=record.key, value=record.to_bytes())])
