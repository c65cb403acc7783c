"""What the associator remembers, and that it goes on from there."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.associator import Associator
from streams.associator.memory import parked, pieces, remembered
from streams.associator.state import State

from .made import IMAGE, cal, exposure, plan
from .test_reducer import PATIENCE, histories, last_words


def _nowhere(path):
    raise KeyError(path)


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
    second.restore(remembered(log, _nowhere), _nowhere)
    said += taken([*orders[0][half:], math.inf], second, log, start=float(half))
    assert last_words(said) == last_words(whole)


def test_what_was_said_is_not_said_again_after_a_restart():
    log = []
    associator = Associator(PATIENCE)
    assert len(taken([plan([1, 2]), cal(1), cal(2)], associator, log)) == 1
    second = Associator(PATIENCE)
    second.restore(remembered(log, _nowhere), _nowhere)
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


@settings(max_examples=50, deadline=None)
@given(histories(), st.integers(0, 6))
def test_programs_that_were_parked_go_on_as_if_they_had_not(orders, limit):
    """Before each message everything quiet is parked that can be, and sometimes another owner takes over."""
    whole = taken([*orders[0], math.inf], Associator(PATIENCE), [])
    files, log, said = {}, [], []
    associator = Associator(PATIENCE)
    for number, message in enumerate([*orders[0], math.inf]):
        for state in associator.quiet(limit):
            path = f"{len(files)}.json"
            files[path] = state.model_dump_json()
            log += parked(state, path)
            associator.park(state, path)
        if number % 5 == 4:
            associator = Associator(PATIENCE)
            associator.restore(remembered(log, lambda p: State.model_validate_json(files[p])), load(files))
        elif number == 0:
            associator.restore(remembered([], load(files)), load(files))
        said += taken([message], associator, log, start=float(number))
    assert last_words(said) == last_words(whole)


def load(files):
    return lambda path: State.model_validate_json(files[path])


def test_what_is_quiet_is_parked_and_what_waits_is_not():
    associator, files = Associator(PATIENCE), {}
    associator.restore(remembered([], load(files)), load(files))
    other = {**IMAGE, "PROGRAM": "00042"}
    third = {**IMAGE, "PROGRAM": "00043"}
    taken([plan([1]), cal(1)], associator, [])
    taken([cal(1, keywords=other)], associator, [])  # without a plan: it waits
    taken([plan([1], keywords=third), cal(1, keywords=third)], associator, [])
    assert associator.quiet(3) == []
    assert [state.program for state in associator.quiet(2)] == ["01234"]
