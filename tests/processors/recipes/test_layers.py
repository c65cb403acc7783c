"""Which layer of settings wins: order, origins, conditions, mistakes, replaced steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import processors.recipes as recipes
from processors.recipes import applies, effective, merged
from processors.registry import STEPS
from processors.steps import Step, StepSettings
from schemas.errors import UsageError
from schemas.recipe import Override, Recipe
from tests.processors.recipes.toy import (
    KEYWORDS,
    TOY,
    FirstOptions,
    LabOptions,
    SecondOptions,
    lab_function,
    lab_step,
    settle,
)


def test_defaults_have_no_origins() -> None:
    assert settle() == {
        "first": StepSettings(options=FirstOptions()),
        "second": StepSettings(options=SecondOptions()),
    }


LAYERS = ("CRDS parameter reference", "recipe", "override", "command line")


@given(values=st.dictionaries(st.sampled_from(LAYERS), st.floats(0.1, 100.0)))
def test_the_strongest_layer_that_speaks_wins(values: dict[str, float]) -> None:
    tables = {origin: {"first": {"threshold": value}} for origin, value in values.items()}
    override = Override(when={"detector": "NRCA1"}, steps=tables.get("override", {}))
    found = settle(
        tables.get("recipe"),
        overrides=(override,),
        crds=tables.get("CRDS parameter reference"),
        crds_parameters=True,
        set_=tables.get("command line"),
    )["first"]
    strongest = max(values, key=LAYERS.index, default=None)
    assert found.options == FirstOptions(threshold=values.get(strongest, 4.0))
    assert found.origins == ({} if strongest is None else {"threshold": strongest})


def test_layers_mix_by_parameter() -> None:
    found = settle(
        {"first": {"threshold": 5}, "second": {"flag": False}},
        crds={"first": {"method": "two_point", "threshold": 9.0}},
        crds_parameters=True,
        set_={"first": {"widths": [3]}},
    )
    assert found["first"].options == FirstOptions(threshold=5, method="two_point", widths=(3,))
    assert found["first"].origins == {"threshold": "recipe", "method": LAYERS[0], "widths": "command line"}
    assert found["second"].options == SecondOptions(flag=False)


def test_the_context_counts_only_when_the_recipe_says_so() -> None:
    crds = {"first": {"threshold": 9.0}}
    assert settle(crds=crds)["first"].options == FirstOptions()
    assert settle(crds=crds, crds_parameters=False, base="baseline")["first"].options == FirstOptions()
    assert settle(crds=crds, base="baseline")["first"].options == FirstOptions(threshold=9)
    assert settle(crds=crds, base="optimal")["first"].options == FirstOptions()


def test_entries_that_are_unknown_here_are_listed_and_do_no_harm() -> None:
    crds = {
        "first": {
            "threshold": -3.0,
            "method": "TWO_POINT",
            "maximum_cores": "none",
            "pre_hooks": [],
            "new": 1,
        },
        "second": {"flag": "perhaps"},
        "third": {"anything": 1},
    }
    assert settle(crds=crds, crds_parameters=True)["first"].options == FirstOptions(method="two_point")
    assert recipes.unknown_crds_parameters(TOY, crds) == {
        "first": {"threshold": -3.0, "new": 1},
        "second": {"flag": "perhaps"},
    }


def test_base_lies_below_the_context_and_the_recipe_above(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Recipe(
        name="baseline",
        crds_parameters=True,
        steps={"first": {"threshold": 1, "method": "two_point"}},
        overrides=(Override(when={"detector": "NRCA1"}, steps={"first": {"threshold": 2, "widths": [9]}}),),
    )
    monkeypatch.setattr(recipes.layers, "builtin", lambda name: base)
    recipe = Recipe(base="baseline", steps={"first": {"widths": [7]}})
    found = effective(recipe, TOY, KEYWORDS, crds_parameters={"first": {"threshold": 3}})["first"]
    assert found.options == FirstOptions(threshold=3, method="two_point", widths=(7,))
    whole = merged(recipe)
    assert whole.base is None
    assert whole.crds_parameters is True
    plain = effective(whole, TOY, KEYWORDS)["first"]
    assert plain.options == FirstOptions(threshold=2, method="two_point", widths=(7,))
    elsewhere = effective(whole, TOY, {"DETECTOR": "NRCB1"})["first"]
    assert elsewhere.options == FirstOptions(threshold=1, method="two_point", widths=(7,))


def test_later_overrides_win() -> None:
    overrides = [
        Override(when={"detector": "nrca1"}, steps={"first": {"threshold": 5, "widths": [5]}}),
        Override(when={"filter": "F200W"}, steps={"first": {"threshold": 6}}),
        Override(when={"detector": "NRCB1"}, steps={"first": {"threshold": 7}}),
    ]
    found = settle(overrides=overrides)["first"]
    assert found.options == FirstOptions(threshold=6, widths=(5,))


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({}, True),
        ({"instrument": "nircam"}, True),
        ({"INSTRUME": "NIRCAM"}, True),
        ({"Detector": ("NRCB1", "nrca1")}, True),
        ({"detector": "NRCB1"}, False),
        ({"detector": "NRCA1", "filter": "F090W"}, False),
        ({"ngroups": "10"}, True),
        ({"ngroups": "10.0"}, True),
        ({"ngroups": "1"}, False),
        ({"bkgdtarg": "false"}, True),
        ({"bkgdtarg": "T"}, False),
        ({"grating": "G140H"}, False),
    ],
)
def test_conditions(when: dict, holds: bool) -> None:
    assert applies(when, KEYWORDS) is holds


def test_a_keyword_of_the_file_is_a_condition_too() -> None:
    assert applies({"MYKEY": "1"}, {"MYKEY": 1})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"steps": {"frist": {}}}, "no step 'frist'; did you mean 'first'"),
        ({"steps": {"first": {"treshold": 1}}}, "no parameter 'treshold'; did you mean 'threshold'"),
        ({"steps": {"first": {"threshold": -1}}}, r"first\.threshold = -1"),
        ({"steps": {"first": {"threshold": "many"}}}, r"first\.threshold = 'many'"),
        ({"steps": {"first": {"threshold": float("nan")}}}, r"first\.threshold"),
        ({"steps": {"first": {"skip": "please"}}}, r"first\.skip = 'please'.*true or false"),
        ({"steps": {"first": {"override_gian": "/a"}}}, "'gian' reference; did you mean 'gain'"),
        ({"steps": {"first": {"override_gain": 3}}}, "path of a file"),
        ({"steps": {"second": {"override_gain": "/a"}}}, "uses no reference files"),
        ({"steps": {"first": {"use": "my_lab:fit"}}}, "cannot be replaced here"),
        ({"steps": {"first": {"use": 3}}}, r"package\.module:function"),
        ({"base": "basline"}, "'basline'; did you mean 'baseline'"),
        ({"overrides": [{"when": {"detecter": "NRCA1"}}]}, "'detecter'.*did you mean 'detector'"),
        ({"overrides": [{"when": {"qqq": "NRCA1"}}]}, "'qqq'.*choose from instrument"),
        ({"overrides": [{"when": {"detector": "NRCB1"}, "steps": {"frist": {}}}]}, "no step 'frist'"),
        ({"overrides": [{"when": {"detector": "NRCB1"}, "steps": {"first": {"a": 1}}}]}, "no parameter 'a'"),
    ],
)
def test_mistakes_are_sentences(fields: dict, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        effective(Recipe.model_validate(fields), TOY, KEYWORDS)


def test_steps_of_other_stages_may_be_named() -> None:
    recipe = Recipe(steps={"third": {"anything": 1}})
    assert set(effective(recipe, TOY, KEYWORDS, known=["third"])) == {"first", "second"}


def test_skip_and_reference_overrides() -> None:
    found = settle(
        {"first": {"skip": True, "override_gain": "/a.fits"}},
        set_={
            "first": {"override_gain": "/b.fits", "override_readnoise": "/r.fits"},
            "second": {"skip": True},
        },
    )
    assert found["first"].skip
    assert found["first"].overrides == {"gain": "/b.fits", "readnoise": "/r.fits"}
    assert found["first"].origins == {
        "skip": "recipe",
        "override_gain": "command line",
        "override_readnoise": "command line",
    }
    again = settle({"first": {"skip": True}}, set_={"first": {"skip": False}})
    assert not again["first"].skip


def test_a_plain_function_takes_over_with_the_same_options() -> None:
    recipe = Recipe(steps={"first": {"use": "lab", "threshold": 5}})
    found = effective(recipe, TOY, KEYWORDS, resolve={"lab": lab_function}.__getitem__)["first"]
    assert isinstance(found.use, Step)
    assert found.use.function is lab_function
    assert (found.use.name, found.use.references) == ("first", ("gain", "readnoise"))
    assert found.options == FirstOptions(threshold=5)


def test_a_step_of_the_lab_has_its_own_options_and_references(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Recipe(name="baseline", crds_parameters=True, steps={"first": {"method": "two_point"}})
    monkeypatch.setattr(recipes.layers, "builtin", lambda name: base)
    resolve = {"lab": lab_step}.__getitem__
    settings = {"use": "lab", "speed": 7, "override_flat": "/f.fits"}
    recipe = Recipe(base="baseline", steps={"first": settings})
    crds = {"first": {"threshold": 3}}
    found = effective(recipe, TOY, KEYWORDS, crds_parameters=crds, resolve=resolve)["first"]
    assert found.options == LabOptions(speed=7)
    assert found.overrides == {"flat": "/f.fits"}
    assert found.use is not None
    assert (found.use.name, found.use.status) == ("first", "S_FIRST")
    for wrong, sentence in [({"threshold": 5}, "'threshold'"), ({"override_gain": "/a"}, "'gain'")]:
        recipe = Recipe(base="baseline", steps={"first": {"use": "lab", **wrong}})
        with pytest.raises(UsageError, match=sentence):
            effective(recipe, TOY, KEYWORDS, resolve=resolve)


@pytest.mark.parametrize(("name", "reftype"), [(s.name, t) for s in STEPS.values() for t in s.wanted])
def test_every_reference_that_a_step_takes_can_be_overridden(name: str, reftype: str) -> None:
    table = {name: {f"override_{reftype}": "/mine.fits"}}
    assert effective(Recipe(), STEPS, KEYWORDS, command_line=table)[name].overrides == {reftype: "/mine.fits"}


def test_null_puts_the_built_in_step_back() -> None:
    recipe = Recipe(steps={"first": {"use": "lab", "threshold": 5}})
    found = effective(recipe, TOY, KEYWORDS, command_line={"first": {"use": None}})["first"]
    assert found.use is None
    assert found.options == FirstOptions(threshold=5)
