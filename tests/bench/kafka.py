"""The services' loop and replicas on Apache Kafka, and the least that a loop there can do."""

import shutil
import threading
import time
from contextlib import contextmanager

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from streams.bus.opening import open_bus
from streams.envelope import pack
from streams.kafka.local import LocalKafka
from tests.bench.noop import Replicas
from tests.bench.services import beside, fresh, in_turns
from tests.streams.service.support import raw

EVENTS = 50
"""Of a round of the loop, for each partition."""
TOGETHER = 100
"""Events that share a transaction of the bare loop."""
SIZE = 1500


def loop(work, rounds, say):
    """Measure the services' loop and the bare one in turns on one broker, as `services.loop` does."""
    folder = fresh(work / "kafka-loop")
    ours = folder / "ours"
    with broker(folder / "kafka") as url, BareLoop(url) as bare, KafkaReplicas(ours, bus=url) as service:
        found = beside(service, bare, EVENTS, rounds, say)
    shutil.rmtree(folder)
    return found


def replicas(work, rounds, say):
    """Measure 1, 2 and 4 processes on a broker each, in turns; return samples by number."""
    folder = fresh(work / "kafka-replicas")
    with broker(folder / "1") as one, broker(folder / "2") as two, broker(folder / "4") as four:
        urls = {1: one, 2: two, 4: four}
        found = in_turns(
            lambda number: KafkaReplicas(folder / f"ours-{number}", number, urls[number]), rounds, say
        )
    shutil.rmtree(folder)
    return found


@contextmanager
def broker(folder):
    """Run a broker for as long as the block lasts; give its URL."""
    local = LocalKafka(folder)
    try:
        yield f"kafka://{local.up(1, port=0)}"
    finally:
        local.down()


class KafkaReplicas(Replicas):
    """Replicas whose events a reader waits for: the time is until it is given the last one."""

    _reader = None

    def through(self, names):
        """Publish exposures of these names at once; return the seconds until the last one's event is read."""
        bus = self._site.bus
        if self._reader is None:
            self._reader = bus.consumer("bench", ["ramp"])
        events = [pack(raw(self._site, name)) for name in names]
        seen = []
        began = time.perf_counter()
        bus.publish(events)

        def all_seen():
            seen.extend(self._reader.poll(1.0, len(events)))
            return len(seen) >= len(events)

        self._processes.wait(all_seen, pause=0.0)
        seconds = time.perf_counter() - began
        self._reader.commit(seen)
        return seconds


class BareLoop:
    """Copies events from a topic to another, so many in a transaction with their offsets; nothing else.

    Parameters
    ----------
    url : str
        Of the bus.
    """

    def __init__(self, url):
        servers = url.removeprefix("kafka://").split(",")
        bus = open_bus(url)
        bus.create_topics(["bare-in", "bare-out"])
        bus.close()
        common = {"bootstrap_servers": servers, "retry_backoff_ms": 10}
        self._source = KafkaProducer(**common)
        self._consumer = KafkaConsumer(
            "bare-in", group_id="bare", auto_offset_reset="earliest", enable_auto_commit=False,
            isolation_level="read_committed", **common,
        )  # fmt: skip
        self._consumer.poll(0)
        self._producer = KafkaProducer(transactional_id="bare", **common)
        self._producer.init_transactions()

    def through(self, names):
        """Take events of these names through; return the seconds that it takes."""
        publishing = threading.Thread(target=self._publish, args=(names,))
        began = time.perf_counter()
        publishing.start()
        left = len(names)
        while left:
            records = []
            while len(records) < min(TOGETHER, left):
                found = self._consumer.poll(1000, max_records=min(TOGETHER, left) - len(records))
                records += [record for batch in found.values() for record in batch]
            self._copy(records)
            left -= len(records)
        seconds = time.perf_counter() - began
        publishing.join()
        return seconds

    def close(self):
        """Let go of the clients."""
        for client in (self._source, self._consumer, self._producer):
            client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _publish(self, names):
        for name in names:
            self._source.send("bare-in", key=name.encode(), value=(name.encode() * SIZE)[:SIZE])
        self._source.flush()

    def _copy(self, records):
        ends = {TopicPartition(one.topic, one.partition): one.offset + 1 for one in records}
        offsets = {at: OffsetAndMetadata(end, "", -1) for at, end in ends.items()}
        self._producer.begin_transaction()
        sent = [self._producer.send("bare-out", key=one.key, value=one.value) for one in records]
        self._producer.send_offsets_to_transaction(offsets, self._consumer.group_metadata())
        self._producer.commit_transaction()
        for future in sent:
            future.get(10)
