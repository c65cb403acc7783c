"""What the associator remembers, and that it goes on from there."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings

from streams.associator import Associator
from streams.associator.driver import AWAKE
from streams.associator.memory import pieces, remembered

from .made import cal, exposure, plan
from .test_reducer import PATIENCE, histories, last_words


def taken(messages, associator, log, start=0.0):
    said = []
    for now, message in enumerate(messages, 1):
        if isinstance(message, int | float):
            reduced = associator.tick(message)
        else:
            reduced = [associator.take(message, start + now)]
        log += pieces(reduced)
        said += [emission for one in reduced for emission in one.emissions]
    return said


@settings(max_examples=50, deadline=None)
@given(histories())
def test_a_restart_in_the_middle_changes_nothing(orders):
    whole = taken([*orders[0], math.inf], Associator(PATIENCE), [])
    half = len(orders[0]) // 2
    log = []
    said = taken(orders[0][:half], Associator(PATIENCE), log)
    second = Associator(PATIENCE)
    second.restore(remembered(log))
    said += taken([*orders[0][half:], math.inf], second, log, start=float(half))
    assert last_words(said) == last_words(whole)


def test_what_was_said_is_not_said_again_after_a_restart():
    log = []
    associator = Associator(PATIENCE)
    assert len(taken([plan([1, 2]), cal(1), cal(2)], associator, log)) == 1
    second = Associator(PATIENCE)
    second.restore(remembered(log))
    assert second.open() == 0
    assert taken([cal(1), cal(2), math.inf], second, log) == []


def test_an_event_writes_its_own_exposure_and_groups_only():
    log = []
    associator = Associator(PATIENCE)
    taken([plan(range(1, 40))], associator, log)
    before = len(log)
    taken([cal(7)], associator, log)
    names = [outgoing.key for outgoing in log[before:]]
    assert len(names) == 2
    assert any(exposure(7) in name for name in names)
    assert any("groups" in name for name in names)


def of_program(event, program):
    name = event.name.replace("01234", program)
    return event.with_(name=name, keywords={**event.keywords, "PROGRAM": program})


def test_programs_at_rest_are_woken_by_what_comes_for_them():
    associator = Associator(PATIENCE)
    programs = [f"{number:05}" for number in range(1, 60)]
    for program in programs:
        taken([of_program(cal(1), program), math.inf], associator, [])
    assert len(associator._resting) == len(programs) - AWAKE
    assert associator.open() == 0
    assert associator.finish() == []
    assert taken([of_program(cal(1), programs[0]), math.inf], associator, []) == []
    (again,) = taken([of_program(cal(2), programs[0]), math.inf], associator, [])
    assert len(again.association.products[0].members) == 2


@settings(max_examples=30, deadline=None)
@given(histories())
def test_resting_changes_nothing(orders):
    whole = taken([*orders[0], math.inf], Associator(PATIENCE), [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streams.associator.driver.AWAKE", 0)
        assert taken([*orders[0], math.inf], Associator(PATIENCE), []) == whole
