"""The same recipe, however it is written: YAML, name, merged base, equal values; and its explanation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processors.recipes import effective, explain, merged
from processors.registry import STEPS
from schemas.canonical import canonical_json
from schemas.recipe import Override, Recipe, parse_recipe
from tests.processors.recipes.toy import KEYWORDS, TOY, lab_step, settle

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
    # The built-in recipes have parameters of the real steps.
    assert effective(whole, TOY, KEYWORDS, known=STEPS) == effective(recipe, TOY, KEYWORDS, known=STEPS)


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
        ("second", "use", lab_step.implementation, "", "recipe"),
        ("second", "skip", True, "", "recipe"),
        ("second", "speed", 1, "", "default"),
    ]
    assert all(row.doc for row in explain(settings, TOY))
