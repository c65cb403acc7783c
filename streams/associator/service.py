"""The associator as a service of its own: one owner at work, further ones standing by."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from schemas.errors import Retriable
from streams.associator.drafts import Patience
from streams.associator.hosting import GROUP, SOURCES, HostedAssociator
from streams.associator.reducer import DEFAULT_PATIENCE
from streams.bus import Outgoing
from streams.metrics import ServiceMetrics
from streams.overview import busy, look
from streams.recipes import RecipeShelf
from streams.service.announcing import Announcer
from streams.service.behind import Behind
from streams.site import Site
from streams.topics import ASSOCIATION

_PAUSE: Final = 1.0
"""Longest wait for something to come, seconds."""

log = structlog.get_logger("calstream")


class AssociatorService:
    """Hosts the associator until told to stop.

    A quiet period ends at once when nothing watches for files and nothing is on its way: what is not there
    then, nobody waits for.

    Parameters
    ----------
    site : Site
        Bus and store.
    stopping : callable
        Tells whether it shall stop: 0 for no.
    patience : Patience, optional
        How long to wait for members.
    registry : CollectorRegistry, optional
        Where its metrics are collected; one of its own when absent.
    """

    def __init__(
        self,
        site: Site,
        stopping: Callable[[], int],
        patience: Patience = DEFAULT_PATIENCE,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._site = site
        self._stopping = stopping
        self._patience = patience
        self._metrics = ServiceMetrics(GROUP, SOURCES, (), (ASSOCIATION,), registry or CollectorRegistry())
        self._behind = Behind(site.bus, GROUP, SOURCES, self._metrics)
        self.announcer = Announcer(site.bus, GROUP)
        self.ready = False
        self.turned = time.monotonic()

    def run(self) -> None:
        """Work until told to stop."""
        recipes = RecipeShelf(self._site.store)
        host = HostedAssociator(
            self._site.bus, self._site.store, recipes.get, self._patience,
            emitted=self._metrics.emitted, record=self._record,
        )  # fmt: skip
        self.ready = True
        try:
            while not self._stopping():
                self._turn(host)
        finally:
            host.close()
            self.announcer.gone()

    def _turn(self, host: HostedAssociator) -> None:
        self.turned = time.monotonic()
        self._metrics.turned()
        sentence = ""
        try:
            if not host.turn(self._wait(host)) and host.open and self._nothing_comes():
                host.turn(finish=True)
        except Retriable as error:
            sentence = str(error)
            log.warning("waiting", reason=sentence)
            time.sleep(_PAUSE)
        self._metrics.waiting(bool(sentence))
        self._metrics.associations_open(host.open)
        self.announcer.say(
            state="waiting" if sentence else "ready", sentence=sentence, open=host.open if host.owner else 0
        )
        if not sentence:
            self._behind.look()

    def _record(self, number: int) -> list[Outgoing]:
        """Return the record if the number is new: who looks meanwhile must not think that all is done."""
        if number == self.announcer.record.open:
            return []
        return [self.announcer.outgoing(open=number)]

    def _wait(self, host: HostedAssociator) -> float:
        due = host.next_due()
        return _PAUSE if due is None else min(_PAUSE, max(0.0, due - time.time()))

    def _nothing_comes(self) -> bool:
        return not busy(look(self._site.bus), waiting_counts=False)
