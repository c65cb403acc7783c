"""The reducer over tables that are shared out by partition, as a stream processor keeps them.

What is remembered of a program lies in three tables, in the pieces of :mod:`streams.associator.memory`: its
exposures by program and member, its associations by program and id, and its plans; all of them on the
program's partition. From messages follow the events to publish and then the changes to write, in an order in
which any of them may be the last one that was written before a crash: the messages come again, and what is
missing follows from them anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import structlog

from schemas.errors import CalstreamError, Retriable
from schemas.events import Event
from schemas.recipe import Recipe
from streams.associator.drafts import Patience
from streams.associator.driver import Associator
from streams.associator.memory import parked, pieces, remembered
from streams.associator.plans import Expectation, route
from streams.associator.reducer import Reduced
from streams.associator.state import State
from streams.associator.telling import heard, told
from streams.bus import Message, Outgoing
from streams.bus.protocol import PARTITIONS, partition_of
from streams.deadletters import dead_letter
from streams.dispatch import sentence_of
from streams.envelope import pack, unpack
from streams.store import Store
from streams.topics import ASSOCIATOR_STATE, ASSOCIATOR_TABLES, MEMBERS, PLAN, READERS

GROUP: Final = "associator"

KEPT: Final = 100
"""Exposures of a partition of which more than that are not kept, but for those of programs at work."""

FROM: Final = "calstream_from"
"""Header of what was forwarded: topic, partition and offset."""

TICK: Final = "calstream_tick"
"""Header of what says that time has passed: ``due``, or ``end`` when nothing more will come."""

LEFT: Final = "calstream_left"
"""Header of what a program says to a detector's day: its newer plan names nothing of that any more."""

_SENT_ON: Final = (
    "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "content-type", "traceparent",
)  # fmt: skip
"""Headers that are sent on; others are whoever's, and may be too many, or mean something here."""

_LONGEST: Final = 500
"""Characters of a header that is sent on."""

_TABLES: Final = dict(zip(("exposures", "groups", "plans"), ASSOCIATOR_TABLES, strict=True)) | {
    "parked": ASSOCIATOR_TABLES[2]
}

_NUMBER: Final = re.compile(r"[0-9]{1,19}")

log = structlog.get_logger("calstream")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What follows from messages.

    Attributes
    ----------
    outputs : tuple of Outgoing
        To be published first.
    changes : tuple of Outgoing
        To be written then, by :func:`in_order`; their topic means nothing.
    completeness : tuple of str
        Of each association that goes out.
    obsolete : tuple of str
        Files of the store that nobody needs when the changes are written.
    """

    outputs: tuple[Outgoing, ...] = ()
    changes: tuple[Outgoing, ...] = ()
    completeness: tuple[str, ...] = ()
    obsolete: tuple[str, ...] = ()


def in_order(changes: Iterable[Outgoing]) -> Iterator[tuple[str, list[Outgoing]]]:
    """Yield table and changes; each must be written before the next one is begun."""
    for table, some in groupby(changes, lambda change: _TABLES[json.loads(change.key)[2]]):
        yield table, list(some)


def forwarded(message: Message, event: Event, address: str | None = None) -> Outgoing:
    """Return a message of one of the sources as it is sent on, to its program unless said."""
    origin = f"{message.topic}/{message.partition}/{message.offset}"
    known = {name: message.headers[name] for name in _SENT_ON if name in message.headers}
    ours = {name: text for name, text in known.items() if len(text) <= _LONGEST}
    return Outgoing(
        topic=MEMBERS, key=address or route(event)[1], value=message.value, headers={**ours, FROM: origin}
    )


def tick(*, end: bool) -> dict[str, str]:
    """Return the headers of a message that says that time has passed."""
    return {TICK: "end" if end else "due"}


def left(day: str, nothing: Expectation) -> Outgoing:
    """Return the message by which a detector's day hears that a newer plan names nothing of it."""
    value = nothing.model_dump_json().encode()
    return Outgoing(topic=MEMBERS, key=day, value=value, headers={LEFT: nothing.plan.program})


class Desks:
    """One associator for each partition that this process holds, opened from the tables when it is needed.

    Parameters
    ----------
    tables : mapping of str to mapping of bytes to bytes
        By name, as they are now; who calls :meth:`take` writes its changes before the next call.
    store : Store
        Of plans, associations and parked programs.
    recipe : callable
        ``recipe(digest)`` returns a recipe.
    patience : Patience
        How long to wait for members.
    partitions : int, optional
        How many there are in all.
    kept : int, optional
        How many exposures of a partition stay in memory.
    """

    def __init__(
        self,
        tables: Mapping[str, Mapping[bytes, bytes]],
        store: Store,
        recipe: Callable[[str], Recipe],
        patience: Patience,
        partitions: int = PARTITIONS,
        kept: int = KEPT,
    ) -> None:
        self._tables = tables
        self._store = store
        self._recipe = recipe
        self._patience = patience
        self._partitions = partitions
        self._kept = kept
        self._desks: dict[int, Associator] = {}

    @property
    def open(self) -> int:
        """Return how many associations have something to say that is not said yet."""
        return sum(desk.open() for desk in self._desks.values())

    def reopen(self, partitions: Iterable[int] | None = None) -> None:
        """Forget what is in memory, and take over these partitions, else the same, from the tables."""
        wanted = self._desks if partitions is None else partitions
        found: dict[int, list[Outgoing]] = {partition: [] for partition in wanted}
        for table in self._tables.values():
            for key, value in list(table.items()):
                if (partition := self.partition_of(key)) in found:
                    found[partition].append(Outgoing(topic=ASSOCIATOR_STATE, key=key.decode(), value=value))
        self._desks = {partition: self._opened(entries) for partition, entries in found.items()}

    def partition_of(self, key: bytes) -> int:
        """Return the partition of an entry of a table: that of its program."""
        return partition_of(json.loads(key)[1], self._partitions)

    def due(self, now: float) -> list[int]:
        """Return the partitions of which an association may go out by the clock alone."""
        times = {partition: desk.next_due() for partition, desk in self._desks.items()}
        return sorted(partition for partition, time_ in times.items() if time_ is not None and time_ <= now)

    def waiting(self) -> list[int]:
        """Return the partitions of which associations are open."""
        return sorted(partition for partition, desk in self._desks.items() if desk.open())

    def take(self, messages: Iterable[Message], now: float) -> Outcome:
        """Return what follows from messages of the topic ``members``.

        Raises
        ------
        Retriable
            If the store is not there; the messages may be taken again, and nothing has changed.
        """
        try:
            return self._taken(list(messages), now)
        except BaseException:
            self.reopen()  # what is in memory goes further than what is written
            raise

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files of the store that nobody needs any more."""
        for path in paths:
            self._store.remove(path)

    def _taken(self, messages: list[Message], now: float) -> Outcome:
        held = {message.partition for message in messages}
        if not held <= self._desks.keys():
            self.reopen({*self._desks, *held})
        outputs: list[Outgoing] = []
        reduced: list[Reduced] = []
        for message in sorted(messages, key=_turn):
            try:
                reduced.extend(self._reduced(self._desks[message.partition], message, now))
            except Retriable:
                raise
            except Exception as error:  # one event that breaks a rule must not stop all others for ever
                self._store.demand_writable()
                outputs.append(self.letter(_origin(message), error))
        for one in reduced:
            outputs.extend(pack(event) for event in told(one, self._store, self._recipe))
            outputs.extend(left(day, nothing) for day, nothing in one.left)
        changes, obsolete = self._park(held)
        return Outcome(
            outputs=tuple(outputs),
            changes=(*sorted(pieces(reduced), key=_rank), *changes),
            completeness=tuple(e.completeness for one in reduced for e in one.emissions),
            obsolete=tuple(obsolete),
        )

    @staticmethod
    def letter(message: Message, error: BaseException) -> Outgoing:
        """Return the dead letter of a message that cannot be taken."""
        sentence = sentence_of(error)
        log.error("dead letter", topic=message.topic, key=message.key, reason=sentence)
        return dead_letter(message, GROUP, type(error).__name__, sentence, 1)

    def _reduced(self, desk: Associator, message: Message, now: float) -> list[Reduced]:
        if TICK in message.headers:
            return desk.tick(math.inf if message.headers[TICK] == "end" else now)
        if LEFT in message.headers:
            nothing = Expectation.model_validate_json(message.value)
            return [desk.take(nothing, now, (nothing.plan.line, message.key))]
        every = heard(unpack(message), self._store, self._recipe)
        return [desk.take(one.message, now, one.whose) for one in every if one.whose[1] == message.key]

    def addresses(self, event: Event) -> list[str]:
        """Return where an event is to be sent on to.

        Raises
        ------
        Retriable
            If the store is not there.
        """
        try:
            every = heard(event, self._store, self._recipe)
        except Retriable:
            raise
        except CalstreamError:  # whoever takes it will say why it cannot be taken
            return [route(event)[1]]
        return list(dict.fromkeys(one.whose[1] for one in every))

    def _park(self, partitions: Iterable[int]) -> tuple[list[Outgoing], list[str]]:
        """Put states of programs that are quiet into the store, when there are too many in memory."""
        changes: list[Outgoing] = []
        obsolete: list[str] = []
        for desk in (self._desks[partition] for partition in sorted(partitions)):
            for state in desk.quiet(self._kept):
                text = state.model_dump_json().encode()
                path = f"associator/{hashlib.sha256(text).hexdigest()}.json"
                self._store.put_if_absent(path, text)
                changes.extend(parked(state, path))
                before = desk.park(state, path)
                if before not in (None, path):
                    obsolete.append(str(before))
        return changes, obsolete

    def _opened(self, entries: list[Outgoing]) -> Associator:
        desk = Associator(self._patience)
        desk.restore(remembered(entries, self._load), self._load)
        return desk

    def _load(self, path: str) -> State:
        return State.model_validate_json(self._store.read_bytes(path))


def _turn(message: Message) -> int:
    """Return when a message is taken among those that have come together: what is to come before what is."""
    sources = READERS[GROUP]
    if LEFT in message.headers:
        return sources.index(PLAN)
    if TICK in message.headers or (topic := _origin(message).topic) not in sources:
        return len(sources)
    return sources.index(topic)


def _rank(change: Outgoing) -> int:
    """Return the place of a change's table; a plan comes last, as it is not taken again once it is known."""
    return list(_TABLES).index(json.loads(change.key)[2])


def _origin(message: Message) -> Message:
    """Return a message as it was before it was forwarded."""
    headers = {name: value for name, value in message.headers.items() if name != FROM}
    topic, *place = message.headers.get(FROM, "").rsplit("/", 2)
    if topic not in READERS[GROUP] or len(place) != 2 or not all(_NUMBER.fullmatch(n) for n in place):
        return replace(message, headers=headers)  # nobody of ours has forwarded it
    return replace(message, topic=topic, partition=int(place[0]), offset=int(place[1]), headers=headers)
