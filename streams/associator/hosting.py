"""The associator hosted on a bus: one owner reads what the stages publish, and publishes associations.

What it remembers lies on a compacted topic, in pieces that change in the same transaction as the associations
that follow from them and the offsets of what was read: whoever takes over goes on exactly there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import structlog

from schemas.errors import CalstreamError, Retriable
from schemas.recipe import Recipe
from streams.associator.drafts import Patience
from streams.associator.driver import Associator
from streams.associator.memory import parked, pieces, remembered
from streams.associator.reducer import DEFAULT_PATIENCE, Reduced
from streams.associator.state import State
from streams.associator.telling import heard, told
from streams.bus import Bus, Message, Outgoing, PartitionLost, Position
from streams.deadletters import dead_letter, dead_letter_topics
from streams.dispatch import sentence_of
from streams.envelope import pack, unpack
from streams.store import Store
from streams.topics import ASSOCIATOR_STATE, FAILURES, PLAN

GROUP: Final = "associator"
SOURCES: Final = (PLAN, "raw", "ramp", "cal", FAILURES)
"""What it reads, and the order in which it takes what has come together: what is to come before what is."""

KEPT: Final = 200
"""Exposures of which more than that are not kept in memory, but for those of programs that are at work."""

log = structlog.get_logger("calstream")


class HostedAssociator:
    """A member of the associator's group; one at a time is its owner, the others stand by.

    Parameters
    ----------
    bus : Bus
        With the topics there.
    store : Store
        Where plans are read from, and associations put.
    recipe : callable
        ``recipe(digest)`` returns a recipe, for the services that it hands stages to.
    patience : Patience, optional
        How long to wait for members.
    emitted : callable, optional
        Told of the completeness of each association that has gone out.
    record : callable, optional
        Given how many associations are open, returns what is to be published in the same transaction.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        recipe: Callable[[str], Recipe],
        patience: Patience = DEFAULT_PATIENCE,
        emitted: Callable[[str], None] = lambda completeness: None,
        record: Callable[[int], list[Outgoing]] = lambda number: [],
    ) -> None:
        self._bus = bus
        self._store = store
        self._recipe = recipe
        self._patience = patience
        self._emitted = emitted
        self._record = record
        bus.create_topics(dead_letter_topics(GROUP, SOURCES))
        self._consumer = bus.consumer(GROUP, SOURCES, exclusive=True)
        self._held: Mapping[Position, int] = {}
        self._associator = Associator(patience)

    @property
    def owner(self) -> bool:
        """Tell whether this member is the owner."""
        return bool(self._held)

    @property
    def open(self) -> int:
        """Return how many associations have something to say that is not said yet."""
        return self._associator.open()

    def next_due(self) -> float | None:
        """Return when the next association goes out if nothing comes; seconds since 1970."""
        return self._associator.next_due() if self.owner else None

    def turn(self, timeout: float = 0.0, *, finish: bool = False) -> bool:
        """Take what has come, and say what is due; return whether anything came or was said.

        Parameters
        ----------
        timeout : float, optional
            How long to wait for something to come, seconds.
        finish : bool, optional
            Whether nothing more will come: then what is left to say is said, if nothing came indeed.
        """
        messages = self._consumer.poll(timeout)
        if (held := dict(self._consumer.keep())) != self._held and self._take_over(held):
            return True  # what was polled comes again
        messages = [message for message in messages if held.get(message.position) == message.epoch]
        if not self.owner:
            return False
        try:
            return self._say(messages, finish)
        except PartitionLost:
            self._held = {}  # to be taken over anew, should it come back
            return True
        except CalstreamError:
            self._held = {}  # what is remembered here was not written: read it again
            raise

    def _say(self, messages: list[Message], finish: bool) -> bool:
        reduced, letters = self._taken(messages)
        if not messages:
            reduced = self._associator.finish() if finish else self._associator.tick(time.time())
        outputs = [pack(event) for one in reduced for event in told(one, self._store, self._recipe)]
        changed = pieces(reduced)
        if not (messages or outputs or changed):
            return False
        record = self._record(self.open)
        self._consumer.commit(messages or self._fence(), [*outputs, *letters, *changed, *record])
        for emission in (emission for one in reduced for emission in one.emissions):
            self._emitted(emission.completeness)
        self._park()
        return True

    def _park(self) -> None:
        """Put states of programs that are quiet into the store, when there are too many in memory."""
        for state in self._associator.quiet(KEPT):
            text = state.model_dump_json().encode()
            path = f"associator/{hashlib.sha256(text).hexdigest()}.json"
            self._store.put_if_absent(path, text)
            self._consumer.commit(self._fence(), parked(state, path))
            before = self._associator.park(state, path)
            if before not in (None, path):
                self._store.remove(str(before))

    def _load(self, path: str) -> State:
        return State.model_validate_json(self._store.read_bytes(path))

    def _fence(self) -> list[Message]:
        """Return a message that was consumed before: with it a commit fails if another owner is at work."""
        for (topic, partition), offset in self._bus.committed(GROUP, SOURCES).items():
            if offset > 0:
                epoch = self._held[topic, partition]
                return [
                    Message(
                        topic=topic, key="", value=b"", partition=partition, offset=offset - 1,
                        timestamp=0.0, epoch=epoch,
                    )
                ]  # fmt: skip
        return []

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _take_over(self, held: Mapping[Position, int]) -> bool:
        """Go on where the owner before has left off; return whether there was something to take over."""
        gained = any(self._held.get(position) != epoch for position, epoch in held.items())
        self._held = held
        if gained:
            self._consumer.rewind()
            self._held = dict(self._consumer.keep())  # it may have begun new epochs, which are ours too
            self._associator = Associator(self._patience)
            known = remembered(self._bus.read(ASSOCIATOR_STATE), self._load)
            self._associator.restore(known, self._load)
        return gained

    def _taken(self, messages: list[Message]) -> tuple[list[Reduced], list[Outgoing]]:
        """Return what follows from messages, and the dead letters of those that cannot be taken."""
        reduced: list[Reduced] = []
        letters: list[Outgoing] = []
        for message in sorted(messages, key=lambda message: SOURCES.index(message.topic)):
            try:
                reduced.extend(self._take(message))
            except Retriable:
                raise
            except Exception as error:  # one event that breaks a rule must not stop all others for ever
                self._store.demand_writable()
                sentence = sentence_of(error)
                letters.append(dead_letter(message, GROUP, type(error).__name__, sentence, 1))
                log.error("dead letter", topic=message.topic, key=message.key, reason=sentence)
        return reduced, letters

    def _take(self, message: Message) -> Iterator[Reduced]:
        for one in heard(unpack(message), self._store, self._recipe):
            yield from self._associator.hear(one.message, time.time(), one.whose)
