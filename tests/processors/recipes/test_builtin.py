"""The recipes that come with the package fit its steps."""

from __future__ import annotations

import pytest

import processors.recipes as recipes
from processors.recipes import builtin, effective, merged
from processors.registry import STEPS
from processors.steps import StepSettings
from schemas.recipe import Recipe
from tests.processors.recipes.toy import KEYWORDS


@pytest.mark.parametrize("name", recipes.BUILTIN)
def test_built_in_recipes_fit_the_steps(name: str) -> None:
    recipe = builtin(name)
    assert recipe.name == name
    settings = effective(recipe, STEPS, KEYWORDS)
    assert set(settings) == set(STEPS)


def test_optimal_is_the_steps_defaults() -> None:
    settings = effective(builtin("optimal"), STEPS, KEYWORDS)
    defaults = {
        name: StepSettings(options=step.options_type(), skip=step.off) for name, step in STEPS.items()
    }
    assert settings == defaults
    assert merged(builtin("optimal")).crds_parameters is False


@pytest.mark.parametrize(
    ("exp_type", "subarray", "cleaned"),
    [("NRC_IMAGE", "FULL", True), ("NRC_IMAGE", "SUB320", False), ("NRC_WFSS", "FULL", False),
     ("MIR_IMAGE", "FULL", False)],
)  # fmt: skip
def test_optimal_cleans_rates_of_full_frame_images_only(exp_type, subarray, cleaned) -> None:
    keywords = {**KEYWORDS, "EXP_TYPE": exp_type, "SUBARRAY": subarray}
    settings = effective(builtin("optimal"), STEPS, keywords)
    assert settings["clean_flicker_noise_rate"].skip != cleaned
    assert settings["clean_flicker_noise"].skip
    baseline = effective(builtin("baseline"), STEPS, keywords)
    assert baseline["clean_flicker_noise_rate"].skip
    assert baseline["clean_flicker_noise"].skip


def test_baseline_follows_the_context() -> None:
    assert merged(Recipe(base="baseline")).crds_parameters is True


def test_baseline_writes_out_what_defaults_may_change() -> None:
    ours = {"likelihood_threshold_one", "likelihood_threshold_two", "pixmap_tolerance"}
    ours |= {"fit_quality", "fit_diagnostics", "poor_fit_probability"}
    settings = effective(builtin("baseline"), STEPS, KEYWORDS)
    for name, found in settings.items():
        assert set(STEPS[name].options_type.model_fields) - set(found.origins) <= ours, name
