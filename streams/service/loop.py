"""The service: takes events from its topic, has children compute, publishes what follows exactly once.

The parent never computes: it keeps its membership alive while children work, counts their failures, and puts
finished events and the offsets of what they came from into one transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import wait
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from schemas.errors import Retriable, Unprocessable
from schemas.events import Event
from schemas.recipe import Recipe
from schemas.records import Work
from streams.associator.companions import keeps_history
from streams.bus import Bus, PartitionLost, Position
from streams.deadletters import dead_letter_topics
from streams.dispatch import is_for
from streams.envelope import unpack
from streams.metrics import ServiceMetrics
from streams.recipes import RecipeShelf
from streams.service.announcing import Announcer
from streams.service.behind import Behind
from streams.service.child import ChildOptions, stage_of
from streams.service.hurdle import Hurdle, Space
from streams.service.messages import Answer, Failed, Finished, Task
from streams.service.options import ServiceOptions
from streams.service.outcomes import Outcomes
from streams.service.slot import Died, Slot
from streams.service.window import Entry, Window
from streams.site import Site
from streams.stages import Stage

_PULSE: Final = 0.2
"""Longest pause between two signs of life to the bus, seconds."""
_BREATH: Final = 0.02
"""Seconds between two looks at the bus while a child is free and others compute."""
_SHARE: Final = 10
"""Finished events wait for others for so many times as long as the last commit took: disks may be slow."""

log = structlog.get_logger("calstream")


class Service:
    """One service; :meth:`run` is its life.

    Parameters
    ----------
    site : Site
        Bus and store.
    options : ServiceOptions
        What it does and how.
    stopping : callable
        Tells whether it shall stop: 0 no, 1 when what is in work is done, 2 at once.
    registry : CollectorRegistry, optional
        Where its metrics are collected; one of its own when absent.
    """

    def __init__(
        self,
        site: Site,
        options: ServiceOptions,
        stopping: Callable[[], int],
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._bus: Bus = site.bus
        self._store = site.store
        self._options = options
        self._stopping = stopping
        self._stages: tuple[Stage, ...] = tuple(stage_of(reference) for reference in options.stages)
        self._topics = tuple(dict.fromkeys(topic for stage in self._stages for topic in stage.sources))
        self._metrics = ServiceMetrics(
            options.name,
            self._topics,
            (stage.name for stage in self._stages),
            dict.fromkeys(stage.target for stage in self._stages),
            registry or CollectorRegistry(),
        )
        self._bus.create_topics(dead_letter_topics(options.name, self._topics))
        self._recipes = RecipeShelf(self._store)
        self._announcer = Announcer(self._bus, options.name)
        self._window = Window()
        self._hurdle = Hurdle()
        self._space = Space(self._store, options.free)
        self._outcomes = Outcomes(options.name, self._store, self._hurdle, self._metrics)
        self._number = 0
        self._first_ready: float | None = None
        self._linger = options.linger
        self._kept = 0.0
        self._trouble = ""
        self._behind = Behind(self._bus, options.name, self._topics, self._metrics)
        self._told = 0.0
        self.turned = time.monotonic()
        child = ChildOptions(
            store=site.address.store,
            stages=options.stages,
            step_packages=options.step_packages,
            warm=options.warm,
            log_level=options.log_level,
            log_format=options.log_format,
        )
        self._slots = [Slot(child, options.limits) for _ in range(options.slots)]

    @property
    def announcer(self) -> Announcer:
        """Return who says what the service is at."""
        return self._announcer

    @property
    def ready(self) -> bool:
        """Tell whether a child is ready for work."""
        return any(slot.ready for slot in self._slots)

    def run(self) -> None:
        """Work until told to stop; then finish what is in work within the grace period.

        Raises
        ------
        Exception
            What the bus cannot go on after: the process is to end and be started again.
        """
        self._announcer.say(state="starting")
        for slot in self._slots:
            slot.start()
        try:
            self._await_children()
            self._consumer = self._bus.consumer(self._options.name, self._topics)
            try:
                while not self._stopping():
                    self._turn()
                self._drain()
            finally:
                self._consumer.close()
        finally:
            for slot in self._slots:
                slot.stop()
            self._announcer.gone()

    def _await_children(self) -> None:
        while not self.ready and not self._stopping():
            self._listen(_PULSE)
            self._announcer.say()  # on a busy machine it takes long, and silence counts as death

    def _turn(self) -> None:
        self.turned = time.monotonic()
        self._metrics.turned()
        try:
            self._find_back()
            self._dispatch()
            if self._fetch():
                self._dispatch()
            self._listen(self._pause())
            self._collect()
            self._commit()
        except Retriable as error:
            self._trouble = str(error)
            log.warning("waiting", reason=self._trouble)
            time.sleep(_PULSE * 5)
        else:
            self._trouble = ""
        if not len(self._window):
            self._hurdle.passed()
        self._tell()

    def _find_back(self) -> None:
        """After bus or store have failed: forget what was polled, and read it again.

        A commit that failed may have been carried out all the same; what is read again was not.
        """
        if self._trouble:
            self._consumer.rewind()
            self._window.drop_all()
            self._first_ready = None

    def _fetch(self) -> bool:
        """Take messages while there is room; wait for them only when there is nothing else to wait for."""
        fresh = False
        held, now = len(self._window), time.monotonic()
        enough = held > self._options.window // 2 and self._window.next_try() <= now
        if held < self._options.window and not enough:
            for message in self._consumer.poll(0.0 if held else _PULSE * 5, self._options.window - held):
                self._window.add(Entry(message=message, since=time.monotonic()))
                fresh = True
        if len(self._window) and now - self._kept > _BREATH:
            self._kept = now
            self._renew(self._consumer.keep())
        return fresh

    def _renew(self, held: Mapping[Position, int]) -> None:
        for entry in self._window.drop_lost(held):
            log.info("lost", topic=entry.message.topic, key=entry.message.key)

    def _dispatch(self) -> None:
        """Give free children work; what needs none is done here."""
        for entry in self._window.waiting(time.monotonic()):
            if entry.stage is None and not self._sift(entry):
                continue
            slot = self._taker()
            if slot is None or not self._may_begin():
                return
            self._give(slot, entry)

    def _taker(self) -> Slot | None:
        """Return who takes the next task: ahead an only child, as of several one may be free sooner."""
        free = next((slot for slot in self._slots if slot.free), None)
        only = self._slots[0] if len(self._slots) == 1 else None
        return only if free is None and only is not None and only.brisk else free

    def _may_begin(self) -> bool:
        under_way = sum(slot.entry is not None for slot in self._slots)
        return not self._space.lack() and self._hurdle.allows(under_way)

    def _sift(self, entry: Entry) -> bool:
        """Tell whether an event is work for a child; if not, it is done with now."""
        message = entry.message
        try:
            event = unpack(message)
            recipe = self._recipes.get(event.recipe.digest)
        except Unprocessable as error:
            self._outcomes.bury(entry, type(error).__name__, str(error), 1)
            return False
        for stage in self._stages:
            if is_for(stage, event, recipe, self._options.handler) and _whole(stage, event, recipe):
                entry.stage, entry.name = stage, event.name
                return True
        entry.outputs = ()
        self._metrics.event(message.topic, "not_its_own")
        return False

    def _give(self, slot: Slot, entry: Entry) -> None:
        assert entry.stage is not None
        reference = self._options.stages[self._stages.index(entry.stage)]
        self._number += 1
        entry.given, entry.tries = True, entry.tries + 1
        if entry.tries > 1:
            self._metrics.event(entry.message.topic, "retried", entry.stage.name)
        message = entry.message
        task = Task(
            number=self._number,
            value=message.value,
            stage=reference,
            traceparent=message.headers.get("traceparent"),
        )
        try:
            slot.give(entry, task)
        except Died as death:
            self._died(slot, death)

    def _listen(self, pause: float) -> None:
        """Wait until a task has come to its end, and take the answers."""
        end = time.monotonic() + pause
        while wait([slot.pipe for slot in self._slots if slot.pipe is not None], end - time.monotonic()):
            ended = [self._hear(slot) for slot in self._slots]
            supplied = len(self._slots) == 1 and self._slots[0].supplied
            if (any(ended) and not supplied) or time.monotonic() >= end:
                return
        for slot in self._slots:  # one may have overrun its deadline
            self._hear(slot)

    def _hear(self, slot: Slot) -> bool:
        """Take what a child has said; tell whether a task has come to its end."""
        ended = False
        try:
            while (taken := slot.take()) is not None:
                self._answered(slot, *taken)
                ended = True
        except Died as death:
            self._died(slot, death)
            return True
        return ended

    def _pause(self) -> float:
        """Return how long to wait for children: short while what is finished waits to be committed."""
        now = time.monotonic()
        if not len(self._window):
            return 0.0
        if self._first_ready is not None:
            return max(0.0, self._first_ready + self._linger - now)
        held_up = self._hurdle.stands or self._space.lack()
        if any(slot.free for slot in self._slots) and not held_up:
            return min(_BREATH, max(0.0, self._window.next_try() - now))
        return _PULSE

    def _answered(self, slot: Slot, entry: Entry, answer: Answer) -> None:
        if slot.worn():
            slot.stop()
            slot.start()
        if isinstance(answer, Finished) and not entry.lost:
            self._outcomes.finished(entry, answer)
        elif isinstance(answer, Failed) and not entry.lost:
            self._outcomes.failed(entry, answer)

    def _died(self, slot: Slot, death: Died) -> None:
        """Count what the child was at, take back what else it had, and start another one."""
        (entry, rest), was_ready = slot.hand_back(), slot.ready
        slot.kill()
        if entry is None and not rest and not was_ready:
            raise Unprocessable(f"{self._options.name}: its child could not start ({death}); look at its log")
        slot.start()
        for one in rest:
            one.given, one.tries = False, one.tries - 1
        if entry is not None and not entry.lost:
            self._outcomes.broken(entry, "Died", str(death))

    def _collect(self) -> None:
        """Note since when something can be committed."""
        if self._first_ready is None and self._window.ready(1):
            self._first_ready = time.monotonic()

    def _commit(self, *, now: bool = False) -> None:
        """Publish what is finished with its offsets: when it has waited long enough, or is enough."""
        while self._first_ready is not None:
            entries = self._window.ready(self._options.batch)
            idle = len(entries) == len(self._window)
            full = len(entries) >= self._options.batch
            waited = time.monotonic() - self._first_ready >= self._linger
            if not (now or idle or full or waited):
                return
            outputs = [output for entry in entries for output in entry.outputs or ()]
            began = time.monotonic()
            try:
                self._consumer.commit([entry.message for entry in entries], outputs)
            except PartitionLost:
                self._renew(self._consumer.keep())
            else:
                self._window.remove(entries)
            cost = time.monotonic() - began
            self._linger = max(self._options.linger, min(_SHARE * cost, _PULSE))
            self._first_ready = time.monotonic() if self._window.ready(1) else None

    def _drain(self) -> None:
        """Finish what children have within the grace period; leave the rest to others."""
        self._announcer.say(state="stopping")
        self._window.drop_waiting()
        end = time.monotonic() + self._options.grace
        while any(slot.entry for slot in self._slots) and time.monotonic() < end and self._stopping() < 2:
            self._renew(self._consumer.keep())
            self._listen(_PULSE)
            self._window.drop_waiting()
            self._collect()
            self._commit(now=True)
        if self._stopping() < 2:
            self._collect()
            self._commit(now=True)

    def _tell(self) -> None:
        """Say what it is at, unless it said so a moment ago and works on."""
        if len(self._window) and not self._trouble and self.turned - self._told < _BREATH:
            return
        self._told = self.turned
        self._metrics.child_memory(max(slot.memory for slot in self._slots))
        working = [slot for slot in self._slots if slot.entry is not None and not slot.entry.lost]
        self._metrics.in_work(len(working))
        lack = self._space.lack() if len(self._window) else ""
        sentence = self._trouble or lack or self._hurdle.sentence
        self._metrics.waiting(bool(sentence))
        self._announcer.say(
            state="waiting" if sentence else "ready", sentence=sentence, in_work=tuple(self._works(working))
        )
        if not self._trouble and self._behind.look():
            self._metrics.oldest({topic: self._oldest(topic) for topic in self._topics})

    def _oldest(self, topic: str) -> float | None:
        """Return when the oldest message of a topic that is not done was published."""
        times = [entry.message.timestamp for entry in self._window if entry.message.topic == topic]
        return min(times, default=None)

    def _works(self, slots: list[Slot]) -> Iterator[Work]:
        since = time.time() - time.monotonic()
        for slot in slots:
            if (entry := slot.entry) is not None:
                stage = entry.stage.name if entry.stage else ""
                yield Work(name=entry.name, stage=stage, since=round(since + entry.since, 3))


def _whole(stage: Stage, event: Event, recipe: Recipe) -> bool:
    """Tell whether a recipe lets a stage be done in one: a fused one publishes nothing of what is between.

    Nor can it wait there for the histories of other exposures.
    """
    parts = stage.name.split("+")
    if len(parts) == 1:
        return True
    parted = recipe.publish_ramp or bool(set(parts) & set(recipe.handlers))
    return not (parted or keeps_history(event.keywords, recipe))
