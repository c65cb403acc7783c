"""What is Kafka's own: names, foreign messages, members that go silent or are replaced, brokers that stop."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import IllegalGenerationError, MessageSizeTooLargeError

from schemas.errors import Retriable, UsageError
from streams.bus import Outgoing, PartitionLost, Topic, open_bus
from streams.bus.kafka import Fenced, KafkaBus
from tests.streams.bus.brokers import cluster, empty_bus

from .made import DEADLINE, positions, said, settle, take, values

CHAOS = pytest.mark.skipif("CALSTREAM_CHAOS" not in os.environ, reason="three brokers take long")


@pytest.fixture
def bus():
    made = empty_bus(lease=DEADLINE)
    made.create_topics(["raw", "ramp"])
    yield made
    made.close()


def another(**options) -> KafkaBus:
    return KafkaBus(f"kafka://{cluster().bootstrap}", **options)


def test_a_url_opens_it(bus):
    opened = open_bus(f"kafka://{cluster().bootstrap}")
    assert set(opened.topics()) == {"raw", "ramp"}
    opened.close()


def test_a_plus_may_be_in_names(bus):
    bus.create_topics([Topic(name="detector1+ramp_fit.dlq")])
    assert "detector1+ramp_fit.dlq" in bus.topics()
    bus.publish([said("detector1+ramp_fit.dlq", "a", "1")])
    consumer = bus.consumer("g", ["detector1+ramp_fit.dlq"])
    (message,) = take(consumer, 1)
    consumer.commit([message])
    assert message.topic == "detector1+ramp_fit.dlq"
    assert bus.lag("g", [message.topic]) == {message.topic: 0}
    with pytest.raises(UsageError, match="cannot be part of a name"):
        bus.create_topics(["a_plus_b"])


def test_another_number_of_partitions_is_an_error(bus):
    other = another(partitions=3)
    with pytest.raises(UsageError, match="raw is there already and has 12 partitions, not 3"):
        other.create_topics(["raw"])
    other.close()


def test_messages_of_others_come_through_whatever_is_in_them(bus):
    producer = KafkaProducer(bootstrap_servers=cluster().bootstrap.split(","))
    sent = producer.send(
        "raw", value=b"\xff", key=b"\xfe", headers=[("h", b"\xfd"), ("calstream_rank", b"x")]
    )
    sent.get(DEADLINE)
    producer.send("raw", value=None, key=b"k").get(DEADLINE)
    producer.send("raw", value=b"no key").get(DEADLINE)
    producer.send("raw", value=b"rank", headers=[("calstream_rank", b"9" * 5000)]).get(DEADLINE)
    producer.close()
    found = {m.value: m for m in take(bus.consumer("g", ["raw"]), 4)}
    assert found[b"\xff"].key == "\ufffd"
    assert dict(found[b"\xff"].headers) == {"h": "\ufffd"}
    assert found[b""].key == "k"
    assert found[b"no key"].key == ""
    assert len(list(bus.read("raw"))) == 4


def test_what_others_compress_is_unpacked_and_bounded_by_the_broker(bus):
    """Of a codec whose library is missing, one message would stop every reader of its topic for ever."""
    servers = cluster().bootstrap.split(",")
    packed = KafkaProducer(bootstrap_servers=servers, compression_type="gzip", max_request_size=2**24)
    packed.send("raw", value=b"x" * 50_000).get(DEADLINE)
    with pytest.raises(MessageSizeTooLargeError):
        packed.send("raw", value=bytes(10_000_000)).get(DEADLINE)
    packed.close()
    with KafkaAdminClient(bootstrap_servers=servers) as admin:
        (found,) = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "raw")])["topic"].values()
    assert found["compression.type"]["value"] == "uncompressed"
    assert values(bus.read("raw")) == [b"x" * 50_000]


def test_keys_and_headers_are_bounded(bus):
    with pytest.raises(UsageError, match="bytes of key and headers"):
        bus.publish([Outgoing(topic="raw", key="k" * 9000, value=b"")])


def test_a_full_partition_does_not_keep_the_others_waiting(bus):
    bus.publish([said("raw", "full", str(i)) for i in range(2000)])
    bus.publish([said("ramp", f"lone {i}", "lone") for i in range(20)])
    consumer = bus.consumer("g", ["raw", "ramp"])
    seen = 0
    keys: Counter[str] = Counter()
    while len(keys) < 21:
        batch = consumer.poll(10, 16)
        keys.update(m.key for m in batch)
        seen += len(batch)
        time.sleep(0.01)  # a consumer that does something
    assert seen < 1500


def test_nothing_stays_behind_when_more_waits_than_is_fetched_ahead(bus):
    """Partitions are paused and resumed on the way, which the client alone does not survive."""
    for start in range(0, 6000, 1000):
        bus.publish([said("raw", f"k{i % 30}", str(i)) for i in range(start, start + 1000)])
    consumer = bus.consumer("g", ["raw"])
    found: list[bytes] = []
    while len(found) < 6000:
        batch = consumer.poll(DEADLINE, 100)
        assert batch, f"stuck after {len(found)}"
        found += values(batch)
    assert sorted(found, key=int) == [str(i).encode() for i in range(6000)]
    for rest in range(30):
        mine = [value for value in found if int(value) % 30 == rest]
        assert mine == sorted(mine, key=int)


def test_all_is_read_when_partitions_are_of_different_lengths(bus, monkeypatch):
    monkeypatch.setattr("streams.bus.kafka.reading._ENOUGH", 20)
    for start in range(0, 3000, 1000):
        bus.publish([said("raw", f"k{i**2 % 17}", str(i)) for i in range(start, start + 1000)])
    assert values(bus.read("raw")) == [str(i).encode() for i in range(3000)]
    assert bus.lag("g", ["raw"]) == {"raw": 3000}


def test_a_member_that_shows_no_sign_of_life_loses_its_partitions_and_may_come_back(bus):
    bus.publish([said("raw", f"key-{i}", "x") for i in range(60)])
    quick = another(lease=2.0)
    silent = quick.consumer("g", ["raw"])
    batch = take(silent, 60)
    other = bus.consumer("g", ["raw"])
    deadline = time.monotonic() + DEADLINE
    while set(other.keep()) != positions("raw") and time.monotonic() < deadline:
        time.sleep(0.05)
    other.commit(take(other, 60))
    with pytest.raises(PartitionLost):
        silent.commit(batch, [said("ramp", "a", "late")])
    settle([silent, other], positions("raw"))
    bus.publish([said("raw", f"key-{i}", "y") for i in range(60)])
    found: list = []
    while len(found) < 60 and time.monotonic() < deadline + DEADLINE:
        found += silent.poll(0.1) + other.poll(0.1)
    assert len(found + silent.poll(0.1) + other.poll(0.1)) == 60
    assert values(bus.read("ramp")) == []
    quick.close()


def test_what_a_member_had_begun_when_it_lost_its_place_keeps_no_reader_waiting(bus, monkeypatch):
    def refuse(*_):
        raise IllegalGenerationError

    bus.publish([said("raw", "a", "0")])
    quick = another(lease=2.0)
    member = quick.consumer("g", ["raw"])
    batch = take(member, 1)
    with monkeypatch.context() as broken:
        broken.setattr(KafkaProducer, "send_offsets_to_transaction", refuse)
        with pytest.raises(PartitionLost):
            member.commit(batch, [said("ramp", "a", "late")])
    bus.publish([said("ramp", "a", "of another")])
    assert values(bus.read("ramp")) == [b"of another"]
    quick.close()


def test_a_second_process_of_one_name_ends_the_first(bus):
    bus.publish([said("raw", "a", str(i)) for i in range(2)])
    first = another(name="pod-0", lease=DEADLINE)
    old = first.consumer("twins", ["raw"])
    batch = take(old, 2)
    old.commit(batch[:1], [said("ramp", "a", "0")])
    second = another(name="pod-0", lease=DEADLINE)
    new = second.consumer("twins", ["raw"])
    again = take(new, 1)
    new.commit(again, [said("ramp", "a", "1")])
    with pytest.raises(Fenced, match="end this one"):
        old.commit(batch[1:], [said("ramp", "a", "1")])
    with pytest.raises(Fenced):
        old.poll(0)
    new.commit([], [said("ramp", "a", "still here")])
    assert values(bus.read("ramp")) == [b"0", b"1", b"still here"]
    assert [member.name for member in bus.members("twins")] == ["pod-0"]
    for one in (first, second):
        one.close()


def test_a_member_with_a_name_gets_its_partitions_back_at_once(bus):
    other = bus.consumer("pods", ["raw"])
    named = another(name="pod-1", lease=DEADLINE)
    held = set(settle([other, named.consumer("pods", ["raw"])], positions("raw"))[1])
    epochs = other.keep()
    named.close()
    named = another(name="pod-1", lease=DEADLINE)
    started = time.monotonic()
    back = named.consumer("pods", ["raw"])
    settle([other, back], positions("raw"))
    assert time.monotonic() - started < DEADLINE / 2
    assert set(back.keep()) == held
    assert other.keep() == epochs
    named.close()


def test_names_of_members_are_checked():
    with pytest.raises(UsageError, match="cannot be the name of a member"):
        KafkaBus("kafka://127.0.0.1:1", name="a b")


@pytest.mark.parametrize("nodes", [1, pytest.param(3, marks=CHAOS)])
def test_work_goes_on_when_a_broker_was_killed_and_restarted(nodes):
    bus = empty_bus(nodes, lease=DEADLINE)
    bus.create_topics(["raw", "ramp"])
    count, done = 300, threading.Event()
    bus.publish([said("raw", f"k{i}", str(i)) for i in range(count)])
    consumer = bus.consumer("g", ["raw"])

    def work() -> None:
        while not done.is_set():
            try:
                batch = consumer.poll(0.5, 4)
                consumer.commit(batch, [said("ramp", m.key, m.value.decode()) for m in batch])
            except (Retriable, PartitionLost):
                continue

    worker = threading.Thread(target=work)
    worker.start()
    try:
        watching = bus.consumer("watch", ["ramp"])
        found: list = []
        while len(found) < 20:
            found += watching.poll(DEADLINE, 1)
        for node in cluster(nodes).nodes:
            node.stop(grace=0)
            cluster(nodes).up()
        deadline = time.monotonic() + 2 * DEADLINE
        while len(found) < count and time.monotonic() < deadline:
            found += watching.poll(1)
    finally:
        done.set()
        worker.join()
    assert sorted(values(found), key=int) == [str(i).encode() for i in range(count)]
    assert sorted(values(bus.read("ramp")), key=int) == sorted(values(found), key=int)
    assert bus.lag("g", ["raw"]) == {"raw": 0}
    bus.close()
