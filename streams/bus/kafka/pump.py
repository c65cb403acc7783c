"""The thread of a member that talks to its group.

kafka-python joins a group in ``poll`` only. When a join ends while nobody polls, its result is thrown away:
the next ``poll`` joins again, so that members which poll briefly now and then never get together; or, where
new partitions had made it join, it takes no notice and is stuck, without heartbeats. So this thread polls
without a pause, whatever the member itself is busy with, and stops only when that has shown no sign of life
for its lease; it knows the partitions before it joins, and begins anew when it is stuck. Nobody else uses the
client.
"""

from __future__ import annotations

import contextlib
import heapq
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

from kafka import TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import ConsumerGroupMetadata, MemberState

from streams.bus.kafka.failures import passes
from streams.bus.kafka.messages import message_of, partition_at, to_wire
from streams.bus.kafka.ownership import Ownership
from streams.bus.kafka.pausing import pause_only
from streams.bus.protocol import Message, Position
from streams.bus.sharing import in_turns

_AHEAD: Final = 128
"""Messages of a partition that are fetched before they are asked for."""

_SLICE: Final = 100
"""Milliseconds of one poll."""

_ANSWER: Final = 30.0
"""Seconds to wait for the group's coordinator."""

_GOODBYE: Final = 2.0
"""Seconds to leave."""


class Pump:
    """Keeps a member in its group, and fetches ahead.

    Parameters
    ----------
    client : KafkaConsumer
        Which this object owns from now on.
    topics : sequence of str
        To subscribe to.
    ownership : Ownership
        To be told of what is assigned.
    lease : float
        Seconds without a sign of life after which the member leaves its group.
    """

    def __init__(self, client: Any, topics: Sequence[str], ownership: Ownership, lease: float) -> None:
        self._client, self._ownership, self._lease = client, ownership, lease
        self._topics = [to_wire(topic) for topic in topics]
        self._changed = threading.Condition()
        self._fetched: dict[Position, deque[Message]] = {}
        self._turn_of: str | None = None
        self._membership: ConsumerGroupMetadata | None = None
        self._failure: BaseException | None = None
        self._back = False
        self._back_failure: KafkaError | None = None
        self._busy = 0
        self._seen = time.monotonic()
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="member")
        self._joining_since: float | None = None
        self._thread.start()

    @property
    def membership(self) -> ConsumerGroupMetadata | None:
        """Return what the broker knows the member by, not newer than what `ownership` says."""
        return self._membership

    def wait_for_membership(self, timeout: float, other_than: ConsumerGroupMetadata | None = None) -> bool:
        """Wait until the group has taken the member in, or in anew, and return whether it has."""

        def news() -> bool:
            return self._failure is not None or self._membership not in (None, other_than)

        with self.alive(), self._changed:
            found = self._changed.wait_for(news, timeout)
            self._demand()
            return found

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Count the member as alive in the block, and from then on for the lease."""
        with self._changed:
            self._busy += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._seen = time.monotonic()

    def demand(self) -> None:
        """Raise what the thread died of.

        Raises
        ------
        KafkaError
            If it did.
        """
        with self._changed:
            self._demand()

    def take(self, timeout: float, limit: int) -> list[Message]:
        """Return up to `limit` messages of partitions that are held, waiting `timeout` seconds at most."""
        deadline = time.monotonic() + timeout
        with self.alive(), self._changed:
            while True:
                found = self._held(limit)
                self._demand()
                left = deadline - time.monotonic()
                if found or left <= 0:
                    self._changed.notify_all()
                    return found
                self._changed.wait(left)

    def go_back(self) -> None:
        """Go on from the committed offsets, in new epochs.

        Raises
        ------
        KafkaError
            If the brokers do not say what they are.
        """
        with self.alive(), self._changed:
            self._back = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._back or self._failure, 2 * _ANSWER)
            self._demand()
            if not done:
                raise KafkaTimeoutError(f"no answer after {2 * _ANSWER:.0f} s")
            if self._back_failure is not None:
                raise self._back_failure

    def close(self) -> None:
        """Leave the group, and wait until that is done."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(4 * _GOODBYE)

    def _run(self) -> None:
        try:
            self._subscribe()
            while not self._closing:
                self._turn()
            deadline = time.monotonic() + _GOODBYE
            while self._rebalancing() and time.monotonic() < deadline:
                self._client.poll(_SLICE)  # the broker hears nothing else before that is over
        except Exception as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            self._ownership.clear()
            with contextlib.suppress(Exception):
                self._client.close(timeout_ms=round(_GOODBYE * 1000))

    def _turn(self) -> None:
        if self._gone_silent():
            self._stand_down()
            return
        if self._stuck():
            self._client.unsubscribe()
            self._ownership.clear()
            self._subscribe()
        if self._back:
            self._seek_committed()
        rest = self._pause_full() and not self._rebalancing()
        try:
            polled = self._client.poll(0 if rest else _SLICE, max_records=_AHEAD // 2)
        except KafkaError as error:
            if not passes(error):
                raise
            polled, rest = {}, True
        self._take_in(polled)
        if rest:
            with self._changed:
                self._changed.wait(_SLICE / 1000)

    def _take_in(self, polled: dict[TopicPartition, list[Any]]) -> None:
        membership = self._client.group_metadata()
        epochs = self._ownership.held()
        messages = [
            message_of(record, epochs[partition])
            for partition, records in polled.items()
            if partition in epochs
            for record in records
        ]
        with self._changed:
            for message in messages:
                self._fetched.setdefault(message.position, deque()).append(message)
            if membership.state == MemberState.STABLE and membership != self._membership:
                self._membership = membership
                self._changed.notify_all()
            elif messages:
                self._changed.notify_all()

    def _held(self, limit: int) -> list[Message]:
        epochs = self._ownership.positions()
        for at, queue in list(self._fetched.items()):
            while queue and queue[0].epoch != epochs.get(at):
                queue.popleft()
            if not queue:
                del self._fetched[at]
        waiting: dict[str, list[deque[Message]]] = defaultdict(list)
        for (topic, _), queue in self._fetched.items():
            waiting[topic].append(queue)
        queues = {topic: heapq.merge(*parts, key=attrgetter("timestamp")) for topic, parts in waiting.items()}
        turns = in_turns(queues, limit, self._turn_of)
        self._turn_of = turns[-1][0] if turns else self._turn_of
        return [self._fetched[message.position].popleft() for _, message in turns]

    def _seek_committed(self) -> None:
        failed: KafkaError | None = None
        self._ownership.renew()
        try:
            for partition in self._ownership.held():
                offset = self._client.committed(partition, timeout_ms=round(_ANSWER * 1000))
                with contextlib.suppress(ValueError):  # it was taken away in between
                    if offset is None:
                        self._client.seek_to_beginning(partition)
                    else:
                        self._client.seek(partition, offset)
        except KafkaError as error:
            failed = error
        with self._changed:
            self._fetched.clear()
            self._back, self._back_failure = False, failed
            self._changed.notify_all()

    def _pause_full(self) -> bool:
        """Pause what has enough waiting, and return whether that is everything."""
        with self._changed:
            full = {partition_at(at) for at, queue in self._fetched.items() if len(queue) >= _AHEAD}
        pause_only(self._client, full)
        held = self._client.assignment()
        return bool(held) and held <= full

    def _rebalancing(self) -> bool:
        return bool(self._client.group_metadata().state == MemberState.REBALANCING)

    def _gone_silent(self) -> bool:
        return not self._busy and time.monotonic() > self._seen + self._lease

    def _stand_down(self) -> None:
        """Leave the group until the member shows a sign of life."""
        self._client.unsubscribe()
        self._ownership.clear()
        with self._changed:
            self._fetched.clear()
            self._membership = None
            self._changed.wait_for(lambda: self._closing or not self._gone_silent())
        self._subscribe()

    def _subscribe(self) -> None:
        self._client.subscribe(self._topics, listener=self._ownership)
        for topic in self._topics:
            self._client.partitions_for_topic(topic)

    def _stuck(self) -> bool:
        """Return whether a join has taken longer than any member has to take part in it."""
        if not self._rebalancing():
            self._joining_since = None
        elif self._joining_since is None:
            self._joining_since = time.monotonic()
        elif time.monotonic() > self._joining_since + 4 * self._lease:
            self._joining_since = None
            return True
        return False

    def _demand(self) -> None:
        if self._failure is not None:
            raise self._failure
