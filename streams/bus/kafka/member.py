"""A member of a consumer group on Kafka."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

from kafka.errors import KafkaError
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from streams.bus.kafka.connection import Connection
from streams.bus.kafka.failures import LOST, Fenced, failure, is_any, told
from streams.bus.kafka.messages import partition_at
from streams.bus.kafka.ownership import Assignor, Ownership
from streams.bus.kafka.pump import Pump
from streams.bus.kafka.topics import TopicBook
from streams.bus.kafka.transactions import Transactions
from streams.bus.protocol import Message, Outgoing, PartitionLost, Position


class KafkaMember:
    """A consumer of a :class:`KafkaBus`; used by one thread.

    Parameters
    ----------
    connection : Connection
        Where to.
    book : TopicBook
        Its topics.
    group : str
        Which group to join.
    topics : tuple of str
        What to read.
    identity : tuple of str
        Its name (empty: a new one at each start), by which it gets its partitions back, and its transactional
        id, by which it ends what it had begun.
    lease : float
        Seconds after which it counts as dead.
    exclusive : bool
        Whether one member holds everything.
    """

    def __init__(
        self,
        connection: Connection,
        book: TopicBook,
        group: str,
        topics: tuple[str, ...],
        identity: tuple[str, str],
        lease: float,
        exclusive: bool,
    ) -> None:
        name, transactional = identity
        self._book, self._group, self._lease = book, group, lease
        self._transactions = Transactions(connection, transactional)
        with told(f"group {group} cannot be joined"):
            self._transactions.prepare()
        self._ownership = Ownership()
        self._unsettled = False
        self._closed = False
        self._fenced: Fenced | None = None
        self._committed: dict[Position, tuple[int, int]] = {}
        milliseconds = round(lease * 1000)
        client = connection.consumer(
            group_id=group,
            group_instance_id=name or None,
            partition_assignment_strategy=[Assignor(self._ownership, exclusive)],
            session_timeout_ms=milliseconds,
            heartbeat_interval_ms=min(500, milliseconds // 10),
            max_poll_interval_ms=3 * milliseconds,
        )
        self._pump = Pump(client, topics, self._ownership, lease)
        with told(f"group {group} cannot be joined"):
            self._pump.wait_for_membership(lease)

    def poll(self, timeout: float, limit: int = 64) -> list[Message]:
        """Return up to `limit` messages behind the last ones polled, waiting `timeout` seconds at most.

        Raises
        ------
        Retriable
            If a transaction has failed and the brokers cannot yet say what became of it.
        Fenced
            If another process has the name of this one.
        """
        self._demand_our_name()
        if self._unsettled and not self._closed:
            self.rewind()
        with told(f"group {self._group} cannot be read"):
            return self._pump.take(timeout, limit)

    def keep(self) -> Mapping[Position, int]:
        """Renew the membership without taking messages; return what is held, with the epoch of each."""
        self._demand_our_name()
        with self._pump.alive(), told(f"group {self._group} cannot be kept up with"):
            self._pump.demand()
            return self._ownership.positions()

    def commit(self, consumed: Iterable[Message], outputs: Sequence[Outgoing] = ()) -> None:
        """Publish `outputs` and mark `consumed`, and all before them, as done: both or neither.

        Raises
        ------
        PartitionLost
            If a partition of a consumed message has changed hands since it was polled.
        UsageError
            If a message cannot be sent.
        Retriable
            If Kafka fails: what was polled so far comes again, unless it turns out to be done.
        Fenced
            If another process has the name of this one.
        """
        self._demand_our_name()
        done = list(consumed)
        if not done and not outputs:
            return
        topics = self._book.check(outputs)
        ends = self._ends(done)
        offsets = {partition_at(at): OffsetAndMetadata(end, "", -1) for at, (_, end) in ends.items()}
        with self._pump.alive():
            while True:
                # First: if the group goes on without us from here, the broker knows that this one is old.
                membership = self._pump.membership
                self._demand_held(done, membership is not None)
                try:
                    self._transactions.run(outputs, topics, offsets, membership)
                except KafkaError as error:
                    # The group shares anew, and what is to be committed may be among what stays here.
                    if not is_any(error, LOST) or not self._taken_in_anew(membership):
                        self._start_over(error, {m.position for m in done})
                else:
                    self._committed.update(ends)
                    return

    def rewind(self) -> None:
        """Go back to the committed offsets: what was polled and not committed comes again.

        Raises
        ------
        Retriable
            If the brokers do not answer.
        """
        self._demand_our_name()
        self._unsettled = True
        with self._pump.alive(), told(f"group {self._group} cannot go back to what is committed"):
            self._transactions.prepare()  # so that nothing of ours is half done
            self._pump.go_back()
        self._unsettled = False

    def close(self) -> None:
        """Leave the group; a member with a name keeps its place there for the lease."""
        if not self._closed:
            self._closed = True
            self._transactions.close()
            self._pump.close()

    def _demand_held(self, done: Sequence[Message], member: bool) -> None:
        held = self._ownership.positions() if member else {}
        if lost := {message.position for message in done if held.get(message.position) != message.epoch}:
            raise PartitionLost(lost)

    def _taken_in_anew(self, membership: ConsumerGroupMetadata | None) -> bool:
        """End what is open, for which all readers would wait, and wait for the group to share anew."""
        with contextlib.suppress(KafkaError):
            self._transactions.prepare()
        return self._pump.wait_for_membership(self._lease, membership)

    def _start_over(self, error: KafkaError, positions: set[Position]) -> None:
        told_as = failure(error, f"what group {self._group} has done could not be committed")
        self._ownership.renew()
        self._unsettled = True
        if isinstance(told_as, Fenced):
            self._fenced = told_as
        elif positions and is_any(error, LOST):
            raise PartitionLost(positions) from error
        raise told_as from error

    def _demand_our_name(self) -> None:
        if self._fenced is not None:
            raise self._fenced

    def _ends(self, done: Sequence[Message]) -> dict[Position, tuple[int, int]]:
        """Return epoch and offset behind the last of `done`, where that is news."""
        ends: dict[Position, tuple[int, int]] = {}
        for message in done:
            end = message.epoch, message.offset + 1
            known = ends.get(message.position) or self._committed.get(message.position)
            if known is None or known < end:
                ends[message.position] = end
        return ends
