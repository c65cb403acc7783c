"""Ramps and histories on both sides of midnight, on a real broker: a detector's two days, two workers."""

from __future__ import annotations

from collections import Counter

import pytest

from schemas.events import RecipeReference
from streams.recipes import freeze
from tests.streams.bus.brokers import stop_clusters

from .made import exposure
from .test_faust import Observatory
from .test_persistence import ON, Told
from .test_persistence_days import EARLY, LATE
from .test_plans_replaced import planned


@pytest.fixture(scope="module", autouse=True)
def _no_broker_stays():
    yield
    stop_clusters()


@pytest.fixture
def night(tmp_path):
    made = Observatory(tmp_path)
    made.recipe = RecipeReference(name=ON.name, digest=freeze(ON, made.store))
    made.watch()
    yield made, Told(made.store)
    made.end()


@pytest.mark.parametrize("history", [True, False])
def test_the_next_day_learns_that_an_exposure_is_through(night, history):
    there, told = night
    for _ in range(2):
        there.worker()
    there.say(told.raw(1, **LATE), told.raw(2, **EARLY))
    there.until(lambda: not there.lag())  # topics keep no order among themselves
    there.say(told.ramp(2, **EARLY))
    there.until(lambda: not there.lag())
    assert there.said() == []
    there.say(told.ramp(1, history=history, **LATE))
    there.until(lambda: len(there.words()) == 2)
    there.until(lambda: not there.lag())
    assert Counter(event.name for event in there.said()) == {exposure(1): 1, exposure(2): 1}
    members = {event.name: event.members for event in there.said()}
    assert members == {exposure(1): 1, exposure(2): 2 if history else 1}


def test_a_day_that_a_newer_plan_leaves_is_told_by_whoever_has_the_program(night):
    there, told = night
    for _ in range(2):
        there.worker()
    there.say(planned(told, 1, here=(1, 2)))
    there.until(lambda: not there.lag())
    there.say(told.ramp(2))
    there.until(lambda: not there.lag())
    assert there.said() == []
    there.workers[0].kill()
    there.say(planned(told, 2, elsewhere=(3,)))
    there.until(lambda: len(there.words()) == 1)
    there.until(lambda: not there.lag())
    assert [(event.name, event.members) for event in there.said()] == [(exposure(2), 1)]
    assert list(there.bus.read("members.associator.dlq")) == []
