"""A member of a consumer group of an embedded bus."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from schemas.errors import CalstreamError, UsageError
from streams.bus.embedded.groups import Held, Recruit
from streams.bus.embedded.log import message_of
from streams.bus.embedded.wakeup import LONGEST_SLEEP, Bell, ring
from streams.bus.protocol import Message, Outgoing, PartitionLost, Position
from streams.bus.sharing import in_turns

if TYPE_CHECKING:
    from streams.bus.embedded.bus import EmbeddedBus

_LOOK_AROUND: Final = 0.2  # seconds between two looks whether other members live


class EmbeddedConsumer:
    """A member of a group of an :class:`~streams.bus.embedded.EmbeddedBus`, for one thread of one process.

    Parameters
    ----------
    bus : EmbeddedBus
        Where its group is.
    recruit : Recruit
        As whom it joins. The lease in it covers a third more than what the bus promises: it is renewed only
        when a quarter of it is over, as each renewal waits for the disk.
    bell : Bell
        What wakes it.
    """

    def __init__(self, bus: EmbeddedBus, recruit: Recruit, bell: Bell) -> None:
        self._bus = bus
        self._recruit = recruit
        self._bell = bell
        self._pid = os.getpid()
        self._closed = False
        self._held: dict[Position, Held] = {}
        self._read: dict[Position, int] = {}
        self._last: str | None = None
        self._look = 0.0
        self._join()

    def poll(self, timeout: float, limit: int = 64) -> list[Message]:
        """Return up to `limit` messages that follow the last ones polled.

        Raises
        ------
        Retriable, Unprocessable
            If the file cannot be read, or the lease not be renewed in it; when it is mended the next call
            goes on.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._attend()
            found = self._take(limit)
            left = deadline - time.monotonic()
            if found or left <= 0 or self._closed:
                return found
            self._bell.sleep(min(left, LONGEST_SLEEP, self._recruit.lease / 8))
            self._bus.retention.now_and_then()

    def keep(self) -> Mapping[Position, int]:
        """Renew the membership; return what is held, with the epoch of each."""
        self._attend()
        return {at: held.epoch for at, held in self._held.items()}

    def commit(self, consumed: Iterable[Message], outputs: Sequence[Outgoing] = ()) -> None:
        """Publish `outputs` and mark `consumed` as done, in one transaction.

        Raises
        ------
        PartitionLost
            If a partition of a consumed message has changed hands, or this member was not heard of for the
            length of its lease: nothing is published.
        """
        self._demand_own_process()
        done = list(consumed)
        if not done and not outputs:
            return
        bus = self._bus
        with bus.database.reading() as db:
            bus.log.demand(db, {output.topic for output in outputs})
        with bus.database.writing() as db:
            now = time.monotonic()
            if done and (self._closed or now > self._expires or bus.database.identity != self._file):
                raise PartitionLost(message.position for message in done)
            bus.groups.mark(db, self._crew, self._member, done)
            touched = bus.log.append(db, outputs)
            bells = bus.groups.bells(db, touched)
            due = now > self._due and bus.database.identity == self._file
            renewed = due and bus.groups.renew(db, self._member, self._recruit.lease)
        if renewed:
            self._renewed(now)
        ring(bells)
        bus.retention.now_and_then()

    def rewind(self) -> None:
        """Go back to the committed offsets."""
        self._attend()
        self._load(afresh=True)

    def close(self) -> None:
        """Leave the group. What cannot be said to a broken file the lease will say."""
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        self._held, self._read = {}, {}
        self._bell.close()
        with contextlib.suppress(CalstreamError):
            with self._bus.database.writing() as db:
                bells = self._bus.groups.dismiss(db, self._crew, [self._member])
            ring(bells)

    def _attend(self) -> None:
        """Renew the lease if it is time, bury the dead, and take note of what has changed hands."""
        self._demand_own_process()
        if self._closed:
            return
        now = time.monotonic()
        groups, database = self._bus.groups, self._bus.database
        if now > self._expires:
            self._join()
        if now > self._look:
            self._bus.bury(self._recruit.group)
            self._look = now + _LOOK_AROUND
        if now > self._due:
            with database.writing() as db:
                there = groups.renew(db, self._member, self._recruit.lease)
            if there:
                self._renewed(now)
        with database.reading() as db:
            generation = groups.generation(db, self._crew)
        if (database.opened, generation) != self._seen:
            self._load()

    def _join(self) -> None:
        """Join, or find the way back: then all partitions are held anew."""
        now = time.monotonic()
        database, groups, recruit = self._bus.database, self._bus.groups, self._recruit
        with database.writing() as db:
            crew, member, bells = groups.enlist(db, recruit)
            seen = database.opened, groups.generation(db, crew)
            held = groups.held(db, crew, member, recruit.topics) or {}
        self._crew, self._member, self._seen, self._held = crew, member, seen, held
        self._read = {at: one.committed for at, one in held.items()}
        self._file = database.identity
        self._look = now + _LOOK_AROUND
        self._renewed(now)
        ring(bells - {recruit.bell})

    def _renewed(self, now: float) -> None:
        self._due = now + self._recruit.lease / 4
        self._expires = now + self._recruit.lease

    def _load(self, *, afresh: bool = False) -> None:
        """Read what is held; partitions that stay go on where they were polled, unless `afresh`."""
        groups, database, recruit = self._bus.groups, self._bus.database, self._recruit
        with database.reading() as db:
            # the older of two states: a change in between is seen at the next look
            seen = database.opened, groups.generation(db, self._crew)
            held = groups.held(db, self._crew, self._member, recruit.topics)
        if held is None or database.identity != self._file:
            self._join()
            return
        stays = set() if afresh else {at for at in held if self._is_held(at, held[at].epoch)}
        self._read = {at: self._read[at] if at in stays else one.committed for at, one in held.items()}
        self._held, self._seen = held, seen

    def _is_held(self, position: Position, epoch: int) -> bool:
        return position in self._held and self._held[position].epoch == epoch

    def _take(self, limit: int) -> list[Message]:
        if not self._held:
            return []
        log = self._bus.log
        starts: dict[str, dict[int, int]] = defaultdict(dict)
        with self._bus.database.reading() as db:
            ends = log.ends(db, self._recruit.topics)
            for at, held in self._held.items():
                if self._read[at] < ends[held.part]:
                    starts[at[0]][held.part] = self._read[at]
            queues = {topic: log.oldest(db, parts, limit) for topic, parts in starts.items()}
        numbers = {held.part: (at, held.epoch) for at, held in self._held.items()}
        turns = in_turns(queues, limit, self._last)
        found = [message_of(at, row, epoch) for _, (row, part) in turns for at, epoch in [numbers[part]]]
        # only now: what could not be read to the end is read again
        if len(found) < limit:  # between the offsets of what is left some have gone
            self._read.update({at: max(self._read[at], ends[held.part]) for at, held in self._held.items()})
        else:
            self._read.update({message.position: message.offset + 1 for message in found})
        self._last = turns[-1][0] if turns else self._last
        return found

    def _demand_own_process(self) -> None:
        if self._pid != os.getpid():
            raise UsageError(
                "a consumer belongs to the process that made it; make another one in this process"
            )
