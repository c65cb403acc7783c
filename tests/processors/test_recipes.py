"""What recipes mean: order of layers, origins, checks with suggestions, round trips."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import processors.recipes as recipes
from processors.options import Options, option
from processors.recipes import applies, builtin, command_line, effective, explain, merged, parse_set
from processors.registry import STEPS
from processors.steps import Step, StepSettings, step
from schemas.canonical import canonical_json
from schemas.errors import UsageError
from schemas.recipe import Override, Recipe, parse_recipe


class FirstOptions(Options):
    threshold: float = option(4.0, gt=0, unit="sigma", doc="what counts")
    method: Literal["best", "two_point"] = option("best", doc="how")
    widths: tuple[int, ...] = option((1, 2), unit="pixel", doc="where")


class SecondOptions(Options):
    flag: bool = option(True, doc="whether")


class LabOptions(Options):
    speed: int = option(1, ge=1, doc="the lab's own")


@step(options=FirstOptions, references=("gain", "readnoise"), status="S_FIRST")
def first(product: Any, references: Any, options: FirstOptions) -> Any:
    return product


@step(options=SecondOptions)
def second(product: Any, references: Any, options: SecondOptions) -> Any:
    return product


@step(options=LabOptions, references=("flat",))
def lab_step(product: Any, references: Any, options: LabOptions) -> Any:
    return product


def lab_function(product: Any, references: Any, options: FirstOptions) -> Any:
    return product


TOY = {"first": first, "second": second}
KEYWORDS = {"INSTRUME": "NIRCAM", "DETECTOR": "NRCA1", "FILTER": "F200W", "NGROUPS": 10, "BKGDTARG": False}


def settle(steps: dict | None = None, *, set_: dict | None = None, crds: dict | None = None, **fields: Any):
    recipe = Recipe(steps=steps or {}, **fields)
    return effective(
        recipe, TOY, KEYWORDS, crds_parameters=crds, command_line=set_, resolve=fields.pop("resolve", None)
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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5.5e-1", -0.55),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("none", "none"),
        ("yes", "yes"),
        ("two_point", "two_point"),
        ("[1, 2.5, a]", [1, 2.5, "a"]),
        ("'5'", "5"),
        ("2023-01-01", "2023-01-01"),
        ("a=b", "a=b"),
        ("s3://bucket/file: x", "s3://bucket/file: x"),
    ],
)
def test_values_of_the_command_line(text: str, value: Any) -> None:
    parsed = parse_set(f"first.threshold={text}")["first"]["threshold"]
    assert (parsed, type(parsed)) == (value, type(value))


def test_paths_stay_text() -> None:
    assert parse_set("jump.override_gain=123") == {"jump": {"override_gain": "123"}}
    assert parse_set(" jump.use = my_lab.ramps:fit ") == {"jump": {"use": "my_lab.ramps:fit"}}


@pytest.mark.parametrize(
    "text", ["", "jump", "jump=3", "jump.a", "jump.a=", "a.b.c=3", ".a=3", "jump.=3", "jump.a=[1"]
)
def test_settings_that_cannot_be_understood(text: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        parse_set(text)


@given(st.text(max_size=40))
def test_any_setting_is_an_entry_or_a_sentence(text: str) -> None:
    try:
        table = parse_set(text)
    except UsageError:
        return
    ((name, parameters),) = table.items()
    (parameter,) = parameters
    assert text.partition("=")[0].replace(" ", "") == f"{name}.{parameter}"


def test_the_later_of_two_settings_wins() -> None:
    table = command_line(["a.x=1", "a.y=2", "b.x=3", "a.x=4"])
    assert table == {"a": {"x": 4, "y": 2}, "b": {"x": 3}}


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "threshold": st.floats(1e-6, 1e6) | st.integers(1, 1000),
        "method": st.sampled_from(["best", "two_point"]),
        "widths": st.lists(st.integers(0, 9), max_size=3),
        "skip": st.booleans(),
        "override_gain": st.text("abc/._-: #'\"", min_size=1).filter(str.strip),
    },
)
RECIPES = st.builds(
    Recipe,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    base=st.sampled_from([None, "optimal"]),
    crds_context=st.none() | st.integers(0, 9999).map(lambda n: f"jwst_{n:04d}.pmap"),
    crds_parameters=st.none() | st.booleans(),
    publish_ramp=st.booleans(),
    steps=st.fixed_dictionaries({}, optional={"first": VALUES}),
    overrides=st.lists(
        st.builds(
            Override,
            when=st.fixed_dictionaries(
                {}, optional={"filter": st.sampled_from(["F200W", "F090W", "no", "1e5"])}
            ),
            steps=st.fixed_dictionaries({}, optional={"first": VALUES}),
        ),
        max_size=2,
    ).map(tuple),
)


@given(recipe=RECIPES)
def test_round_trip_through_yaml(recipe: Recipe) -> None:
    again = parse_recipe(recipe.to_yaml(), "there")
    assert again.digest == recipe.digest
    assert effective(again, TOY, KEYWORDS) == effective(recipe, TOY, KEYWORDS)
    assert again.to_yaml() == recipe.to_yaml()


@given(recipe=RECIPES, name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True))
def test_the_name_changes_nothing(recipe: Recipe, name: str) -> None:
    one = effective(recipe, TOY, KEYWORDS)
    other = effective(recipe.model_copy(update={"name": name}), TOY, KEYWORDS)
    assert one == other
    assert all(
        canonical_json(one[step].options.model_dump()) == canonical_json(other[step].options.model_dump())
        for step in TOY
    )


@given(recipe=RECIPES)
def test_merged_means_the_same(recipe: Recipe) -> None:
    whole = merged(recipe)
    assert whole.base is None
    assert effective(whole, TOY, KEYWORDS) == effective(recipe, TOY, KEYWORDS)


def test_equal_values_written_differently_are_one_value() -> None:
    one = settle({"first": {"threshold": 4, "widths": [1, 2]}})["first"].options
    other = settle({"first": {"threshold": 4.0, "widths": (1, 2)}})["first"].options
    assert canonical_json(one.model_dump()) == canonical_json(other.model_dump())


def test_explanation() -> None:
    resolve = {"lab": lab_step}.__getitem__
    recipe = Recipe(
        steps={"first": {"threshold": 5, "override_gain": "/g"}, "second": {"use": "lab", "skip": True}}
    )
    settings = effective(recipe, TOY, KEYWORDS, resolve=resolve)
    rows = [(r.step, r.parameter, r.value, r.unit, r.origin) for r in explain(settings, TOY)]
    assert rows == [
        ("first", "override_gain", "/g", "", "recipe"),
        ("first", "threshold", 5.0, "sigma", "recipe"),
        ("first", "method", "best", "", "default"),
        ("first", "widths", (1, 2), "pixel", "default"),
        ("second", "use", f"{__name__}:lab_step", "", "recipe"),
        ("second", "skip", True, "", "recipe"),
        ("second", "speed", 1, "", "default"),
    ]
    assert all(row.doc for row in explain(settings, TOY))


@pytest.mark.parametrize("name", recipes.BUILTIN)
def test_built_in_recipes_fit_the_steps(name: str) -> None:
    from processors.registry import STEPS

    recipe = builtin(name)
    assert recipe.name == name
    settings = effective(recipe, STEPS, KEYWORDS)
    assert set(settings) == set(STEPS)


def test_optimal_is_the_steps_defaults() -> None:
    from processors.registry import STEPS

    settings = effective(builtin("optimal"), STEPS, KEYWORDS)
    assert all(found == StepSettings(options=STEPS[name].options_type()) for name, found in settings.items())
    assert merged(builtin("optimal")).crds_parameters is False


def test_baseline_follows_the_context() -> None:
    assert merged(Recipe(base="baseline")).crds_parameters is True


def test_baseline_writes_out_what_defaults_may_change() -> None:
    from processors.registry import STEPS

    ours = {"likelihood_threshold_one", "likelihood_threshold_two", "fit_quality", "pixmap_tolerance"}
    settings = effective(builtin("baseline"), STEPS, KEYWORDS)
    for name, found in settings.items():
        assert set(STEPS[name].options_type.model_fields) - set(found.origins) <= ours, name
