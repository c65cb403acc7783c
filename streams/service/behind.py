"""How far a service is behind with what it reads: looked up now and then, for the metrics alone."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

import structlog

from schemas.errors import Retriable
from streams.bus import Bus
from streams.metrics import ServiceMetrics

INTERVAL: Final = 5.0
"""Seconds between two looks."""

log = structlog.get_logger("calstream")


class Behind:
    """Looks at the lag of a group.

    Parameters
    ----------
    bus : Bus
        Whom to ask.
    group : str
        Of consumers.
    topics : iterable of str
        What it reads.
    metrics : ServiceMetrics
        Which are told.
    """

    def __init__(self, bus: Bus, group: str, topics: Iterable[str], metrics: ServiceMetrics) -> None:
        self._bus = bus
        self._group = group
        self._topics = tuple(topics)
        self._metrics = metrics
        self._looked = 0.0

    def look(self) -> bool:
        """Look if it is time to; return whether it was.

        A look that fails is left out: who works on need not stop because nobody can say how far it is.
        """
        if time.monotonic() - self._looked <= INTERVAL:
            return False
        self._looked = time.monotonic()
        try:
            self._metrics.lag(self._bus.lag(self._group, self._topics))
        except Retriable as error:
            log.debug("lag not known", reason=str(error))
        return True
