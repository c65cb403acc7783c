"""The associator as a service on Kafka: the Faust app in a thread, and another one that watches it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from schemas.errors import CalstreamError, Retriable
from streams.associator.drafts import Patience
from streams.associator.hosting import GROUP, SOURCES
from streams.associator.progress import STALL, Progress
from streams.associator.reducer import DEFAULT_PATIENCE
from streams.bus import Outgoing
from streams.bus.kafka import KafkaBus
from streams.deadletters import dead_letter_topics
from streams.metrics import ServiceMetrics
from streams.overview import busy, look
from streams.recipes import RecipeShelf
from streams.service.announcing import Announcer
from streams.site import Site
from streams.topics import ASSOCIATION, MEMBERS, changelogs

READS: Final = (*SOURCES, MEMBERS)

_TURN: Final = 0.5
_LOOK: Final = 3.0
"""Seconds between two looks at how far it is."""
_END: Final = 30.0
"""Seconds after which a process that cannot end in order ends all the same."""
_STUCK: Final = 75
"""Exit code of such a process."""

log = structlog.get_logger("calstream")


class FaustAssociatorService:
    """A worker of the associator, until told to stop; the others share the programs with it.

    A quiet period ends at once when nothing watches for files and nothing is on its way. A worker that has
    something to read and does not get on ends the process, so that its supervisor starts it again.

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
    stall : float, optional
        Seconds without progress after which it ends.
    """

    def __init__(
        self,
        site: Site,
        stopping: Callable[[], int],
        patience: Patience = DEFAULT_PATIENCE,
        registry: CollectorRegistry | None = None,
        stall: float = STALL,
    ) -> None:
        self._site = site
        self._stopping = stopping
        self._patience = patience
        self._stall = stall
        self._metrics = ServiceMetrics(GROUP, READS, (), (ASSOCIATION,), registry or CollectorRegistry())
        self._announcing = threading.RLock()
        self._looked = 0.0
        self._progress = Progress(time.time())
        self._worker: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None
        self.announcer = Announcer(site.bus, GROUP)
        self.ready = False
        self.turned = time.monotonic()

    def run(self) -> None:
        """Work until told to stop.

        Raises
        ------
        CalstreamError
            If it does not get on, or cannot go on.
        """
        for name in ("faust", "mode", "aiokafka"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._site.bus.create_topics([*dead_letter_topics(GROUP, READS), *changelogs()])
        thread = threading.Thread(target=self._live, name="faust", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                self._watch()
                thread.join(_TURN)
        except BaseException as error:
            self._error = error
        finally:
            self._end_for_certain(thread)
            with self._announcing:
                self.announcer.gone()
        if self._error is not None:
            raise self._error

    def _live(self) -> None:
        try:
            self._loop = asyncio.new_event_loop()
            self._loop.run_until_complete(self._work())
        except BaseException as error:
            self._error = self._error or error

    async def _work(self) -> None:
        from streams.associator.faust_app import AssociatorApp
        from streams.associator.tables import Desks

        bus = self._site.bus
        assert isinstance(bus, KafkaBus)
        partitions = len(await asyncio.to_thread(bus.offsets_at, MEMBERS, float("inf")))
        self._worker = AssociatorApp(
            bus.connection, SOURCES, partitions, self._publish, self._metrics.emitted
        )
        recipes = RecipeShelf(self._site.store)
        self._worker.use(
            lambda tables: Desks(tables, self._site.store, recipes.get, self._patience, partitions)
        )
        await self._worker.run(lambda: bool(self._stopping() or self._error), self._went_round)

    def _went_round(self) -> None:
        self.turned = time.monotonic()
        self._metrics.turned()

    def _publish(self, outputs: list[Outgoing], number: int) -> None:
        """Publish with the record of what is open: who looks meanwhile must not think that all is done."""
        with self._announcing:
            if number != self.announcer.record.open:
                outputs = [*outputs, self.announcer.outgoing(open=number)]
            if outputs:
                self._site.bus.publish(outputs)

    def _watch(self) -> None:
        worker = self._worker
        if worker is None or self._stopping():
            return
        self.ready = worker.ready
        sentence = worker.waits
        self._metrics.waiting(bool(sentence))
        self._metrics.associations_open(worker.open)
        with self._announcing:
            self.announcer.say(
                state="waiting" if sentence else "ready" if self.ready else "starting", sentence=sentence
            )
        try:
            self._look(worker, bool(sentence))
        except Retriable as error:
            log.warning("waiting", reason=str(error))
            self._progress.excuse(time.time())

    def _look(self, worker: Any, excused: bool) -> None:
        """Look how far it is, now and then; end a wait for nothing, or a process that does not get on."""
        if time.monotonic() - self._looked > _LOOK:
            self._looked = time.monotonic()
            self._look_at_lag(excused)
            self._end_waiting(worker)

    def _end_waiting(self, worker: Any) -> None:
        if self.ready and worker.open and not busy(look(self._site.bus, times=False), waiting_counts=False):
            assert self._loop is not None
            asyncio.run_coroutine_threadsafe(worker.end_waiting(), self._loop)

    def _look_at_lag(self, excused: bool) -> None:
        lag = self._site.bus.lag(GROUP, READS)
        done = dict.fromkeys(READS, 0)
        for (topic, _), offset in self._site.bus.committed(GROUP, READS).items():
            done[topic] += offset
        now = time.time()
        self._metrics.lag(lag)
        self._progress.look(now, lag, done)
        if excused:
            self._progress.excuse(now)
        self._metrics.progressed(self._progress.since)
        if topic := self._progress.stuck(now, self._stall):
            raise CalstreamError(
                f"the associator has not got on with {topic} for {now - self._progress.since:.0f} s, though "
                f"{lag[topic]} messages wait; it ends, to be started again"
            )

    def _end_for_certain(self, thread: threading.Thread) -> None:
        """Let the app end; if it cannot, or leaves threads behind, let the process end without it."""
        if self._error is None and not thread.is_alive():
            return
        last = threading.Timer(_END, os._exit, (_STUCK,))
        last.daemon = True
        last.start()
        thread.join(_END)
