"""The recipes that come with the package fit its steps."""

from __future__ import annotations

import pytest

import processors.recipes as recipes
from processors.recipes import builtin, effective, merged
from processors.registry import STEPS
from schemas.recipe import Recipe
from tests.processors.recipes.toy import KEYWORDS


@pytest.mark.parametrize("name", recipes.BUILTIN)
def test_built_in_recipes_fit_the_steps(name: str) -> None:
    recipe = builtin(name)
    assert recipe.name == name
    settings = effective(recipe, STEPS, KEYWORDS)
    assert set(settings) == set(STEPS)


@pytest.mark.parametrize(
    ("instrument", "jump"),
    [
        *(
            (name, {"expand_large_events": True, "edge_size": 0})
            for name in ("NIRCAM", "NIRISS", "NIRSPEC", "FGS")
        ),
        ("MIRI", {"find_showers": True}),
        (None, {}),
    ],
)
def test_optimal_is_the_steps_defaults_but_for_the_large_events_of_each_instrument(instrument, jump) -> None:
    settings = effective(builtin("optimal"), STEPS, KEYWORDS | {"INSTRUME": instrument})
    for name, found in settings.items():
        assert found.options == STEPS[name].options_type(**(jump if name == "jump" else {}))
        assert found.skip == STEPS[name].off
    assert merged(builtin("optimal")).crds_parameters is False


@pytest.mark.parametrize("name", recipes.BUILTIN)
def test_flicker_noise_is_cleaned_only_where_a_recipe_asks_for_it(name: str) -> None:
    settings = effective(builtin(name), STEPS, {**KEYWORDS, "EXP_TYPE": "NRC_IMAGE", "SUBARRAY": "FULL"})
    assert settings["clean_flicker_noise"].skip
    assert settings["clean_flicker_noise_rate"].skip


@pytest.mark.parametrize(
    ("exp_type", "runs"),
    [("NIS_AMI", True), ("NIS_IMAGE", True), ("NIS_WFSS", True), ("NIS_SOSS", False), ("NRC_IMAGE", False)],
)
def test_optimal_looks_for_charge_that_migrates_where_stars_are_sharp(exp_type, runs) -> None:
    settings = effective(builtin("optimal"), STEPS, KEYWORDS | {"EXP_TYPE": exp_type})
    assert settings["charge_migration"].skip != runs


def test_baseline_follows_the_context() -> None:
    assert merged(Recipe(base="baseline")).crds_parameters is True


def test_baseline_writes_out_what_defaults_may_change() -> None:
    ours = {"likelihood_threshold_one", "likelihood_threshold_two", "pixmap_tolerance"}
    ours |= {"fit_quality", "fit_diagnostics", "poor_fit_probability"}
    settings = effective(builtin("baseline"), STEPS, KEYWORDS)
    for name, found in settings.items():
        assert set(STEPS[name].options_type.model_fields) - set(found.origins) <= ours, name


@pytest.mark.parametrize("base", recipes.BUILTIN)
def test_a_recipe_that_asks_for_persistence_asks_for_histories_too(base: str) -> None:
    asks = Recipe(base=base, steps={"persistence": {"skip": False}})
    settings = effective(asks, STEPS, KEYWORDS)
    assert not settings["persistence"].skip
    assert not settings["persistence_history"].skip
    assert recipes.asks_for(asks, "persistence_history", KEYWORDS)
    without = asks.model_copy(update={"steps": {**asks.steps, "persistence_history": {"skip": True}}})
    assert effective(without, STEPS, KEYWORDS)["persistence_history"].skip
    assert not recipes.asks_for(without, "persistence_history", KEYWORDS)


def test_persistence_may_be_asked_for_where_an_override_holds() -> None:
    override = {"when": {"detector": "NRCA3"}, "steps": {"persistence": {"skip": False}}}
    some = Recipe.model_validate({"base": "optimal", "overrides": (override,)})
    assert not recipes.asks_for(some, "persistence", {"DETECTOR": "NRCA1"})
    assert recipes.asks_for(some, "persistence", {"DETECTOR": "NRCA3"})
    assert not effective(some, STEPS, {"DETECTOR": "NRCA3"})["persistence_history"].skip
