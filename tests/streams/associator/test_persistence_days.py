"""Long exposures, segments and midnight: who waits for whom, and on which days that is known."""

from __future__ import annotations

import math
from itertools import permutations

import pytest

from schemas.events import Plan, PlannedExposure, parse_event
from schemas.keywords import event_keywords
from streams.associator.drafts import WAIT, Patience
from streams.associator.hosting import HostedAssociator
from streams.associator.plans import Expectation, detector_days
from streams.associator.state import State
from streams.associator.tables import Desks
from streams.associator.telling import heard_of_plan
from streams.envelope import pack
from streams.store import Store
from streams.topics import ASSOCIATOR_TABLES, TOPICS

from .made import exposure, generation
from .test_persistence import BEGINS, BUSES, HOUR, ON, Told, keywords, members, read_all

DAY = 86400.0
MIDNIGHT = math.floor(BEGINS) + 1.0
LATE, EARLY = {"start": MIDNIGHT - 0.01}, {"start": MIDNIGHT + 0.01}
TODAY, TOMORROW = (f"nrca1@{math.floor(MIDNIGHT) + day}" for day in (-1, 0))


@pytest.fixture
def fresh(tmp_path):
    return Told(Store(tmp_path / "store"))


LENGTHS = {
    "its end": {"EXPEND": BEGINS + 3 * HOUR},
    "its duration": {"DURATION": 3 * 3600.0},
    "its integrations": {"EFFINTTM": 1080.0, "NINTS": 10},
    "their resets": {"EFFINTTM": 1000.0, "TFRAME": 80.0, "NRESETS": 1, "NINTS": 10},
    "their light": {"EFFEXPTM": 3 * 3600.0, "NINTS": 10},
    "its groups": {"NGROUPS": 100, "TGROUP": 10.8, "NINTS": 10},
}


@pytest.mark.parametrize("told_by", LENGTHS)
def test_persistence_is_counted_from_the_end_of_a_long_exposure(fresh, told_by):
    long = {"start": BEGINS, **LENGTHS[told_by]}
    after = {"start": BEGINS + 4.9 * HOUR}
    assert fresh.take(fresh.raw(1, **long), fresh.ramp(2, **after)) == []
    assert fresh.take(fresh.ramp(1, **long)) == [(2, [1]), (1, [])]
    assert fresh.take(fresh.ramp(3, start=BEGINS + 5.1 * HOUR)) == [(3, [2])]


@pytest.mark.parametrize("end", [BEGINS - 1, BEGINS + 1e6, "soon", True, -1.0])
def test_an_end_that_cannot_be_is_not_believed(fresh, end):
    odd = {"start": BEGINS, "EXPEND": end}
    assert detector_days(keywords(1, **odd)) == [f"nrca1@{math.floor(BEGINS)}"]
    assert fresh.take(fresh.raw(1, **odd), fresh.ramp(2, start=BEGINS + 2.1 * HOUR)) == [(2, [])]


def test_an_exposure_is_told_on_every_day_on_which_it_counts(fresh):
    long = {"start": MIDNIGHT - 1 * HOUR, "EXPEND": MIDNIGHT + 23 * HOUR}
    assert detector_days(keywords(1, **long)) == [f"nrca1@{MIDNIGHT + n:.0f}" for n in (-1, 0, 1)]
    after = {"start": MIDNIGHT + 24.9 * HOUR}
    assert fresh.take(fresh.raw(1, **long), fresh.ramp(2, **after)) == []
    assert sorted(fresh.take(fresh.ramp(1, **long))) == [(1, []), (2, [1])]


def test_what_was_remembered_before_ends_were_asked_for_still_reads(fresh):
    taken = fresh.take(fresh.raw(1), fresh.ramp(1))
    assert taken == [(1, [])]
    (state,) = fresh.associator._states.values()
    text = state.model_dump_json()
    (place,) = [p for p in state.exposures[exposure(1)].outlook if p.role == "persistence"]
    older = State.model_validate_json(text.replace(f'"ended":"{place.ended}",', ""))
    (found,) = [p for p in older.exposures[exposure(1)].outlook if p.role == "persistence"]
    assert (place.ended, found.ended) == (place.began, "")
    group = {"detector": "nrca1", "exposure": exposure(2), "began": f"{BEGINS + HOUR:.9f}"}
    assert found.joins("Persistence", group)


def segment(number, *, of=4, each=10, length=1800.0, start=BEGINS):
    """Keywords of a segment of a time series: those of the whole exposure, and which integrations it has."""
    return {
        "start": start, "EXPEND": start + of * length / DAY, "NINTS": of * each, "EXSEGNUM": number,
        "EXSEGTOT": of, "INTSTART": (number - 1) * each + 1, "INTEND": number * each,
    }  # fmt: skip


def test_a_segment_waits_for_the_segments_before_it(fresh):
    fresh.take(*(fresh.raw(n, **segment(n)) for n in (1, 2, 3, 4)))
    assert fresh.take(fresh.ramp(3, **segment(3))) == []
    assert fresh.take(fresh.ramp(1, **segment(1))) == [(1, [])]
    assert sorted(fresh.take(fresh.ramp(2, **segment(2)))) == [(2, [1]), (3, [1, 2])]
    assert fresh.take(fresh.ramp(4, **segment(4))) == [(4, [1, 2, 3])]


def test_each_segment_has_a_time_of_its_own(fresh):
    early = {n: segment(n, of=6, length=3000.0) for n in (1, 2, 3, 6)}
    for number, one in early.items():
        assert fresh.take(fresh.ramp(number, **one)) == [(number, {1: [], 2: [1], 3: [1, 2], 6: [3]}[number])]
    assert fresh.take(fresh.ramp(7, start=BEGINS + (18000 + 3000) / DAY)) == [(7, [6])]


def test_segments_after_midnight_are_of_the_next_day(fresh):
    parts = {n: segment(n, start=MIDNIGHT - 3600 / DAY) for n in (1, 2, 3, 4)}
    assert [detector_days(keywords(n, **parts[n])) for n in (1, 2, 3, 4)] == [
        [TODAY, TOMORROW], [TODAY, TOMORROW], [TOMORROW], [TOMORROW],
    ]  # fmt: skip
    fresh.take(*(fresh.raw(n, **parts[n]) for n in parts))
    fresh.take(*(fresh.ramp(n, **parts[n]) for n in (4, 3, 2, 1)))
    last = {emission.name: fresh.shown(emission) for emission in fresh.said}
    assert sorted(last.values()) == [(1, []), (2, [1]), (3, [1, 2]), (4, [1, 2, 3])]


def test_a_ramp_without_a_history_ends_the_wait_of_the_next_day(fresh):
    assert fresh.take(fresh.raw(1, **LATE), fresh.raw(2, **EARLY), fresh.ramp(2, **EARLY)) == []
    assert sorted(fresh.take(fresh.ramp(1, history=False, **LATE))) == [(1, []), (2, [])]
    assert fresh.associator.open() == 0


@pytest.mark.parametrize("history", [True, False])
def test_in_whatever_order_things_come_each_is_made_on_its_own_day_once(tmp_path, history):
    for number, order in enumerate(permutations(range(4))):
        told = Told(Store(tmp_path / str(number)))
        events = (
            told.raw(1, **LATE), told.raw(2, **EARLY), told.ramp(1, history=history, **LATE),
            told.ramp(2, **EARLY),
        )  # fmt: skip
        told.take(*(events[index] for index in order))
        assert told.associator.open() == 0, order
        last = {emission.name: told.shown(emission) for emission in told.said}
        assert sorted(last.values()) == [(1, []), (2, [1] if history else [])], order
        assert sum(emission.name == exposure(1) for emission in told.said) == 1, order
        again = told.take(*events)
        assert again == [], order
        states = told.associator._states.values()
        made = {(state.program, group.about) for state in states for group in state.groups.values()}
        assert made == {(TODAY, exposure(1)), (TOMORROW, exposure(2))}


@pytest.mark.parametrize("stage", ["ingest", "detector1", "detector1+ramp_fit"])
def test_a_failure_ends_the_wait_of_the_next_day(fresh, stage):
    fresh.take(fresh.raw(1, **LATE), fresh.ramp(2, **EARLY))
    assert fresh.said == []
    failed = fresh.failed(1, stage).with_(keywords=keywords(1, **LATE))
    assert fresh.take(failed) == [(2, [])]


def planned(told, *numbers, campaign="", born=0):
    """Tell the associator of a plan of exposures, the first of them before midnight."""
    times = {1: LATE, 2: EARLY}
    named = tuple(PlannedExposure(name=exposure(n), keywords=keywords(n, **times[n])) for n in numbers)
    plan = Plan(program="01234", exposures=named)
    expectation = Expectation(plan=plan, generation=generation(born), campaign=campaign)
    for one in heard_of_plan(expectation, ON):
        told.associator.take(one.message, 0.0, one.whose)


def test_a_plan_counts_on_both_sides_of_midnight(fresh):
    planned(fresh, 1, 2)
    assert fresh.take(fresh.ramp(2, **EARLY)) == []
    assert sorted(fresh.take(fresh.ramp(1, history=False, **LATE))) == [(1, []), (2, [])]
    assert {emission.completeness for emission in fresh.said} == {"complete"}


@pytest.mark.parametrize("history", [True, False])
def test_a_campaign_counts_on_both_sides_of_midnight(fresh, history):
    fresh.take(fresh.ramp(1, **LATE), fresh.ramp(2, **EARLY))
    planned(fresh, 1, 2, campaign="again", born=5)
    second = fresh.ramp(2, born=5, campaign="again", **EARLY)
    assert fresh.take(second) == []
    first = fresh.ramp(1, born=5, campaign="again", history=history, content="other", **LATE)
    assert sorted(fresh.take(first)) == [(1, []), (2, [1])]
    assert fresh.associator.next_due() is None


def test_the_wait_of_the_next_day_is_bounded_too(fresh):
    assert fresh.take(fresh.raw(1, **LATE), fresh.ramp(2, **EARLY), now=100.0) == []
    assert fresh.later(100.0 + WAIT) == [(2, [])]


def test_the_tables_of_kafka_know_it_on_both_days(fresh):
    events = fresh.raw(1, **LATE), fresh.ramp(2, **EARLY), fresh.ramp(1, history=False, **LATE)
    messages = members(fresh, *events)
    assert [message.key for message in messages] == [TODAY, TOMORROW, TOMORROW, TODAY, TOMORROW]
    desks = Desks(
        {name: {} for name in ASSOCIATOR_TABLES}, fresh.store, lambda _: ON, Patience(), partitions=3
    )
    events = [parse_event(output.value) for output in desks.take(messages, 0.0).outputs]
    assert sorted((event.name, event.members) for event in events) == [(exposure(1), 1), (exposure(2), 1)]
    assert desks.open == 0


def test_events_carry_what_tells_how_long_an_exposure_was():
    header = {"EXPSTART": 1.0, "EXPEND": 2.0, "DURATION": 3.0, "EFFINTTM": 4.0, "NRESETS": 1, "TFRAME": 2.7}
    assert event_keywords(header) == header


@pytest.mark.parametrize("kind", BUSES)
def test_on_a_bus_the_next_owner_knows_it_too(kind, fresh, tmp_path):
    bus = BUSES[kind](tmp_path)
    bus.create_topics(TOPICS)
    bus.publish([pack(event) for event in (fresh.raw(1, **LATE), fresh.ramp(2, **EARLY))])
    for events, said in (((), []), ((fresh.ramp(1, history=False, **LATE),), [exposure(1), exposure(2)])):
        host = HostedAssociator(bus, fresh.store, lambda _: ON)
        bus.publish([pack(event) for event in events])
        read_all(host, bus)
        host.close()
        assert sorted(parse_event(m.value).name for m in bus.read("association")) == said
    bus.close()
