"""Plans of what is to come."""

from __future__ import annotations

import pytest

from processors.recipes import builtin
from schemas.events import Plan
from streams.bus.memory import MemoryBus
from streams.envelope import pack
from streams.ingest.intake import Intake, IntakeOptions
from streams.lines import add_line
from streams.topics import PLAN


@pytest.fixture
def planned(site, events):
    """Return what the plans say, in order of their generation: line and names."""

    def call():
        found = []
        for event in sorted(events(PLAN), key=lambda event: event.generation):
            with site.store.fetch(event.plan) as path:
                plan = Plan.model_validate_json(path.read_bytes())
            names = [exposure.name.split("_")[2] for exposure in plan.exposures]
            found.append((event.line, plan.program, names))
        return found

    return call


def test_a_plan_names_all_files_before_any_is_published(site, arrive, planned, events):
    intake = Intake(site)
    assert intake.plan([arrive(), arrive(number=2)]) == 1
    assert planned() == [("main", "01234", ["00001", "00002"])]
    assert events("raw") == []


def test_a_later_plan_holds_what_the_one_before_said(site, arrive, planned):
    Intake(site).plan([arrive(), arrive(number=2)])
    Intake(site).plan([arrive(number=2), arrive(number=3)])
    assert planned()[-1] == ("main", "01234", ["00001", "00002", "00003"])


def test_a_plan_that_says_nothing_new_is_not_published(site, arrive, planned):
    Intake(site).plan([arrive(), arrive(number=2)])
    assert Intake(site).plan([arrive()]) == 0
    assert Intake(site).plan([]) == 0
    assert len(planned()) == 1


def test_what_cannot_be_taken_is_not_planned(site, arrive, planned):
    broken = arrive()
    broken.write_bytes(b"nothing")
    Intake(site).plan([broken, broken.with_name("missing_uncal.fits"), arrive(number=2)])
    assert planned() == [("main", "01234", ["00002"])]


def test_each_line_has_its_plan(site, arrive, planned):
    add_line("two", builtin("baseline"), site.bus, site.store)
    assert Intake(site).plan([arrive()]) == 2
    assert {line for line, _, _ in planned()} == {"main", "two"}
    assert Intake(site, IntakeOptions(lines=("two",))).plan([arrive(number=2)]) == 1
    assert planned()[-1] == ("two", "01234", ["00001", "00002"])


def test_the_plan_of_a_campaign_is_left_alone(site, arrive, events, planned):
    Intake(site).plan([arrive()])
    (event,) = events(PLAN)
    site.bus.publish([pack(event.with_(campaign="again", generation="7ZZZZZZZZZZZZZZZZZZZZZZZZ0"))])
    assert Intake(site).plan([arrive()]) == 0
    assert Intake(site).plan([arrive(number=2)]) == 1
    assert ("main", "01234", ["00001", "00002"]) in planned()


def test_of_two_that_plan_at_once_nothing_is_lost(site, arrive, planned, monkeypatch):
    """Another process publishes its plan after this one has looked, and before it has spoken."""
    first, second = arrive(), arrive(number=2)
    publish, other = MemoryBus.publish, []

    def late(bus, outputs):
        if not other and outputs[0].topic == PLAN:
            other.append(True)
            assert Intake(site).plan([second]) == 1
        publish(bus, outputs)

    monkeypatch.setattr(MemoryBus, "publish", late)
    assert Intake(site).plan([first]) == 1
    assert planned()[-1] == ("main", "01234", ["00001", "00002"])
    assert len(planned()) == 3
