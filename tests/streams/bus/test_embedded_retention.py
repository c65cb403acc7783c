"""The file of an embedded bus does not grow without bound, and every look into it is short."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time

import pytest

from streams.bus import Outgoing, Topic
from streams.bus.embedded import EmbeddedBus, retention
from streams.bus.embedded.log import TOMBSTONES

from .made import said, take, values

TEXT = "x" * 3000


@pytest.fixture
def bus(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "EVERY", 0)
    made = EmbeddedBus(tmp_path)
    made.create_topics(["raw", "ramp"])
    yield made
    made.close()


def size(bus) -> int:
    return sum(file.stat().st_size for file in bus.database.path.parent.iterdir())


def batch_of(topic, first):
    return [said(topic, f"k{i % 40}", TEXT) for i in range(first, first + 64)]


def test_messages_go_when_their_time_is_over_and_offsets_go_on(bus):
    bus.create_topics([Topic(name="short", retention=0)])
    sizes = []
    for first in range(0, 64 * 100, 64):
        bus.publish(batch_of("short", first))
        sizes.append(size(bus))
    assert sum(m.value == TEXT.encode() for m in bus.read("short")) <= 64
    assert sum(bus.offsets_at("short", float("inf")).values()) == 6400
    # 20 MB went through; what stays is the log that is written back every 2000 pages, and its copy
    assert max(sizes[50:]) < 2.5 * 2000 * 4096
    assert max(sizes[75:]) <= max(sizes[50:75]) * 1.05


def test_a_consumer_whose_offset_went_goes_on_at_the_first_that_is_there(bus, monkeypatch):
    bus.create_topics([Topic(name="short", retention=3600)])
    bus.publish([said("short", "a", "1"), said("short", "a", "2")])
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 3601)
    while bus.retention.step():
        pass
    assert list(bus.read("short")) == []
    assert bus.lag("g", ["short"]) == {"short": 0}
    first = bus.offsets_at("short", float("-inf"))
    assert first == bus.offsets_at("short", float("inf"))
    consumer = bus.consumer("g", ["short"])
    bus.publish([said("short", "a", "3")])
    (message,) = take(consumer, 1)
    assert (message.value, message.offset) == (b"3", 2)
    consumer.commit([message])
    assert bus.lag("g", ["short"]) == {"short": 0}


def test_what_has_time_left_stays(bus, monkeypatch):
    bus.create_topics([Topic(name="week", retention=7 * 86400)])
    bus.publish([said("week", "a", "1"), said("raw", "a", "1")])
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 6.9 * 86400)
    bus.publish([said("week", "b", "2")])
    bus.retention.step()
    assert values(bus.read("week")) == [b"1", b"2"]
    monkeypatch.setattr(time, "time", lambda: clock() + 7.1 * 86400)
    bus.retention.step()
    assert values(bus.read("week")) == [b"2"]
    assert values(bus.read("raw")) == [b"1"]


def test_a_compacted_topic_is_as_large_as_its_keys(bus):
    bus.create_topics([Topic(name="state", compacted=True)])
    sizes = []
    for first in range(0, 64 * 100, 64):
        bus.publish(batch_of("state", first))
        sizes.append(size(bus))
    assert len(list(bus.read("state"))) == 40
    assert sum(bus.offsets_at("state", float("inf")).values()) == 6400
    assert max(sizes[50:]) < 2.5 * 2000 * 4096
    assert max(sizes[75:]) <= max(sizes[50:75]) * 1.05


def test_a_tombstone_is_told_for_a_day(bus, monkeypatch):
    bus.create_topics([Topic(name="state", compacted=True)])
    bus.publish([said("state", "a", "1"), said("state", "b", "2")])
    bus.publish([Outgoing(topic="state", key="a", value=b"")])
    bus.retention.step()
    assert {m.key: m.value for m in bus.read("state")} == {"a": b"", "b": b"2"}
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + TOMBSTONES + 1)
    bus.retention.step()
    assert {m.key: m.value for m in bus.read("state")} == {"b": b"2"}


def test_reading_a_compacted_topic_follows_a_key_that_moves_on(bus):
    bus.create_topics([Topic(name="state", compacted=True)])
    bus.publish([said("state", f"k{i}", "old") for i in range(3000)])
    reading = bus.read("state")
    seen = {}
    for count, message in enumerate(reading):
        seen[message.key] = message.value
        if count == 10:
            bus.publish([said("state", "k2999", "new")])
    assert seen["k2999"] == b"new"
    assert len(seen) == 3000


def test_a_file_that_has_become_empty_gives_its_room_back(bus, monkeypatch):
    bus.create_topics([Topic(name="day", retention=86400)])
    for first in range(0, 64 * 150, 64):
        bus.publish(batch_of("day", first))
    bus.database.close()
    full = size(bus)
    assert full > 30e6
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 86401)
    while bus.retention.step():
        pass
    bus.database.close()
    assert size(bus) < full * 0.7
    assert list(bus.read("day")) == []


def test_no_statement_walks_through_all_messages(bus):
    bus.create_topics([Topic(name="state", compacted=True), Topic(name="short", retention=0)])
    statements = set()
    with bus.database.reading() as db:
        db.set_trace_callback(statements.add)
    for topic in ("raw", "state", "short"):
        bus.publish([said(topic, f"k{i}", "x") for i in range(30)])
    one, two = (bus.consumer("g", ["raw", "state", "short"]) for _ in range(2))
    batch = one.poll(0)
    one.commit(batch, [said("raw", "a", "1")])
    two.close()
    one.rewind()
    bus.lag("g", ["raw"])
    bus.committed("g", ["raw"])
    bus.offsets_at("raw", 5.0)
    list(bus.read("raw", since=1.0))
    bus.members("g")
    bus.retention.step()
    with bus.database.reading() as db:
        db.set_trace_callback(None)
        wanted = ("SELECT", "INSERT", "UPDATE", "DELETE")
        plans = {
            statement: [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
            for statement in statements
            if statement.startswith(wanted)
        }
    assert sum("message" in statement for statement in plans) > 10
    for statement, plan in plans.items():
        walks = [line for line in plan if line.startswith("SCAN") and "message" in line]
        assert not walks, (statement, plan)


def test_a_bus_can_be_sent_to_another_process(tmp_path):
    bus = EmbeddedBus(tmp_path, partitions=3, lease=5)
    bus.create_topics(["raw"])
    bus.publish([said("raw", "a", "1")])
    again = pickle.loads(pickle.dumps(bus))
    assert values(again.read("raw")) == [b"1"]


def test_the_protocol_alone_loads_no_database():
    code = "import sys, streams.bus; print('sqlite3' in sys.modules, 'streams.bus.embedded' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
