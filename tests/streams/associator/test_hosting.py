"""The associator on a bus: it survives its owner, and what breaks it."""

from __future__ import annotations

import time

import pytest

from processors.recipes import builtin
from schemas.events import Plan, PlanEvent, PlannedExposure, parse_event
from streams.associator import Patience, hosting
from streams.associator.hosting import GROUP, SOURCES, HostedAssociator
from streams.bus import Outgoing
from streams.bus.embedded import EmbeddedBus
from streams.bus.memory import MemoryBus
from streams.envelope import pack
from streams.roots import put_by_digest
from streams.store import Store
from streams.topics import TOPICS
from tests.streams.bus.brokers import empty_bus

from .made import IMAGE, cal, exposure, failure, generation, member_names, recipe

PATIENCE = Patience(quiet=1e6, deadline=1e6)


BUSES = {
    "memory": lambda folder: MemoryBus(),
    "embedded": lambda folder: EmbeddedBus(folder / "bus"),
    "kafka": lambda folder: empty_bus(lease=60.0),
}


@pytest.fixture(params=BUSES)
def bus(request, tmp_path):
    made = BUSES[request.param](tmp_path)
    made.create_topics(TOPICS)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def member(bus, store):
    return HostedAssociator(bus, store, lambda digest: builtin("optimal"), PATIENCE)


def planned(store, numbers):
    exposures = tuple(PlannedExposure(name=exposure(n), keywords=IMAGE) for n in numbers)
    text = Plan(program="01234", exposures=exposures).model_dump_json().encode()
    return PlanEvent(
        name="plan-01234", generation=generation(0), recipe=recipe(), keywords={"PROGRAM": "01234"},
        plan=put_by_digest(store, "plans", text, ".json"),
    )  # fmt: skip


def say(bus, *events):
    bus.publish([pack(event) for event in events])


def drain(host, **how):
    """Let it take turns until all is read, and nothing is left to say."""
    deadline = time.monotonic() + 60
    while host.turn(**how) or (sum(host._bus.lag(GROUP, SOURCES).values()) and time.monotonic() < deadline):
        pass


def said(bus):
    return [parse_event(message.value) for message in bus.read("association")]


def test_the_last_member_makes_the_association_go_out_once(bus, store):
    host = member(bus, store)
    say(bus, planned(store, range(1, 9)), *(cal(n) for n in range(1, 9)))
    drain(host)
    drain(host, finish=True)
    (event,) = said(bus)
    assert (event.members, event.completeness, event.stage) == (8, "complete", "image3")
    assert sum(bus.lag(GROUP, SOURCES).values()) == 0


def test_another_one_goes_on_after_seven_of_eight(bus, store):
    first = member(bus, store)
    say(bus, planned(store, range(1, 9)), *(cal(n) for n in range(1, 8)))
    drain(first)
    first.close()
    second = member(bus, store)
    drain(second)
    assert (second.open, said(bus)) == (1, [])
    say(bus, cal(8))
    drain(second)
    (event,) = said(bus)
    assert event.members == 8


def test_what_stands_by_does_nothing_until_the_owner_leaves(bus, store):
    first, second = member(bus, store), member(bus, store)
    say(bus, planned(store, [1, 2]), cal(1))
    drain(first)
    drain(second)
    assert (first.owner, second.owner) == (True, False)
    first.close()
    say(bus, cal(2))
    drain(second)
    assert second.owner
    (event,) = said(bus)
    assert event.members == 2


def test_an_owner_that_died_before_its_commit_leaves_nothing_behind(bus, store, monkeypatch):
    first = member(bus, store)
    drain(first)
    say(bus, planned(store, [1, 2]), cal(1), cal(2))
    monkeypatch.setattr(first._consumer, "commit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        drain(first)
    assert said(bus) == []
    first._consumer.close()
    second = member(bus, store)
    drain(second)
    assert [event.members for event in said(bus)] == [2]


def test_an_owner_that_slept_cannot_say_anything_by_the_clock_alone(bus, store):
    first = member(bus, store)
    say(bus, cal(1))
    drain(first)
    lost = first._consumer
    first.close()
    second = member(bus, store)
    drain(second)
    first._consumer.keep = lambda: first._held  # it does not know yet
    assert lost is first._consumer
    assert first.owner
    first.turn(finish=True)
    assert said(bus) == []
    drain(second, finish=True)
    assert [event.members for event in said(bus)] == [1]


def test_a_failure_counts_as_arrived(bus, store):
    host = member(bus, store)
    say(bus, planned(store, [1, 2]), cal(1), failure(2))
    drain(host)
    (event,) = said(bus)
    assert member_names_of(event, store) == [exposure(1)]


def member_names_of(event, store):
    from schemas.associations import Association

    with store.fetch(event.association) as path:
        association = Association.model_validate_json(path.read_bytes())

    class Said:
        pass

    Said.association = association
    return member_names(Said)


def test_what_it_cannot_take_goes_to_the_dead_letters_and_the_rest_goes_on(bus, store):
    host = member(bus, store)
    bus.publish([Outgoing(topic="cal", key="k", value=b"no event")])
    say(bus, planned(store, [1]), cal(1))
    drain(host)
    assert [event.members for event in said(bus)] == [1]
    (letter,) = bus.read("cal.associator.dlq")
    assert letter.value == b"no event"


def test_programs_that_are_quiet_leave_memory_and_come_back(bus, store, monkeypatch):
    monkeypatch.setattr(hosting, "KEPT", 4)
    host = member(bus, store)
    programs = [{**IMAGE, "PROGRAM": f"{number:05}"} for number in range(10, 18)]
    for keywords in programs:
        say(bus, *(cal(n, keywords=keywords) for n in (1, 2)))
    drain(host)
    drain(host, finish=True)
    say(bus, cal(1, keywords=programs[0], born=2))
    drain(host)
    assert len(store.names("associator")) >= 5
    assert len(host._associator._states) <= 4
    host.close()
    second = member(bus, store)
    say(bus, cal(3, keywords=programs[1]))
    drain(second)
    drain(second, finish=True)
    last = {event.name: event.members for event in said(bus)}
    assert sorted(last.values()) == [2] * 7 + [3]
