"""What every bus must do; embedded and Kafka join by one more factory each."""

from __future__ import annotations

import threading

import pytest

from schemas.errors import UsageError
from streams.bus import Outgoing, PartitionLost, partition_of
from streams.bus.memory import MemoryBus

FACTORIES = {"memory": MemoryBus, "embedded": lambda: __import__("streams.bus.embedded").bus.embedded.EmbeddedBus(__import__("tempfile").mkdtemp())}


@pytest.fixture(params=FACTORIES)
def bus(request):
    made = FACTORIES[request.param]()
    made.create_topics(["raw", "ramp"])
    yield made
    made.close()


def said(topic: str, key: str, text: str) -> Outgoing:
    return Outgoing(topic=topic, key=key, value=text.encode(), headers={"ce_id": text})


def drain(consumer, limit=64):
    found = []
    while batch := consumer.poll(0.05, limit):
        assert len(batch) <= limit
        found.extend(batch)
    return found


def test_messages_of_one_key_stay_in_order_and_keep_value_and_headers(bus):
    bus.publish([said("raw", f"k{i % 5}", f"{i:03}") for i in range(100)])
    found = drain(bus.consumer("g", ["raw"]), limit=7)
    assert len(found) == 100
    for key in {message.key for message in found}:
        texts = [m.value for m in found if m.key == key]
        assert texts == sorted(texts)
    assert all(m.headers["ce_id"].encode() == m.value for m in found)
    assert {(m.partition, m.offset) for m in found} == {(m.partition, m.offset) for m in bus.read("raw")}


def test_a_group_starts_at_the_beginning_and_groups_do_not_disturb_each_other(bus):
    bus.publish([said("raw", "a", "1")])
    assert len(drain(bus.consumer("one", ["raw"]))) == 1
    assert len(drain(bus.consumer("two", ["raw"]))) == 1


def test_commit_publishes_outputs_and_offsets_together(bus):
    bus.publish([said("raw", "a", "1"), said("raw", "b", "2")])
    consumer = bus.consumer("g", ["raw"])
    first = consumer.poll(1, 1)
    consumer.commit(first, [said("ramp", "a", "made of 1")])
    assert [m.value for m in bus.read("ramp")] == [b"made of 1"]
    assert bus.lag("g", ["raw"]) == {"raw": 1}
    consumer.close()
    assert [m.value for m in drain(bus.consumer("g", ["raw"]))] != [m.value for m in first]


def test_a_refused_output_commits_nothing(bus):
    bus.publish([said("raw", "a", "1")])
    consumer = bus.consumer("g", ["raw"])
    batch = consumer.poll(1)
    with pytest.raises(UsageError, match="nowhere"):
        consumer.commit(batch, [said("ramp", "a", "x"), said("nowhere", "a", "y")])
    assert list(bus.read("ramp")) == []
    assert bus.lag("g", ["raw"]) == {"raw": 1}


def test_what_was_not_committed_comes_again(bus):
    bus.publish([said("raw", "a", str(i)) for i in range(3)])
    consumer = bus.consumer("g", ["raw"])
    batch = consumer.poll(1)
    consumer.commit(batch[:1])
    consumer.rewind()
    assert [m.value for m in drain(consumer)] == [b"1", b"2"]
    consumer.close()
    assert [m.value for m in drain(bus.consumer("g", ["raw"]))] == [b"1", b"2"]


def test_members_share_partitions_and_a_leaver_s_go_to_the_others(bus):
    keys = [f"key-{i}" for i in range(60)]
    bus.publish([said("raw", key, key) for key in keys])
    one, two = bus.consumer("g", ["raw"]), bus.consumer("g", ["raw"])
    mine, yours = drain(one), drain(two)
    assert mine
    assert yours
    assert not {m.partition for m in mine} & {m.partition for m in yours}
    one.commit(mine)
    two.close()
    assert {m.key for m in drain(one)} == {m.key for m in yours}


def test_a_partition_that_changed_hands_cannot_be_committed(bus):
    bus.publish([said("raw", f"key-{i}", "x") for i in range(60)])
    one = bus.consumer("g", ["raw"])
    batch = one.poll(1)
    other = bus.consumer("g", ["raw"])
    theirs = {m.partition for m in other.poll(1)}
    lost = [m for m in batch if m.partition in theirs]
    with pytest.raises(PartitionLost, match="changed hands"):
        one.commit(lost, [said("ramp", "a", "late")])
    assert list(bus.read("ramp")) == []


def test_poll_wakes_when_something_is_published(bus):
    consumer = bus.consumer("g", ["raw"])
    timer = threading.Timer(0.1, lambda: bus.publish([said("raw", "a", "1")]))
    timer.start()
    assert [m.value for m in consumer.poll(30)] == [b"1"]
    timer.join()


def test_unknown_topics_are_refused(bus):
    with pytest.raises(UsageError, match="create it first"):
        bus.consumer("g", ["nowhere"])
    with pytest.raises(UsageError, match="create it first"):
        bus.publish([said("nowhere", "a", "1")])


def test_partitions_are_the_same_everywhere():
    assert [partition_of(f"jw0123400100{i}_02101_00001_nrca1") for i in range(6)] == [5, 1, 8, 8, 7, 11]
