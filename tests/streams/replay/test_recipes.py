"""Derived recipes: what `--set` gives is the strongest, whatever it is laid over."""

from __future__ import annotations

import pytest

from processors.recipes import builtin, effective
from processors.registry import STEPS
from schemas.recipe import Override, Recipe, parse_recipe
from streams.replay import derived

TABLE = {"jump": {"likelihood_threshold_one": 33.0}}
RECIPES = {
    "built-in": builtin("optimal"),
    "other built-in": builtin("baseline"),
    "own": Recipe(name="own", base="optimal", steps={"jump": {"likelihood_threshold_one": 20.0}}),
    "with overrides": Recipe(
        name="over",
        base="optimal",
        overrides=(Override(when={"filter": "F200W"}, steps={"jump": {"likelihood_threshold_one": 20.0}}),),
    ),
}


def options(recipe, **layers):
    return effective(recipe, {"jump": STEPS["jump"]}, {"FILTER": "F200W"}, known=STEPS, **layers)[
        "jump"
    ].options


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_as_on_the_command_line_of_a_run(name):
    recipe = RECIPES[name]
    assert options(derived(recipe, TABLE)) == options(recipe, command_line=TABLE)
    assert options(derived(recipe, TABLE)) != options(recipe)


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_is_the_same_and_survives_the_store(name):
    recipe = RECIPES[name]
    one = derived(recipe, TABLE)
    assert one.digest == derived(recipe, TABLE).digest != derived(recipe, {"jump": {"skip": True}}).digest
    assert parse_recipe(one.to_yaml(), "stored").digest == one.digest
    assert one.name.startswith(recipe.name)


def test_values_of_a_built_in_recipe_stay_weaker_than_parameter_references():
    crds = {"jump": {"rejection_threshold": 7.0}}
    recipe = builtin("baseline")
    assert options(derived(recipe, TABLE), crds_parameters=crds).rejection_threshold == (
        options(recipe, crds_parameters=crds).rejection_threshold
    )


def test_one_may_be_derived_from_another():
    once = derived(builtin("optimal"), TABLE)
    twice = derived(once, {"jump": {"likelihood_threshold_one": 34.0}})
    assert options(twice).likelihood_threshold_one == 34.0
    long = Recipe(name="x" * 64, base="optimal")
    assert len(derived(derived(long, TABLE), {"jump": {"skip": True}}).name) <= 64


def test_nothing_laid_over_is_the_recipe_itself():
    assert derived(builtin("optimal"), {}) is builtin("optimal")
