"""How far a partition is done, whatever Faust drops and reads again; without a broker."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace

import faust
import pytest
from aiokafka.errors import ConsumerStoppedError
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.associator.faust_app import AssociatorApp
from streams.associator.faust_reading import Tenure, Transport

CAL = TP("cal", 0)


class Partition:
    """A consumer of aiokafka that holds one partition with these offsets."""

    _closed = False
    _max_poll_records = None

    def __init__(self, offsets, committed=None) -> None:
        self.offsets = list(offsets)
        self.commits = [committed]
        self.place = self.offsets[0]
        self._fetcher = SimpleNamespace(
            _closed=False,
            fetched_records=self.fetched_records,
            _subscriptions=SimpleNamespace(fetch_context=nullcontext),
        )

    def assignment(self):
        return {CAL}

    async def committed(self, _):
        return self.commits[-1]

    async def beginning_offsets(self, tps):
        return dict.fromkeys(tps, self.offsets[0])

    def seek(self, _, offset) -> None:
        self.place = offset

    def highwater(self, _):
        return self.offsets[-1] + 1

    async def commit(self, offsets) -> None:
        self.commits.append(offsets[CAL].offset)

    async def fetched_records(self, *_, **__):
        some = [offset for offset in self.offsets if offset >= self.place]
        if not some:
            raise ConsumerStoppedError  # ends the reading of the test
        self.place = some[-1] + 1
        return {CAL: [record(offset) for offset in some]}


def record(offset):
    return SimpleNamespace(
        topic="cal", partition=0, offset=offset, timestamp=0, timestamp_type=0, headers=(), key=b"",
        value=b"", checksum=None, serialized_key_size=0, serialized_value_size=0,
    )  # fmt: skip


class Reader:
    """Faust's consumer on a partition; keeps what it is told of, and can do something meanwhile."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.messages = []
        self.meanwhile = {}
        self.app = faust.App("a", broker="kafka://nowhere:1", store="memory://", stream_wait_empty=False)
        self.app.transport = Transport(self.app.conf.broker_consumer, self.app)
        self.consumer = self.app.transport.create_consumer(
            callback=self.told, on_partitions_revoked=self.nothing, on_partitions_assigned=self.nothing
        )
        thread = self.consumer._thread
        thread._consumer, thread.call_thread = partition, self.at_once
        self.app.consumer_generation_id = 0
        self.app.topics.acks_enabled_for = lambda topic: True  # as of a topic that an agent reads
        self.app.flow_control.resume()

    @staticmethod
    async def at_once(work, *args, **named):
        return await work(*args, **named)

    @staticmethod
    async def nothing(*_, **__) -> None: ...

    async def told(self, message) -> None:
        self.messages.append(message)
        if happens := self.meanwhile.pop(message.offset, None):
            await happens()

    async def shared_out(self) -> None:
        """Let the group be shared out anew, and the partition stay here."""
        await self.consumer.on_partitions_revoked({CAL})
        self.app.consumer_generation_id += 1
        await self.consumer.on_partitions_assigned({CAL}, self.app.consumer_generation_id)
        await self.consumer.perform_seek()

    async def read(self):
        """Read to the end; return the offsets of this time."""
        before = len(self.messages)
        with pytest.raises(ConsumerStoppedError):
            await self.consumer._drain_messages(SimpleNamespace(_stopped=asyncio.Event()))
        return [message.offset for message in self.messages[before:]]

    async def committed(self):
        await self.consumer.commit()
        return self.partition.commits[-1]


def run(test) -> None:
    asyncio.run(test)


def test_what_comes_again_after_the_group_was_shared_out_is_read_and_committed():
    async def test() -> None:
        reader = Reader(Partition(range(10, 15), committed=10))
        await reader.shared_out()
        reader.meanwhile[12] = reader.shared_out
        assert await reader.read() == [10, 11, 12, 10, 11, 12, 13, 14]
        assert [reader.consumer.ack(message) for message in reader.messages] == [False] * 3 + [True] * 5
        assert await reader.committed() == 15

    run(test())


def test_what_is_read_before_it_has_gone_back_is_read_afterwards():
    async def test() -> None:
        reader = Reader(Partition(range(5)))
        await reader.consumer.on_partitions_assigned({CAL}, 0)
        assert await reader.read() == []
        await reader.consumer.perform_seek()
        assert await reader.read() == [0, 1, 2, 3, 4]

    run(test())


@pytest.mark.parametrize("lost", [7, 8, 9])
def test_nothing_behind_a_message_that_is_not_done_is_committed(lost):
    async def test() -> None:
        reader = Reader(Partition(range(7, 12)))
        await reader.shared_out()
        await reader.read()
        missing = next(message for message in reader.messages if message.offset == lost)
        for message in reversed(reader.messages):
            if message is not missing:
                reader.consumer.ack(message)
        assert await reader.committed() == (None if lost == 7 else lost)
        reader.consumer.ack(missing)
        assert await reader.committed() == 12

    run(test())


def test_a_commit_that_fails_is_made_again():
    async def test() -> None:
        reader = Reader(Partition(range(3)))
        await reader.shared_out()
        await reader.read()
        for message in reader.messages:
            reader.consumer.ack(message)
        commit, reader.consumer._commit = reader.consumer._commit, lambda offsets: asyncio.sleep(0, False)
        assert await reader.committed() is None
        reader.consumer._commit = commit
        assert await reader.committed() == 3

    run(test())


def test_what_was_drawn_before_counts_for_no_generation():
    async def test() -> None:
        reader = Reader(Partition(range(3)))
        await reader.shared_out()
        drawn = (await reader.consumer._thread.getmany({CAL}, 0))[CAL]
        await reader.shared_out()
        message = reader.consumer._to_message(CAL, drawn[0])
        assert message.generation_id != reader.app.consumer_generation_id
        assert not reader.consumer.ack(message)

    run(test())


def test_what_is_acknowledged_while_nothing_flows_is_not_done():
    async def test() -> None:
        reader = Reader(Partition(range(2)))
        await reader.shared_out()
        await reader.read()
        reader.app.flow_control.suspend()
        assert [reader.consumer.ack(message) for message in reader.messages] == [False, False]
        assert await reader.committed() is None

    run(test())


def test_a_worker_leaves_what_it_has_of_an_earlier_generation():
    async def test() -> None:
        done, acknowledged, ended = [], [], asyncio.Event()

        async def work(messages, generation) -> None:
            done.append(([message.offset for message in messages], generation))
            if len(done) == 2:
                ended.set()

        def event(offset, generation):
            message = ConsumerMessage(
                "members", 0, offset, 0.0, 0, (), b"", b"", None, generation_id=generation
            )
            return SimpleNamespace(message=message, ack=lambda: acknowledged.append(offset))

        worker = SimpleNamespace(app=SimpleNamespace(consumer_generation_id=2), error=None)
        events = asyncio.Queue()
        for offset, generation in enumerate([1, 2, 1, 2]):
            events.put_nowait(event(offset, generation))
        drain = asyncio.ensure_future(AssociatorApp._drain(worker, events, work))
        await asyncio.sleep(0)
        events.put_nowait(event(4, 2))
        await ended.wait()
        drain.cancel()
        assert done == [([1, 3], 2), ([4], 2)]
        assert acknowledged[:2] == [1, 3]
        assert worker.error is None

    run(test())


def test_offsets_that_hold_no_message_are_passed_over():
    tenure = Tenure(3)
    tenure.draw([4, 9, 10])
    assert tenure.reached() == 3
    tenure.finish(9)
    assert tenure.reached() == 3
    tenure.finish(4)
    assert tenure.reached() == 10
    tenure.finish(10)
    assert tenure.reached() == 11
