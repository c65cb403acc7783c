"""What every bus must do with messages: order, transactions, offsets, what is refused."""

from __future__ import annotations

import threading
import time

import pytest

from schemas.errors import UsageError
from streams.bus import Outgoing, Topic, partition_of

from .made import positions, said, settle, take, values


def test_messages_of_one_key_stay_in_order_and_keep_value_and_headers(bus):
    bus.publish([said("raw", f"k{i % 5}", f"{i:03}") for i in range(100)])
    found = take(bus.consumer("g", ["raw"]), 100, limit=7)
    for key in {message.key for message in found}:
        texts = [m.value for m in found if m.key == key]
        assert texts == sorted(texts)
    assert all(m.headers["ce_id"].encode() == m.value for m in found)
    assert {(m.partition, m.offset) for m in found} == {(m.partition, m.offset) for m in bus.read("raw")}
    assert all(m.partition == partition_of(m.key) for m in found)


def test_any_text_is_a_key_and_any_bytes_are_a_value(bus):
    sent = [
        Outgoing(topic="raw", key="Ø 星", value=bytes(range(256)), headers={"é": '"\n星'}),
        Outgoing(topic="raw", key="", value=b"\0"),
    ]
    bus.publish(sent)
    found = {m.key: m for m in take(bus.consumer("g", ["raw"]), 2)}
    for one in sent:
        assert (found[one.key].value, dict(found[one.key].headers)) == (one.value, dict(one.headers))


def test_a_group_starts_at_the_beginning_and_groups_do_not_disturb_each_other(bus):
    bus.publish([said("raw", "a", "1")])
    one = bus.consumer("one", ["raw"])
    one.commit(take(one, 1))
    take(bus.consumer("two", ["raw"]), 1)
    assert bus.lag("one", ["raw"]) == {"raw": 0}
    assert bus.lag("two", ["raw"]) == {"raw": 1}
    assert bus.lag("nobody", ["raw", "ramp"]) == {"raw": 1, "ramp": 0}


def test_commit_publishes_outputs_and_offsets_together(bus):
    bus.publish([said("raw", "a", "1"), said("raw", "b", "2")])
    consumer = bus.consumer("g", ["raw"])
    first = consumer.poll(10, 1)
    consumer.commit(first, [said("ramp", "a", "made of 1")])
    assert values(bus.read("ramp")) == [b"made of 1"]
    assert bus.lag("g", ["raw"]) == {"raw": 1}
    consumer.close()
    assert values(take(bus.consumer("g", ["raw"]), 1)) != values(first)


def test_a_refused_output_commits_nothing(bus):
    bus.publish([said("raw", "a", "1")])
    consumer = bus.consumer("g", ["raw"])
    batch = take(consumer, 1)
    with pytest.raises(UsageError, match="nowhere"):
        consumer.commit(batch, [said("ramp", "a", "x"), said("nowhere", "a", "y")])
    assert list(bus.read("ramp")) == []
    assert bus.lag("g", ["raw"]) == {"raw": 1}
    consumer.commit(batch, [said("ramp", "a", "x")])
    assert values(bus.read("ramp")) == [b"x"]


def test_outputs_alone_are_published_and_nothing_is_nothing(bus):
    consumer = bus.consumer("g", ["raw"])
    consumer.commit([], [said("ramp", "a", "tick")])
    consumer.commit([])
    bus.publish([])
    assert values(bus.read("ramp")) == [b"tick"]


def test_what_was_not_committed_comes_again(bus):
    bus.publish([said("raw", "a", str(i)) for i in range(3)])
    consumer = bus.consumer("g", ["raw"])
    batch = take(consumer, 3)
    consumer.commit(batch[:1])
    consumer.rewind()
    assert values(take(consumer, 2)) == [b"1", b"2"]
    consumer.close()
    assert values(take(bus.consumer("g", ["raw"]), 2)) == [b"1", b"2"]


def test_committed_tells_offsets_which_never_go_back_by_themselves(bus):
    bus.publish([said("raw", "a", str(i)) for i in range(3)])
    consumer = bus.consumer("g", ["raw"])
    batch = take(consumer, 3)
    assert bus.committed("g", ["raw", "ramp"]) == dict.fromkeys(positions("raw", "ramp"), 0)
    consumer.commit(batch[1:2])
    consumer.commit(batch[:1])
    at = batch[1].position
    assert bus.committed("g", ["raw"]) == {**dict.fromkeys(positions("raw"), 0), at: batch[1].offset + 1}
    assert bus.lag("g", ["raw"]) == {"raw": 1}


def test_offsets_of_a_group_move_when_nobody_is_in_it(bus):
    bus.publish([said("raw", "a", str(i)) for i in range(3)])
    consumer = bus.consumer("g", ["raw"])
    batch = take(consumer, 3)
    consumer.commit(batch)
    with pytest.raises(UsageError, match="g has living members"):
        bus.move("g", {batch[1].position: batch[1].offset})
    consumer.close()
    bus.move("g", {batch[1].position: batch[1].offset})
    again = bus.consumer("g", ["raw"])
    assert values(take(again, 2)) == [b"1", b"2"]
    again.close()
    bus.move("new", {batch[2].position: batch[2].offset})
    assert bus.committed("new", ["raw"])[batch[2].position] == batch[2].offset
    assert values(take(bus.consumer("new", ["raw"]), 1)) == [b"2"]


def two_waves(bus):
    """Publish two waves, the second later by the clock; return its time."""
    bus.publish([said("raw", f"k{i}", f"early {i}") for i in range(30)])
    last = max(m.timestamp for m in bus.read("raw"))
    while time.time() <= last + 0.002:
        time.sleep(0.001)
    bus.publish([said("raw", f"k{i}", f"late {i}") for i in range(5)])
    return min(m.timestamp for m in bus.read("raw") if m.value.startswith(b"late"))


def test_a_time_leads_to_offsets(bus):
    border = two_waves(bus)
    every = list(bus.read("raw"))
    for at, offset in bus.offsets_at("raw", border).items():
        mine = [m for m in every if m.position == at]
        assert {m.value for m in mine if m.offset >= offset} == {m.value for m in mine if b"late" in m.value}
    first, end = bus.offsets_at("raw", float("-inf")), bus.offsets_at("raw", float("inf"))
    assert set(first) == set(end) == positions("raw")
    for message in every:
        assert first[message.position] <= message.offset < end[message.position]
    assert bus.offsets_at("raw", every[-1].timestamp + 3600) == end
    with pytest.raises(UsageError, match="create it first"):
        bus.offsets_at("nowhere", 0)


def test_reading_gives_what_is_there_in_order_of_publishing(bus):
    border = two_waves(bus)
    reading = bus.read("raw")
    bus.publish([said("raw", "k0", "too late")])
    assert values(reading) == [f"early {i}".encode() for i in range(30)] + [
        f"late {i}".encode() for i in range(5)
    ]
    assert values(bus.read("raw", since=border)) == [*(f"late {i}".encode() for i in range(5)), b"too late"]
    assert list(bus.read("ramp")) == []
    with pytest.raises(UsageError, match="create it first"):
        bus.read("nowhere")


def test_time_never_goes_back_within_a_topic(bus, factory, monkeypatch):
    factory.demand("a clock of our own")
    bus.publish([said("raw", "a", "1")])
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - 7200)
    bus.publish([said("raw", "a", "2"), said("raw", "b", "3")])
    times = [m.timestamp for m in bus.read("raw")]
    assert times == sorted(times)
    assert values(bus.read("raw", since=times[0])) == [b"1", b"2", b"3"]


def test_poll_wakes_when_something_is_published(bus):
    consumer = bus.consumer("g", ["raw"])
    settle([consumer], positions("raw"))
    assert consumer.poll(0) == []
    timer = threading.Timer(0.1, lambda: bus.publish([said("raw", "a", "1")]))
    begin = time.monotonic()
    timer.start()
    assert values(consumer.poll(60)) == [b"1"]
    assert time.monotonic() - begin < 30, "it slept to the end"
    timer.join()


def test_what_was_published_first_comes_first_whatever_its_partition(bus, factory):
    factory.demand("polls in order")
    order = [f"{i:03d}" for i in range(300)]
    for start in range(0, 300, 20):  # the fuller partition is not left behind
        batch = order[start : start + 20]
        bus.publish([said("raw", f"lone {i}" if int(i) % 4 == 0 else "full", i) for i in batch])
    consumer = bus.consumer("g", ["raw"])
    seen = [message for _ in range(60) for message in consumer.poll(10, 5)]
    assert values(seen) == [i.encode() for i in order]
    bus.publish([said("raw", "full", "last")])
    assert values(consumer.poll(10)) == [b"last"]


def test_a_full_topic_does_not_starve_the_others(bus, factory):
    factory.demand("polls in order")
    bus.publish([said("raw", "full", str(i)) for i in range(300)])
    bus.publish([said("ramp", f"lone {i}", "lone") for i in range(20)])
    consumer = bus.consumer("g", ["raw", "ramp"])
    seen = [message for _ in range(40) for message in consumer.poll(10, 1)]
    assert {m.key for m in seen} == {"full", *(f"lone {i}" for i in range(20))}
    seen += consumer.poll(10, 64)
    assert len(seen) == 40 + 64


def test_unknown_topics_are_refused(bus):
    for refused in (
        lambda: bus.consumer("g", ["nowhere"]),
        lambda: bus.publish([said("raw", "a", "1"), said("nowhere", "a", "1")]),
        lambda: bus.lag("g", ["nowhere"]),
        lambda: bus.committed("g", ["nowhere"]),
    ):
        with pytest.raises(UsageError, match="create it first"):
            refused()
    assert list(bus.read("raw")) == []
    assert bus.members("g") == []


def test_topics_are_created_once(bus):
    bus.publish([said("raw", "a", "1")])
    bus.create_topics(["raw", Topic(name="rate", max_bytes=100), "cal"])
    assert {"raw", "ramp", "rate", "cal"} <= set(bus.topics())
    assert values(bus.read("raw")) == [b"1"]
    with pytest.raises(UsageError, match="raw is there already and is not compacted"):
        bus.create_topics([Topic(name="raw", compacted=True)])


def test_a_value_that_is_too_long_is_refused_with_all_that_came_along(bus):
    bus.create_topics([Topic(name="small", max_bytes=10)])
    bus.publish([said("small", "a", "x" * 10)])
    with pytest.raises(UsageError, match="11 bytes for small, which takes 10"):
        bus.publish([said("raw", "a", "1"), said("small", "a", "x" * 11)])
    assert list(bus.read("raw")) == []
    consumer = bus.consumer("g", ["small"])
    with pytest.raises(UsageError, match="takes 10"):
        consumer.commit(take(consumer, 1), [said("raw", "a", "1"), said("small", "a", "x" * 11)])
    assert list(bus.read("raw")) == []
    assert bus.lag("g", ["small"]) == {"small": 1}


def test_a_compacted_topic_keeps_the_last_of_each_key(bus):
    bus.create_topics([Topic(name="state", compacted=True)])
    bus.publish([said("state", f"k{i % 7}", str(i)) for i in range(100)])
    bus.publish([Outgoing(topic="state", key="k3", value=b"")])
    last = {m.key: m.value for m in bus.read("state")}
    assert last == {**{f"k{i % 7}": str(i).encode() for i in range(93, 100)}, "k3": b""}
    consumer = bus.consumer("g", ["state"])
    found = []
    while bus.lag("g", ["state"]) != {"state": 0}:
        found += (batch := consumer.poll(1))
        consumer.commit(batch)
    assert {m.key: m.value for m in found} == last


def test_partitions_are_the_same_everywhere():
    assert [partition_of(f"jw0123400100{i}_02101_00001_nrca1") for i in range(6)] == [5, 1, 8, 8, 7, 11]
