"""A newer plan that names nothing of a detector's day: nobody waits there for what the older one named."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import Unprocessable
from schemas.events import Plan, PlanEvent, PlannedExposure, parse_event
from streams.associator import Associator, Patience
from streams.associator.hosting import HostedAssociator
from streams.associator.memory import pieces, remembered
from streams.associator.tables import LEFT, Desks, forwarded, in_order
from streams.associator.telling import heard
from streams.bus import Message
from streams.bus.protocol import partition_of
from streams.envelope import pack, unpack
from streams.roots import put_by_digest
from streams.store import Store
from streams.topics import ASSOCIATOR_TABLES, MEMBERS, TOPICS

from .made import exposure, generation, recipe
from .test_hosting import BUSES
from .test_persistence import OFF, ON, Told, keywords, members, read_all

HERE, ELSEWHERE = {"DETECTOR": "NRCA1"}, {"DETECTOR": "NRCA3"}
DAY = "nrca1@59780"


@pytest.fixture
def fresh(tmp_path):
    return Told(Store(tmp_path / "store"))


def planned(told, born, campaign="", under=None, **numbers):
    """Return the event of a plan of exposures, ``here=`` of NRCA1 or ``elsewhere=`` of another detector."""
    named = [(n, HERE) for n in numbers.get("here", ())] + [
        (n, ELSEWHERE) for n in numbers.get("elsewhere", ())
    ]
    exposures = tuple(PlannedExposure(name=exposure(n), keywords=keywords(n, **where)) for n, where in named)
    text = Plan(program="01234", exposures=exposures).model_dump_json().encode()
    return PlanEvent(
        name="plan-01234", generation=generation(born), campaign=campaign, recipe=under or recipe(),
        keywords={"PROGRAM": "01234"}, plan=put_by_digest(told.store, "plans", text, ".json"),
    )  # fmt: skip


class Alone:
    """An associator that is started anew after every message."""

    def __init__(self, told, rules=lambda digest: ON):
        self.told, self.rules, self.log, self.said = told, rules, [], []

    def take(self, *events):
        found = []
        for event in events:
            associator = Associator()
            associator.restore(remembered(self.log, lambda path: None), lambda path: None)
            for one in heard(event, self.told.store, self.rules):
                for reduced in associator.hear(one.message, 0.0, one.whose):
                    self.log += pieces([reduced])
                    found += [self.told.shown(emission) for emission in reduced.emissions]
            self.open = associator.open()
        self.said += found
        return found


class Shared:
    """Desks over tables, with the topic ``members`` between them; each may be opened anew at any time."""

    def __init__(self, told, partitions=3, rules=lambda digest: ON):
        self.told, self.rules, self.partitions = told, rules, partitions
        self.tables = {name: {} for name in ASSOCIATOR_TABLES}
        self.waiting = []
        self.said = []
        self.letters = []
        self.start()

    def start(self):
        self.desks = Desks(self.tables, self.told.store, self.rules, Patience(), self.partitions)
        self.desks.reopen(range(self.partitions))

    def send(self, *events):
        self.waiting += members(self.told, *events, partitions=self.partitions)

    def work(self, choose=lambda number: 0, budget=None):
        """Take a partition's next message; of what is to be written only so much is."""
        message = self.waiting[choose(len(self.waiting))]
        message = next(one for one in self.waiting if one.partition == message.partition)
        outcome = self.desks.take([message], 0.0)
        for output in outcome.outputs:
            if output.topic == MEMBERS:
                self.waiting.append(
                    Message(
                        topic=MEMBERS, key=output.key, value=output.value, headers=output.headers, offset=0,
                        partition=partition_of(output.key, self.partitions), timestamp=0.0,
                    )
                )  # fmt: skip
            elif output.topic == "association":
                self.said.append(parse_event(output.value))
            else:
                self.letters.append(output)
        changes = [(table, change) for table, some in in_order(outcome.changes) for change in some]
        for table, change in changes[:budget]:
            self.tables[table][change.key.encode()] = change.value
        if budget is not None and budget < len(changes):
            self.start()  # it died; the message comes again
        else:
            self.waiting.remove(message)

    def drain(self):
        while self.waiting:
            self.work()
        assert self.letters == []


def test_who_waits_for_what_the_older_plan_named_goes_on(fresh):
    alone = Alone(fresh)
    assert alone.take(planned(fresh, 1, here=(1, 2)), fresh.ramp(2)) == []
    assert alone.take(planned(fresh, 2, elsewhere=(3,))) == [(2, [])]


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_in_whatever_order_plans_and_ramps_come(fresh, order):
    alone = Alone(fresh)
    events = planned(fresh, 1, here=(1, 2)), planned(fresh, 2, elsewhere=(3,)), fresh.ramp(2)
    alone.take(*(events[index] for index in order))
    assert (alone.said, alone.open) == ([(2, [])], 0)
    assert alone.take(*events) == []


@pytest.mark.parametrize("order", [*permutations(range(4))])
def test_the_newest_plan_holds_in_whatever_order_they_come(fresh, order):
    plans = (
        planned(fresh, 1, here=(1, 2)), planned(fresh, 2, elsewhere=(3,)), planned(fresh, 3, here=(1,)),
        planned(fresh, 4, elsewhere=(3,), here=(2,)),
    )  # fmt: skip
    for newest, goes in ((2, True), (3, False), (4, True)):
        alone = Alone(fresh)
        alone.take(*(plans[index] for index in order if index < newest))
        assert alone.take(fresh.ramp(2)) == ([(2, [])] if goes else []), newest


def test_of_two_plans_of_one_generation_one_holds_for_the_program_and_its_detectors(fresh):
    for twin in (2, 4, 5, 6):
        plans = planned(fresh, 1, here=(1, twin)), planned(fresh, 1, elsewhere=(3, twin))
        found = []
        for order in (plans, plans[::-1]):
            alone = Alone(fresh)
            alone.take(*order)
            (state,) = [s for s in remembered(alone.log, None).states if s.program == "01234"]
            there = "" in state.exposures[exposure(1)].expected if exposure(1) in state.exposures else False
            goes = alone.take(fresh.ramp(2)) == [(2, [])]
            assert goes != there
            found.append(goes)
        assert found[0] == found[1], twin


def test_a_plan_under_a_recipe_without_persistence_leaves_the_days_too(fresh):
    off = recipe("off")
    alone = Alone(fresh, lambda digest: OFF if digest == off.digest else ON)
    assert alone.take(planned(fresh, 1, here=(1, 2)), fresh.ramp(2)) == []
    assert alone.take(planned(fresh, 2, under=off, here=(1, 2))) == [(2, [])]


def test_what_is_ingested_is_waited_for_though_no_plan_names_it_any_more(fresh):
    alone = Alone(fresh)
    alone.take(planned(fresh, 1, here=(1, 2)), fresh.raw(1), fresh.ramp(2), planned(fresh, 2, elsewhere=(3,)))
    assert alone.said == []
    assert alone.take(fresh.ramp(1)) == [(2, [1]), (1, [])]


def test_a_plan_of_a_campaign_leaves_the_standing_one_alone(fresh):
    alone = Alone(fresh)
    alone.take(planned(fresh, 1, here=(1, 2)), planned(fresh, 2, campaign="again", elsewhere=(3,)))
    assert alone.take(fresh.ramp(2)) == []


def test_a_day_that_no_plan_has_named_hears_of_none(fresh):
    alone = Alone(fresh, lambda digest: OFF)
    alone.take(planned(fresh, 1, here=(1, 2)), planned(fresh, 2, elsewhere=(3,)))
    assert [state.program for state in remembered(alone.log, None).states] == ["01234"]


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_the_tables_of_kafka_say_the_same(fresh, order):
    shared = Shared(fresh)
    events = planned(fresh, 1, here=(1, 2)), planned(fresh, 2, elsewhere=(3,)), fresh.ramp(2)
    for index in order:
        shared.send(events[index])
        shared.drain()
        shared.start()
    assert [(event.name, event.members) for event in shared.said] == [(exposure(2), 1)]
    assert shared.desks.open == 0


def test_what_a_day_hears_is_no_event_and_nothing_that_others_can_say(fresh):
    shared = Shared(fresh)
    shared.send(planned(fresh, 1, here=(1, 2)), planned(fresh, 2, elsewhere=(3,)))
    while LEFT not in shared.waiting[0].headers:
        shared.work()
    (heard_last,) = shared.waiting
    assert (heard_last.key, heard_last.partition) == (DAY, partition_of(DAY, 3))
    with pytest.raises(Unprocessable):
        unpack(heard_last)  # who asks of which files there are events
    event = fresh.ramp(2)
    assert LEFT not in forwarded(replace(heard_last, value=event.to_bytes()), event).headers
    shared.waiting = [replace(heard_last, value=b"nothing"), replace(heard_last, key="01234")]
    shared.work()
    shared.work()
    assert {letter.topic for letter in shared.letters} == {"members.associator.dlq"}
    assert len(shared.letters) == 1


@settings(max_examples=150, deadline=None)
@given(st.permutations([1, 2, 3, 4]), st.data())
def test_whenever_workers_die_and_whoever_is_slow_the_newest_plan_holds(tmp_path_factory, order, data):
    told = Told(Store(tmp_path_factory.mktemp("store")))
    named = {
        number: {
            where: tuple(sorted(data.draw(st.sets(st.sampled_from([1, 2, 4])))))
            for where in ("here", "elsewhere")
        }
        for number in order
    }
    shared = Shared(told, partitions=data.draw(st.sampled_from([1, 3])))
    shared.send(*(planned(told, number, **named[number]) for number in order))
    fates = data.draw(st.lists(st.none() | st.integers(0, 3), max_size=12))
    while shared.waiting:
        shared.work(lambda n: data.draw(st.integers(0, n - 1)), fates.pop() if fates else None)
    assert shared.letters == []
    shared.start()
    states = remembered(
        [Entry(key.decode(), value) for table in shared.tables.values() for key, value in table.items()], None
    ).states
    there = {
        state.program: {name for name, known in state.exposures.items() if known.expected} for state in states
    }
    for where, day in (("here", DAY), ("elsewhere", "nrca3@59780")):
        # the same exposure of two detectors is one in the program's state, and two in those of the days
        assert there.get(day, set()) == {exposure(n) for n in named[4][where]}, day


class Entry:
    def __init__(self, key, value):
        self.key, self.value = key, value


@pytest.mark.parametrize("kind", BUSES)
def test_on_a_bus_the_next_owner_knows_which_days_a_plan_leaves(kind, fresh, tmp_path):
    bus = BUSES[kind](tmp_path)
    bus.create_topics(TOPICS)
    for events in (
        (planned(fresh, 1, here=(1, 2)), fresh.ramp(2)),
        (planned(fresh, 2, elsewhere=(3,)),),
        (planned(fresh, 1, here=(1, 2)), fresh.ramp(4)),
    ):
        assert [parse_event(m.value).name for m in bus.read("association")] in ([], [exposure(2)])
        host = HostedAssociator(bus, fresh.store, lambda _: ON)
        bus.publish([pack(event) for event in events])
        read_all(host, bus)
        host.close()
    assert [parse_event(m.value).name for m in bus.read("association")] == [exposure(2), exposure(4)]
    bus.close()
