"""A record that the broker refuses in a transaction: what the client makes of it, and what the bus does."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from schemas.errors import UsageError
from streams.bus import Outgoing, Topic
from tests.streams.bus.brokers import cluster, empty_bus

from .made import DEADLINE, said, take, values

LONG = b"x" * 50_000
TOO_LONG = Outgoing(topic="tight", key="a", value=LONG)


@pytest.fixture
def bus():
    """A bus that takes the topic `tight` for a wider one than the broker does."""
    made = empty_bus(lease=DEADLINE)
    made.create_topics(["raw", "ramp", Topic(name="tight", max_bytes=1000)])
    made._book._known["tight"] = replace(made._book._known["tight"], max_bytes=len(LONG))
    yield made
    made.close()


def test_nothing_is_lost_when_the_broker_refuses_a_record(bus):
    bus.publish([said("raw", "a", str(i)) for i in range(3)])
    consumer = bus.consumer("g", ["raw"])
    batch = take(consumer, 3)
    with pytest.raises(UsageError, match="Kafka refuses it"):
        consumer.commit(batch[:1], [said("ramp", "a", "with it"), TOO_LONG])
    assert bus.lag("g", ["raw"]) == {"raw": 3}
    again = take(consumer, 3)
    assert values(again) == values(batch)
    for message in again:
        consumer.commit([message], [said("ramp", "a", f"made of {message.value.decode()}")])
        assert values(bus.read("ramp"))[-1] == b"made of " + message.value
    assert bus.lag("g", ["raw"]) == {"raw": 0}
    assert values(bus.read("ramp")) == [b"made of 0", b"made of 1", b"made of 2"]


def test_what_is_too_long_only_together_is_taken(bus):
    """As where an operator lets a topic take less than the bus made it for."""
    with KafkaAdminClient(bootstrap_servers=cluster().bootstrap.split(",")) as admin:
        admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, "tight", {"max.message.bytes": "1000"})]
        )
    bus.publish([said("raw", "a", str(i)) for i in range(8)])
    consumer = bus.consumer("g", ["raw"])
    batch = take(consumer, 8)
    parts = [f"{number}{'x' * 400}" for number in range(8)]
    consumer.commit(batch, [said("tight", "a", part) for part in parts])
    assert values(bus.read("tight")) == [part.encode() for part in parts]
    assert bus.lag("g", ["raw"]) == {"raw": 0}


def test_publishing_goes_on_when_the_broker_refuses_a_record(bus):
    bus.publish([said("ramp", "a", "0")])
    with pytest.raises(UsageError, match="Kafka refuses it"):
        bus.publish([said("raw", "a", "all or none"), TOO_LONG])
    bus.publish([said("ramp", "a", "1")])
    assert values(bus.read("ramp")) == [b"0", b"1"]
    assert values(bus.read("raw")) == []


def test_a_producer_that_is_used_again_loses_a_record(bus):
    """Why the bus throws its producer away. Should this fail, the client has been mended."""
    bus.publish([said("raw", "a", str(i)) for i in range(3)])
    servers = cluster().bootstrap.split(",")
    consumer = KafkaConsumer(
        "raw", bootstrap_servers=servers, group_id="naive", auto_offset_reset="earliest",
        isolation_level="read_committed", enable_auto_commit=False,
    )  # fmt: skip
    producer = KafkaProducer(bootstrap_servers=servers, transactional_id="naive", retry_backoff_ms=10)
    producer.init_transactions()
    taken: list = []
    while len(taken) < 3:
        taken += [one for batch in consumer.poll(1000).values() for one in batch]
    claimed = []
    for number, record in enumerate(taken):
        at = TopicPartition(record.topic, record.partition)
        producer.begin_transaction()
        with contextlib.suppress(KafkaError):
            producer.send("tight", key=b"a", value=b"made of " + record.value if number else LONG)
            offsets = {at: OffsetAndMetadata(record.offset + 1, "", -1)}
            producer.send_offsets_to_transaction(offsets, consumer.group_metadata())
            producer.commit_transaction()
            claimed.append(record.value)
            continue
        producer.abort_transaction()
    made = values(bus.read("tight"))
    assert bus.lag("naive", ["raw"]) == {"raw": 0}
    assert claimed == [b"1", b"2"]
    assert made == [b"made of 2"]
    producer.close()
    consumer.close()
