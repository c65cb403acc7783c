"""The associator hosted on a bus whose one owner is this process."""

from __future__ import annotations

import time

from schemas.events import Event, FailureEvent, Plan, PlanEvent, ProductEvent
from streams.associator import Associator, Expectation, Reduced, to_event
from streams.bus import Message
from streams.bus.memory import MemoryBus
from streams.envelope import pack, unpack
from streams.run.roots import Roots
from streams.store import Store

TOPICS = ("plan", "cal", "failures")
"""What the associator reads."""


class HostedAssociator:
    """Reads what the stages publish, and publishes associations.

    Parameters
    ----------
    bus : MemoryBus
        With the topics there.
    store : Store
        Where plans are read from, and associations put.
    roots : Roots
        Knows how to put an association, and which service takes a stage.
    """

    def __init__(self, bus: MemoryBus, store: Store, roots: Roots) -> None:
        self._consumer = bus.consumer("associator", TOPICS)
        self._store = store
        self._roots = roots
        self._associator = Associator()

    def turn(self, *, idle: bool) -> bool:
        """Take what has come; return whether anything came or was said.

        Parameters
        ----------
        idle : bool
            Whether nothing more will come: then what is left to say is said.
        """
        messages = self._consumer.poll(0)
        if not messages and not idle:
            return False
        now = time.time()
        reduced = [self._take(message, now) for message in messages]
        if not messages:
            reduced = self._associator.finish()
        outputs = [pack(event) for one in reduced for event in self._events(one)]
        self._consumer.commit(messages, outputs)
        return bool(messages or outputs)

    def _take(self, message: Message, now: float) -> Reduced:
        event: Event = unpack(message)
        if isinstance(event, PlanEvent):
            with self._store.fetch(event.plan) as path:
                plan = Plan.model_validate_json(path.read_bytes())
            return self._associator.take(Expectation.of(event, plan), now)
        assert isinstance(event, ProductEvent | FailureEvent)
        return self._associator.take(event, now)

    def _events(self, reduced: Reduced) -> list[Event]:
        return [
            to_event(
                emission,
                self._roots.put_association(emission.association),
                self._roots.handler_of(emission.stage),
            )
            for emission in reduced.emissions
        ]
