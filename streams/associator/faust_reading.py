"""How Faust reads from Kafka and notes how far it is, where faust-streaming 0.15.3 would lose messages.

While a group is shared out anew Faust drops what it has fetched and goes back to the offsets that are
committed. Four things are wrong with that.

- What it drops it acknowledges, so an offset behind it may be committed before it has gone back.
- Of a partition on which nothing has been committed yet it does not go back, and passes over what it dropped.
- It reads on before it has gone back. A message of that time may say afterwards how far it has read, and the
  ones before it, when they come again, count as known and are dropped.
- A hole that comes of that is passed over if it is one message wide or at the beginning; before any other one
  no offset is ever committed again.

Here a partition is held in tenures. One begins when Faust goes back, to what is committed or else to the
beginning of the partition, and ends when the group is shared out anew. All that is drawn from the partition
meanwhile is noted at once, and the offset that is committed lies before the first of it that is not done. So
whatever is dropped where, the worst that can come of it is that a message is read again.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from faust.transport.drivers import aiokafka

NONE: Final = -2
"""Generation of a message that comes again."""


class Tenure:
    """What was drawn from a partition since Faust went back, and what of it is done.

    One thread draws, another one finishes.

    Parameters
    ----------
    offset : int
        Of the message that it begins with.
    """

    def __init__(self, offset: int) -> None:
        self.committed = offset
        self._reached = offset
        self._drawn: deque[int] = deque()
        self._done: set[int] = set()

    def draw(self, offsets: Iterable[int]) -> None:
        """Note messages, in their order."""
        self._drawn.extend(offsets)

    def finish(self, offset: int) -> None:
        """Note that a message is done."""
        self._done.add(offset)

    def reached(self) -> int:
        """Return the offset before which every message is done."""
        while self._drawn and self._drawn[0] in self._done:
            self._reached = self._drawn.popleft() + 1
            self._done.remove(self._reached - 1)
        return self._reached


class _Drawn(NamedTuple):
    record: Any
    tenure: Tenure


class _AllUnread(defaultdict[Any, Any]):
    """How far Faust has read each partition: never so far that something counts as known."""

    def __getitem__(self, key: Any) -> None:
        return None


class Consumer(aiokafka.Consumer):  # type: ignore[misc]
    """Commits what is done, and nothing behind what is not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _AllUnread(None)
        self.tenures: Final[dict[Any, Tenure]] = {}

    def ack(self, message: Any) -> bool:
        """Note that a message is done, unless it comes again."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        tenure = message.tenure
        holds = tenure is not None and tenure is self.tenures.get(message.tp)
        current = message.generation_id == self.app.consumer_generation_id
        if not (holds and current and self.app.flow_control.is_active()):
            return False
        tenure.finish(message.offset)
        return True

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit how far every partition is done."""
        held = dict(self.tenures)
        offsets = {tp: offset for tp, one in held.items() if (offset := one.reached()) > one.committed}
        if not offsets or not await self._commit_offsets(offsets, start_new_transaction):
            return False
        for tp, offset in offsets.items():
            held[tp].committed = offset
        return True

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """End all tenures."""
        await super().on_partitions_revoked(revoked)
        self.tenures.clear()

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """End all tenures; new ones begin when the tables are there."""
        self.tenures.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    def _new_consumer_thread(self) -> Any:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: Any, record: Any) -> Any:
        record, tenure = record if isinstance(record, _Drawn) else (record, None)
        message = super()._to_message(tp, record)
        message.tenure = tenure
        if tenure is not self.tenures.get(tp):
            message.generation_id = NONE  # whatever generation it is by now, this is of an earlier one
        return message


class _Thread(aiokafka.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that talks with the brokers; what has no ``await`` in between happens at once."""

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Go back, and begin a tenure of every partition but those of the changelogs."""
        begun: Mapping[Any, int] = await self.call_thread(self._begin_tenures)
        return begun

    async def _begin_tenures(self) -> Mapping[Any, int]:
        consumer = self._ensure_consumer()
        changelogs = self.app.tables.changelog_topics
        held = [tp for tp in consumer.assignment() if tp.topic not in changelogs]
        offsets = {tp: await consumer.committed(tp) for tp in held}
        fresh = [tp for tp, offset in offsets.items() if not offset]
        if fresh:
            offsets.update(await consumer.beginning_offsets(fresh))
        for tp, offset in offsets.items():
            consumer.seek(tp, offset)
            self.consumer.tenures[tp] = Tenure(offset)
        return offsets

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        records = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        return {tp: self._drawn(tp, some) for tp, some in records.items()}

    def _drawn(self, tp: Any, records: list[Any]) -> list[Any]:
        if tp.topic in self.app.tables.changelog_topics:
            return records
        tenure = self.consumer.tenures.get(tp)
        if tenure is None:
            return []  # they come again, when it has gone back
        tenure.draw(record.offset for record in records)
        return [_Drawn(record, tenure) for record in records]


class Transport(aiokafka.Transport):  # type: ignore[misc]
    """Faust's transport with that consumer."""

    Consumer = Consumer
