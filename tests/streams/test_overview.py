"""One look at a pipeline: what waits, how fast it goes, whether it is idle."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from streams.associator.hosting import GROUP, SOURCES
from streams.bus import Outgoing, Position
from streams.bus.memory import MemoryBus
from streams.bus.protocol import partition_of
from streams.overview import Reading, busy, idle, look
from streams.service.child import stage_of
from streams.service.table import STAGES
from streams.topics import EVENTS, MEMBERS, READERS, SETTLED
from tests.streams.pipeline import Pipeline, exposure, work

SERVICES = ("detector1", "ramp_fit", "image2", "associator", "image3")


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline.on(MemoryBus(), tmp_path)


@pytest.fixture
def done(pipeline: Pipeline) -> Pipeline:
    """Two exposures and their mosaic, everything read, every service ready."""
    pipeline.mosaic(*(pipeline.along(pipeline.raw(n)) for n in (1, 2)))
    for group, topics in READERS.items():
        for topic in topics:
            pipeline.read(group, topic)
    for service in SERVICES:
        pipeline.record(service)
    return pipeline


def reading(pipeline: Pipeline, topic: str, **options: object) -> Reading:
    """What the first of its readers is at, who does the work; the associator may read it too."""
    seen = look(pipeline.bus, **options)  # type: ignore[arg-type]
    return next(row for row in seen.readings if row.topic == topic)


def test_readers_are_those_of_the_table_of_stages() -> None:
    parts = {name: refs for name, refs in STAGES.items() if "+" not in name}
    table = {
        name: tuple(dict.fromkeys(topic for ref in refs for topic in stage_of(ref).sources))
        for name, refs in parts.items()
    }
    assert {**table, GROUP: (*SOURCES, MEMBERS)} == dict(READERS)


def test_every_topic_of_events_has_a_row_for_each_group_that_reads_it(pipeline: Pipeline) -> None:
    seen = look(pipeline.bus)
    assert {row.topic for row in seen.readings} == set(EVENTS)
    assert {(row.group, row.topic) for row in seen.readings if row.group} == {
        (group, topic) for group, topics in READERS.items() for topic in topics if topic != MEMBERS
    }
    assert all(row == Reading(topic=row.topic, group=row.group) for row in seen.readings)


def test_messages_lag_and_what_is_done(pipeline: Pipeline) -> None:
    for number in range(5):
        pipeline.raw(number)
    pipeline.read("detector1", "raw", 2)
    row = reading(pipeline, "raw")
    assert (row.group, row.messages, row.lag, row.done) == ("detector1", 5, 3, 2)


@pytest.mark.parametrize("waited", [0.0, 3.0, 40.0, 5000.0, 8e7])
@pytest.mark.parametrize("guessed", [0.0, 1.0, 1e4])
def test_the_oldest_message_that_waits(pipeline: Pipeline, waited: float, guessed: float) -> None:
    pipeline.raw(1)
    began = time.time()
    past = [look(pipeline.bus, now=began + guessed)] if guessed else []
    row = reading(pipeline, "raw", now=began + waited, past=past)
    assert row.oldest == pytest.approx(waited, rel=0.1, abs=0.5)
    pipeline.read("detector1", "raw")
    assert reading(pipeline, "raw", now=began + waited).oldest is None


def test_the_oldest_is_of_what_is_not_done(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.time()
    for number, age in enumerate((500, 100)):
        monkeypatch.setattr("streams.bus.memory.time.time", lambda age=age: began - age)
        pipeline.raw(number)
    monkeypatch.undo()
    assert reading(pipeline, "raw", now=began).oldest == pytest.approx(500, rel=0.1)
    pipeline.read("detector1", "raw", 1)
    offsets = pipeline.bus.committed("detector1", ["raw"])
    (left,) = [m for m in pipeline.bus.read("raw") if m.offset >= offsets[m.position]]
    row = reading(pipeline, "raw", now=began)
    assert row.lag == 1
    assert row.oldest == pytest.approx(began - left.timestamp, rel=0.1)


class Marked(MemoryBus):
    """A bus whose messages at some offsets are none, as marks of transactions on Kafka."""

    marks: frozenset[tuple[Position, int]] = frozenset()

    def count(self, starts: Mapping[Position, int], ends: Mapping[Position, int]) -> int:
        return sum(
            (at, offset) not in self.marks
            for at, end in ends.items()
            for offset in range(starts.get(at, 0), end)
        )

    def offsets_at(self, topic: str, time: float) -> dict[Position, int]:
        found = super().offsets_at(topic, time)
        ends = super().offsets_at(topic, float("inf"))
        for at, offset in found.items():
            while (at, found[at]) in self.marks and offset < ends[at] and time > 0:
                found[at] += 1
        return found


def test_a_mark_behind_what_is_done_is_no_message_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = Marked()
    pipeline = Pipeline.on(bus, tmp_path)
    now = time.time()

    def publish(key: str, ago: float) -> None:
        monkeypatch.setattr("streams.bus.memory.time.time", lambda: now - ago)
        bus.publish([Outgoing(topic="raw", key=key, value=b"{}")])

    keys = ("a", "b")
    assert len({partition_of(key) for key in keys}) == 2
    for key, ago in (("a", 3000.0), ("b", 2000.0)):
        publish(key, ago)
    pipeline.read("detector1", "raw")
    for key in keys:
        publish(key, 1000.0)  # the marks
    bus.marks = frozenset((("raw", partition_of(key)), 1) for key in keys)
    assert reading(pipeline, "raw", now=now).oldest is None
    publish("b", 100.0)
    assert reading(pipeline, "raw", now=now).oldest == pytest.approx(100, rel=0.15)


def test_rates_are_those_of_the_last_minute(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.time()
    monkeypatch.setattr("streams.bus.memory.time.time", lambda: began - 1000)
    for number in range(50):
        pipeline.raw(number)
    monkeypatch.setattr("streams.bus.memory.time.time", lambda: began - 30)
    for number in range(6):
        pipeline.along(pipeline.raw(100 + number), "ramp")
    row = reading(pipeline, "raw", now=began)
    assert row.arriving == pytest.approx(0.1)
    assert row.rate == pytest.approx(0.2, rel=0.15)  # ramps came for 30 s, not for a minute
    assert row.eta == pytest.approx(56 / row.rate)
    assert reading(pipeline, "raw", now=began + 100).eta is None  # nothing goes on any more


def test_rates_of_groups_come_from_former_looks_where_there_are_some(pipeline: Pipeline) -> None:
    for number in range(10):
        pipeline.raw(number)
    began = time.time()
    first = look(pipeline.bus, now=began)
    pipeline.read("detector1", "raw", 4)
    row = reading(pipeline, "raw", past=[first], now=began + 20)
    assert row.rate == pytest.approx(0.2)
    assert row.eta == pytest.approx(30)


def test_what_is_in_work_and_what_waits_for_members(done: Pipeline) -> None:
    done.record("detector1", in_work=(work(1, "detector1"),))
    done.record("detector1", instance="two", in_work=(work(2, "detector1"), work(3, "detector1")))
    done.record("associator", open=2)
    seen = look(done.bus)
    assert (seen.in_work, seen.open) == (3, 2)
    assert [row.in_work for row in seen.readings if row.topic == "raw"] == [3, 0]


def test_failures_and_dead_letters_until_they_are_settled(done: Pipeline) -> None:
    event = done.raw(7)
    for _ in range(2):
        done.failed("detector1", event, "saturated")
    seen = look(done.bus)
    assert (seen.failures, seen.recent_failures, seen.dead_letters) == (2, 2, 2)
    assert [row.dead_letters for row in seen.readings if row.topic == "raw"] == [2, 0]
    assert look(done.bus, now=time.time() + 100).recent_failures == 0
    (letter, _) = done.bus.read("raw.detector1.dlq")
    place = f"{letter.topic}/{letter.partition}/{letter.offset}"
    done.bus.publish([Outgoing(topic=SETTLED, key=place, value=b"dropped")])
    assert look(done.bus).dead_letters == 1
    done.bus.publish([Outgoing(topic=SETTLED, key=place, value=b"")])
    assert look(done.bus).dead_letters == 2


def test_letters_of_a_fused_service_are_those_of_its_first_stage(done: Pipeline) -> None:
    done.letter("raw", "detector1+ramp_fit", exposure(1), b"no event", "no event")
    assert reading(done, "raw").dead_letters == 1


def test_all_is_done(done: Pipeline) -> None:
    seen = look(done.bus)
    assert busy(seen) == ""
    assert idle(seen)
    assert idle(look(done.bus, times=False))


def test_a_lag_is_something_to_do(done: Pipeline) -> None:
    done.raw(9)
    assert busy(look(done.bus)) == "there is work left: detector1 has 1 of raw"
    done.read("detector1", "raw")
    assert busy(look(done.bus)) == "there is work left: associator has 1 of raw"
    done.read("associator", "raw")
    assert idle(look(done.bus))


def test_a_topic_that_nobody_is_to_read_is_nothing_to_do(done: Pipeline) -> None:
    done.along(done.raw(9), "ramp")
    done.read("detector1", "raw")
    for topic in ("raw", "ramp"):
        done.read("associator", topic)
    fused = {group: topics for group, topics in READERS.items() if group != "ramp_fit"}
    assert not idle(look(done.bus))
    assert idle(look(done.bus, fused))


def test_work_open_associations_and_a_watching_ingest_are_something_to_do(done: Pipeline) -> None:
    done.record("image2", in_work=(work(1, "image2"),))
    assert busy(look(done.bus)) == "1 in work"
    done.record("image2")
    done.record("associator", open=1)
    assert busy(look(done.bus)) == "associations wait for members: 1"
    assert busy(look(done.bus), waiting_counts=False) == ""
    done.record("associator")
    done.record("ingest", "watching")
    assert "ingest watches" in busy(look(done.bus))
    done.record("ingest", "stopped")
    assert idle(look(done.bus))


@pytest.mark.parametrize("state", ["starting", "waiting", "stopping"])
def test_a_service_that_is_not_ready_is_waited_for(done: Pipeline, state: str) -> None:
    done.record("image3", state, instance="two")
    assert busy(look(done.bus)) == f"image3 is {state}"


def test_a_pipeline_without_services_is_not_idle(pipeline: Pipeline) -> None:
    assert busy(look(pipeline.bus)) == "no service runs"
    pipeline.record("detector1", "stopped")
    assert busy(look(pipeline.bus)) == "no service runs"


def test_a_dead_service_is_missed_until_another_one_takes_its_place(done: Pipeline) -> None:
    done.record("image3", pid=2**22 + 1)  # more than Linux gives
    assert busy(look(done.bus)) == "image3 is dead"
    done.record("image3", instance="two")
    assert idle(look(done.bus))


def test_what_comes_while_it_is_looked_at_is_seen(done: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = done.bus.committed

    def late(group: str, topics: object) -> dict[Position, int]:
        found = committed(group, topics)  # type: ignore[arg-type]
        if group == "image3":
            done.mosaic(done.made("image2", done.raw(9), "cal"))
            done.read("image3", "association")
            done.read("detector1", "raw")
        return found

    monkeypatch.setattr(done.bus, "committed", late)
    seen = look(done.bus)
    assert not seen.still
    assert busy(seen) == "events come"
