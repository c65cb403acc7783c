"""Exposures and the persistence histories before them: who waits for whom, whatever order things come in."""

from __future__ import annotations

import math
import time
from itertools import permutations

import pytest

from schemas.canonical import digest
from schemas.errors import Retriable
from schemas.events import FailureEvent, Plan, PlanEvent, PlannedExposure, ProductEvent, parse_event
from schemas.manifests import Manifest, ManifestEntry
from schemas.recipe import Recipe
from streams.associator import Associator, needs_companions
from streams.associator.drafts import WAIT
from streams.associator.hosting import GROUP, SOURCES, HostedAssociator
from streams.associator.tables import TICK, Desks, forwarded, tick
from streams.associator.telling import heard
from streams.associator.telling import told as told_events
from streams.bus import Message
from streams.bus.embedded import EmbeddedBus
from streams.bus.memory import MemoryBus
from streams.bus.protocol import partition_of
from streams.envelope import pack
from streams.manifest_files import manifest_artifact, manifest_path
from streams.roots import handler_after, put_by_digest
from streams.store import Store
from streams.stored_associations import stored_association
from streams.topics import ASSOCIATOR_TABLES, TOPICS

from .made import IMAGE, artifact, exposure, generation, recipe

ON = Recipe(name="on", base="optimal", steps={"persistence": {"skip": False}})
OFF = Recipe(base="optimal")
BEGINS = 59780.5
HOUR = 1 / 24


def keywords(number, start=None, **changes):
    """Of the exposure of that number: they begin a quarter of an hour after one another."""
    return {**IMAGE, "EXPSTART": BEGINS + number / 96 if start is None else start, **changes}


def read_all(host, bus):
    """Have a host take all that is on its topics, within a minute."""
    deadline = time.monotonic() + 60
    while host.turn() or (sum(bus.lag(GROUP, SOURCES).values()) and time.monotonic() < deadline):
        pass


class Told:
    """What a store, an associator and a clock make of events."""

    def __init__(self, store, rules=ON):
        self.store, self.recipe, self.associator = store, rules, Associator()
        self.said = []

    def raw(self, number, born=1, **changes):
        return self._event("raw", "uncal", number, born, changes)

    def ramp(self, number, born=1, history=True, content=None, campaign="", **changes):
        """The event of a ramp, with what its manifest says of a history."""
        event = self._event("ramp", "ramp", number, born, changes).with_(campaign=campaign)
        entries = [ManifestEntry(name=event.name, suffix="ramp", artifact=event.product)]
        if history:
            what = artifact(content or f"history of {number}")
            entries.append(ManifestEntry(name=event.name, suffix="persistence", artifact=what))
        key = digest([event.id, history, content])
        manifest = Manifest(run_key=key, stage="detector1", attempt="1", products=tuple(entries))
        self.store.put_if_absent(manifest_path(key), manifest.content)
        return event.with_(manifest=manifest_artifact(manifest, self.store), run_key=key)

    def failed(self, number, stage="detector1"):
        event = self.raw(number)
        return FailureEvent(
            name=event.name, suffix="uncal", generation=event.generation, recipe=event.recipe,
            keywords=event.keywords, stage=stage, error="Unprocessable", message="saturated",
        )  # fmt: skip

    def plan(self, *numbers, program="01234"):
        names = tuple(PlannedExposure(name=exposure(n), keywords=keywords(n)) for n in numbers)
        text = Plan(program=program, exposures=names).model_dump_json().encode()
        return PlanEvent(
            name=f"plan-{program}", generation=generation(0), recipe=recipe(),
            keywords={"PROGRAM": program}, plan=put_by_digest(self.store, "plans", text, ".json"),
        )  # fmt: skip

    def take(self, *events, now=0.0):
        """Take events; return what was said: the exposure, and the numbers of those that go along."""
        found = []
        for event in events:
            for one in heard(event, self.store, lambda _: self.recipe):
                found += self.associator.take(one.message, now, one.whose).emissions
        self.said += found
        return [self.shown(emission) for emission in found]

    @staticmethod
    def shown(emission):
        members = emission.association.products[0].members
        roles = {"science": [], "persistence": []}
        for member in members:
            roles[member.exptype].append(int(member.identity.split("_")[2]))
        assert emission.stage == "ramp_fit"
        assert [m.identity.split("/")[1] for m in members if m.exptype == "science"] == [emission.name]
        return roles["science"][0], sorted(roles["persistence"])

    def later(self, now):
        return [self.shown(e) for one in self.associator.tick(now) for e in one.emissions]

    def _event(self, topic, suffix, number, born, changes):
        name = exposure(number, changes.pop("PROGRAM", "01234"))
        return ProductEvent(
            topic=topic, name=name, suffix=suffix, generation=generation(born), recipe=recipe(),
            keywords=keywords(number, **changes), product=artifact(f"{name}-{suffix}-{born}"), stage="x",
        )  # fmt: skip


@pytest.fixture
def told(tmp_path):
    return Told(Store(tmp_path / "store"))


def test_a_ramp_needs_companions_where_the_recipe_has_persistence_on(told):
    event = told.ramp(1)
    assert needs_companions(event, ON)
    assert not needs_companions(event, OFF)
    assert not needs_companions(event, Recipe(base="baseline"))
    assert not needs_companions(told.raw(1), ON)
    assert not needs_companions(event.with_(keywords={**event.keywords, "INSTRUME": "MIRI"}), ON)


def test_a_handler_of_its_own_takes_the_association_and_not_the_ramp(told):
    mine = Recipe.model_validate({**ON.model_dump(), "handlers": {"ramp_fit": {"service": "my-fit"}}})
    event = told.ramp(1)
    assert handler_after("ramp", event.exp_type, mine, event.keywords) == "associator"
    assert handler_after("ramp", event.exp_type, OFF, event.keywords) == "builtin"
    (one,) = [one for one in heard(event, told.store, lambda _: mine) if one.message.suffix == "ramp"]
    reduced = told.associator.take(one.message, 0.0, one.whose)
    (announced,) = told_events(reduced, told.store, lambda _: mine)
    assert (announced.handler, announced.stage, announced.members) == ("my-fit", "ramp_fit", 1)


def test_nothing_is_remembered_where_persistence_is_off(tmp_path):
    told = Told(Store(tmp_path), OFF)
    assert told.take(told.raw(1), told.ramp(1)) == []
    assert told.associator.next_due() is None


def test_an_exposure_waits_for_those_before_it_whose_raw_files_are_known(told):
    assert told.take(told.raw(1), told.raw(2), told.ramp(2)) == []
    assert told.take(told.ramp(1)) == [(2, [1]), (1, [])]


def test_without_any_before_it_an_exposure_goes_on_at_once(told):
    assert told.take(told.raw(3), told.ramp(3)) == [(3, [])]


def test_planned_exposures_are_waited_for_and_later_ones_are_not(told):
    assert told.take(told.plan(1, 2, 3), told.ramp(2)) == []
    assert told.take(told.ramp(1)) == [(2, [1]), (1, [])]
    assert told.take(told.ramp(3)) == [(3, [1, 2])]
    assert {emission.completeness for emission in told.said} == {"complete"}


def test_the_end_does_not_depend_on_the_order_of_arrivals(tmp_path):
    for number, order in enumerate(permutations((1, 2, 3))):
        told = Told(Store(tmp_path / str(number)))
        told.take(*(told.ramp(n) for n in order))
        last = {emission.name: told.shown(emission) for emission in told.said}
        assert sorted(last.values()) == [(1, []), (2, [1]), (3, [1, 2])]


def test_a_late_history_makes_the_event_again_with_one_input_more(told):
    assert told.take(told.ramp(2, born=1)) == [(2, [])]
    assert told.take(told.ramp(1, born=5)) == [(2, [1]), (1, [])]
    first, again, _ = told.said
    assert again.association_id == first.association_id
    assert (first.generation, again.generation) == (generation(1), generation(5))
    assert again.keywords["EXPSTART"] == keywords(2)["EXPSTART"]


def test_the_same_again_says_nothing_new(told):
    events = told.ramp(1), told.ramp(2)
    told.take(*events)
    assert told.take(*events, told.raw(1), told.raw(2)) == []


def test_another_history_of_the_same_exposure_makes_it_again(told):
    told.take(told.ramp(1), told.ramp(2))
    assert told.take(told.ramp(1, born=2, content="other")) == [(2, [1]), (1, [])]
    last = {emission.name: emission for emission in told.said}[exposure(2)]
    digests = {member.exptype: member.digest for member in last.association.products[0].members}
    assert digests["persistence"] == artifact("other").content
    assert last.generation == generation(2)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"DETECTOR": "NRCA3"}, "another detector"),
        ({"start": BEGINS + 2 / 96 - 2.1 * HOUR}, "too long before"),
        ({"start": BEGINS + 2 / 96}, "at the same time"),
        ({"start": BEGINS + 3 / 96}, "later"),
    ],
)
def test_what_cannot_have_left_anything_is_not_waited_for(told, changes, why):
    assert told.take(told.raw(1, **changes), told.raw(2), told.ramp(2)) == [(2, [])], why


def test_exposures_of_another_program_leave_persistence_too(told):
    told.take(told.raw(1, PROGRAM="04321"), told.ramp(2))
    assert told.said == []
    told.take(told.ramp(1, PROGRAM="04321"))
    assert told.shown(told.said[0]) == (2, [1])


def test_plans_of_two_programs_do_not_replace_each_other(told):
    other = told.plan(5, program="04321")
    assert told.take(told.plan(1, 2), other, told.ramp(2)) == []


def test_midnight_parts_nothing(told):
    late, early = math.floor(BEGINS) + 0.99, math.floor(BEGINS) + 1.01
    assert told.take(told.raw(1, start=late), told.raw(2, start=early), told.ramp(2, start=early)) == []
    assert told.take(told.ramp(1, start=late)) == [(2, [1]), (1, [])]


def test_a_failure_ends_the_wait(told):
    assert told.take(told.raw(1), told.ramp(2)) == []
    assert told.take(told.failed(1)) == [(2, [])]


def test_a_ramp_without_a_history_ends_the_wait(told):
    assert told.take(told.raw(1), told.ramp(2)) == []
    assert sorted(told.take(told.ramp(1, history=False))) == [(1, []), (2, [])]


def test_the_wait_is_bounded(told):
    assert told.take(told.raw(1), told.ramp(2), now=100.0) == []
    assert told.later(100.0 + WAIT - 1) == []
    assert told.associator.next_due() == 100.0 + WAIT
    assert told.later(100.0 + WAIT) == [(2, [])]
    assert told.associator.next_due() is None
    assert told.take(told.ramp(1), now=1e6) == [(2, [1]), (1, [])]


def test_a_history_alone_leaves_nothing_open(told):
    told.take(told.plan(1, 2), told.ramp(1))
    assert told.associator.open() == 0


BUSES = {"memory": lambda folder: MemoryBus(), "embedded": lambda folder: EmbeddedBus(folder / "bus")}


@pytest.mark.parametrize("kind", BUSES)
def test_on_a_bus_another_owner_goes_on_with_those_that_wait(kind, told, tmp_path):
    bus = BUSES[kind](tmp_path)
    bus.create_topics(TOPICS)
    bus.publish([pack(event) for event in (told.raw(1), told.raw(2), told.ramp(2))])
    for events in ((), (told.ramp(1),)):
        host = HostedAssociator(bus, told.store, lambda _: ON)
        bus.publish([pack(event) for event in events])
        read_all(host, bus)
        host.close()
    found = {event.name: event for event in map(parse_event, (m.value for m in bus.read("association")))}
    assert {event.stage for event in found.values()} == {"ramp_fit"}
    (product,) = stored_association(found[exposure(2)], told.store).products
    assert [(m.exptype, m.expname) for m in product.members] == [
        ("persistence", f"{exposure(1)}_persistence.fits"),
        ("science", f"{exposure(2)}_ramp.fits"),
    ]
    bus.close()


def test_what_is_taken_together_is_taken_in_the_order_of_the_road(told):
    bus = MemoryBus()
    bus.create_topics(TOPICS)
    bus.publish([pack(event) for event in (told.ramp(2), told.ramp(1), told.raw(1), told.raw(2))])
    host = HostedAssociator(bus, told.store, lambda _: ON)
    while host.turn():
        pass
    assert len(list(bus.read("association"))) == 2


def members(told, *events, partitions=3):
    """Messages of the topic members, as they are forwarded on Kafka."""
    desks = Desks({}, told.store, lambda _: ON, patience=None, partitions=partitions)
    found = []
    for event in events:
        packed = pack(event)
        origin = Message(
            topic=packed.topic, key=packed.key, value=packed.value, headers=packed.headers, partition=0,
            offset=0, timestamp=0.0,
        )  # fmt: skip
        for address in desks.addresses(event):
            out = forwarded(origin, event, address)
            found.append(
                Message(
                    topic=out.topic, key=out.key, value=out.value, headers=out.headers, offset=0,
                    partition=partition_of(out.key, partitions), timestamp=0.0,
                )
            )  # fmt: skip
    return found


def test_the_tables_of_kafka_say_the_same(told):
    from streams.associator.drafts import Patience

    messages = members(told, told.plan(1, 2), told.raw(1), told.ramp(2), told.ramp(1), told.failed(3))
    assert {message.key for message in messages} == {"01234", "nrca1@59780"}
    tables = {name: {} for name in ASSOCIATOR_TABLES}
    desks = Desks(tables, told.store, lambda _: ON, Patience(), partitions=3)
    outcome = desks.take(messages, 0.0)
    events = [parse_event(output.value) for output in outcome.outputs]
    assert sorted((event.name, event.members) for event in events) == [(exposure(1), 1), (exposure(2), 2)]
    end = Message(
        topic="members", key="", value=b"{}", headers=tick(end=True), offset=9,
        partition=partition_of("nrca1@59780", 3), timestamp=0.0,
    )  # fmt: skip
    assert TICK in end.headers
    assert desks.take([end], 0.0).outputs == ()


def test_where_nothing_is_to_be_taken_nothing_is_sent_on(told, tmp_path):
    desks = Desks({}, told.store, lambda _: OFF, patience=None)
    assert desks.addresses(told.raw(1)) == desks.addresses(told.ramp(1)) == []


def test_a_store_that_is_away_is_waited_for(told, monkeypatch):
    event = told.ramp(1)

    def away(*_):
        raise Retriable("the store is not there")

    monkeypatch.setattr(told.store, "fetch", away)
    desks = Desks({}, told.store, lambda _: ON, patience=None)
    with pytest.raises(Retriable):
        desks.addresses(event)
