"""What the associator remembers, and that it goes on from there."""

from __future__ import annotations

import math

from hypothesis import given, settings

from streams.associator import Associator
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
