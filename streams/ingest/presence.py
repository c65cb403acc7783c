"""What the others are told while ingest runs: that more may come."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final, Self

from streams.bus import Bus
from streams.service.announcing import Announcer

SERVICE: Final = "ingest"


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
        self._announcer = Announcer(bus, SERVICE, interval=interval)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="presence", daemon=True)

    def __enter__(self) -> Self:
        self._announcer.say(state="watching")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._announcer.gone()

    def _repeat(self) -> None:
        while not self._over.wait(self._announcer.record.interval):
            self._announcer.publish()
