"""Campaigns under other recipes: what they redo joins what they leave alone."""

from __future__ import annotations

import json
import math

from streams.associator import Associator

from .made import cal, exposure, failure, generation, plan, recipe
from .test_reducer import PATIENCE, numbers, run


def members(emission):
    return {m.expname: m.digest for m in emission.association.products[0].members}


def content(*events):
    return {f"{event.name}_cal.fits": event.product.content for event in events}


def recipes(emission):
    return json.loads(emission.association.to_json()).get("calstream_recipes")


def begun(*numbers):
    associator = Associator(PATIENCE)
    run([plan(numbers), *map(cal, numbers)], associator)
    return associator


def test_one_redone_under_a_derived_recipe_joins_the_others():
    associator = begun(1, 2, 3)
    redone = cal(1, 6, campaign="redo", under="derived")
    assert run([plan([1, 2], born=5, campaign="redo"), redone], associator) == []
    second = cal(2, 6, campaign="redo", under="derived")
    (emission,) = run([second], associator)
    assert members(emission) == content(redone, second, cal(3))
    assert (emission.recipe, emission.completeness) == (recipe("derived"), "complete")
    assert (emission.campaign, emission.generation) == ("redo", generation(6))
    assert recipes(emission) == {f"{exposure(3)}_cal.fits": recipe().model_dump()}
    assert run([math.inf], associator) == []


def test_members_of_one_recipe_need_no_word_about_it():
    (emission,) = run([plan([1]), cal(1)])
    assert recipes(emission) is None


def test_without_a_standing_plan_too():
    associator = Associator(PATIENCE)
    run([cal(1), cal(2), math.inf], associator)
    redone = cal(2, 6, campaign="redo", under="derived")
    (emission,) = run([plan([2], born=5, campaign="redo"), redone], associator, start=50)
    assert members(emission) == content(cal(1), redone)


def test_what_fails_under_the_derived_recipe_leaves_what_was_there():
    associator = begun(1, 2)
    redone = cal(1, 6, campaign="redo", under="derived")
    fails = failure(2, 6, campaign="redo", under="derived")
    (emission,) = run([plan([1, 2], born=5, campaign="redo"), redone, fails], associator)
    assert members(emission) == content(redone, cal(2))
    assert set(recipes(emission)) == {f"{exposure(2)}_cal.fits"}


def test_a_second_campaign_builds_on_the_first():
    associator = begun(1, 2, 3)
    first = [cal(n, 6, campaign="one", under="derived") for n in (1, 2)]
    run([plan([1, 2], born=5, campaign="one"), *first], associator)
    again = cal(2, 9, campaign="two", under="third")
    (emission,) = run([plan([2], born=8, campaign="two"), again], associator)
    assert members(emission) == content(first[0], again, cal(3))
    assert emission.recipe == recipe("third")


def test_a_late_exposure_of_the_stream_does_not_undo_a_campaign():
    associator = Associator(PATIENCE)
    run([plan([1, 2]), cal(1)], associator)
    redone = cal(1, 6, campaign="redo", under="derived")
    assert run([plan([1], born=5, campaign="redo"), redone], associator) == []
    late = cal(2, 7)
    (emission,) = run([late], associator)
    assert members(emission) == content(redone, late)
    assert emission.recipe == recipe()


def test_a_campaign_of_a_recipe_that_the_line_has_left_no_longer_counts():
    associator = begun(1, 2)
    run([plan([1], born=5, campaign="redo"), cal(1, 6, campaign="redo", under="derived")], associator)
    assert run([cal(1, 10, under="other")], associator) == []
    (emission,) = run([cal(2, 11, under="other")], associator)
    assert (numbers(emission), recipes(emission)) == ([1, 2], None)
    run([plan([1], born=12, campaign="more"), cal(1, 13, campaign="more", under="derived")], associator)
    back = [cal(1, 20), cal(2, 21)]
    said = run(back, associator)
    assert members(said[-1]) == content(*back)


def test_the_same_recipe_again_keeps_what_came_with_the_stream_known():
    """A campaign under the line's own recipe must not hide that the line has left another one."""
    associator = Associator(PATIENCE)
    old = [cal(n, 1, under="older") for n in (1, 2, 3)]
    run([plan([1, 2, 3]), *old, cal(1, 5), cal(2, 6)], associator)
    redone = [cal(n, 8, campaign="redo") for n in (1, 2)]
    assert run([plan([1, 2], born=7, campaign="redo"), *redone], associator) == []
    (emission,) = run([cal(3, 9)], associator)
    assert members(emission) == content(*redone, cal(3, 9))
