"""What every registered step promises, whatever it computes."""

from __future__ import annotations

import typing
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

import numba
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.options import Options
from processors.pipelines import Pipeline
from processors.registry import STEPS
from processors.steps import StepSettings
from schemas.errors import CalstreamError
from schemas.keywords import REFERENCE_KEYWORD
from schemas.products import Product, concatenate
from tests.processors.examples import BESIDE, REFERENCES, SHAPE, contents, cut, road

EVERY = pytest.mark.parametrize("name", STEPS)
OPTIONS = [(name, option) for name, step in STEPS.items() for option in step.options_type.model_fields]
PLAIN_NUMBERS = {
    "jump.expand_factor",
    "jump.extend_ellipse_expand_ratio", "refpix.side_gain", "resample.pixel_scale_ratio",
    "source_catalog.ci1_star_threshold",
    "source_catalog.ci2_star_threshold", "source_catalog.nlevels", "source_catalog.contrast",
}  # fmt: skip
"""Options that are ratios or numbers of something: they have no unit."""
NO_KEYWORD = {"persistence_history", "average_integrations"}
"""Steps that JWST has as part of another, and no status keyword for."""

pytestmark = pytest.mark.filterwarnings("ignore:Kernel")


@lru_cache(maxsize=16)
def inputs(seed: int = 1, nint: int = SHAPE[0]) -> dict[str, Product]:
    return road(seed, nint)


def choices(kind: type[Options]) -> st.SearchStrategy[Options]:
    """Options of a step: each switch and each word drawn, numbers as they are."""
    drawn = {}
    for name, declared in kind.model_fields.items():
        if declared.annotation is bool:
            drawn[name] = st.booleans()
        elif typing.get_origin(declared.annotation) is typing.Literal:
            drawn[name] = st.sampled_from(typing.get_args(declared.annotation))
    return st.builds(kind, **drawn)


@contextmanager
def threads(count: int):
    before = numba.get_num_threads()
    numba.set_num_threads(min(count, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def alone(name: str, product: Product, options: Options | None = None) -> object:
    """Call a step, and see that its input is as it was; return what is to be seen of the result."""
    kept = contents(product)
    try:
        made = STEPS[name](product, REFERENCES, options)
    except CalstreamError as error:
        unaltered = contents(product) == kept
        assert unaltered, name
        return str(error)
    unaltered = contents(product) == kept  # apart: pytest would spend minutes on the difference of two arrays
    assert unaltered, name
    assert not made.donated
    return contents(made)


@EVERY
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_a_step_leaves_its_input_alone_and_gives_the_same_bytes_again(name: str, data: st.DataObject) -> None:
    product = inputs(data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3)))[name]
    options = data.draw(choices(STEPS[name].options_type))
    with threads(1):
        once = alone(name, product, options)
    with threads(2):
        assert alone(name, product, options) == once


@EVERY
def test_the_example_is_processed(name: str) -> None:
    """Else the promises would be kept by doing nothing."""
    product = inputs()[name]
    made = STEPS[name](product, REFERENCES)
    record = made.meta.provenance.steps[-1]
    assert record.step == name
    assert record.outcome == "complete"
    assert contents(made) != contents(product)


def test_steps_that_wrote_into_their_input_would_be_noticed(monkeypatch) -> None:
    """With `edit` giving the input itself, the check above fails for each step that writes to arrays."""
    given = {name: private(product) for name, product in inputs().items()}
    monkeypatch.setattr(Product, "edit", lambda self, *names: self)
    noticed = set()
    for name, product in given.items():
        try:
            alone(name, product)
        except AssertionError:
            noticed.add(name)
    assert noticed >= WRITING


WRITING = {
    "dark_current", "dq_init", "emicorr", "flat_field", "gain_scale", "jump", "lastframe", "linearity",
    "photom", "refpix", "reset", "rscd", "saturation", "superbias",
}  # fmt: skip
"""Steps that write to arrays of an edited product."""


def private(product: Product) -> Product:
    return replace(product, **{name: array.copy() for name, array in product.arrays().items()})


BY_INTEGRATION = [name for name, step in STEPS.items() if step.scope_with(None) != "exposure"]


def integrations(name: str) -> Product:
    """What a step is given with all integrations in it: behind the average, the example is a single image."""
    given = inputs()
    product = given[name]
    if product.data.ndim > 2:
        return product
    product = given["average_integrations"]
    names = list(STEPS)
    after = names[names.index("average_integrations") + 1 : names.index(name)]
    between = [STEPS[n] for n in after if n not in BESIDE]
    return Pipeline("between", tuple(between))(product, REFERENCES)


@pytest.mark.parametrize("name", BY_INTEGRATION)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_any_division_into_blocks_gives_the_same_bytes(name: str, data: st.DataObject) -> None:
    step, product = STEPS[name], integrations(name)
    options = data.draw(choices(step.options_type))
    if step.scope_with(options) == "exposure":
        return
    how = {name: StepSettings(options=options)}
    alone_step = Pipeline("alone", (step,))
    cuts = data.draw(st.sets(st.integers(1, SHAPE[0] - 1)))
    edges = [0, *sorted(cuts), SHAPE[0]]
    blocks = [cut(product, first, last) for first, last in pairwise(edges)]
    made = list(alone_step.stream(blocks, REFERENCES, how))
    if step.together_with(options, SHAPE[1]) == 1:
        assert len(made) == len(blocks)
    whole = contents(alone_step(product, REFERENCES, how))
    joined = contents(concatenate(made))
    assert joined == whole


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=lambda value: value)
def test_an_option_says_what_it_is(name: str, option: str) -> None:
    declared = STEPS[name].options_type.model_fields[option]
    assert len((declared.description or "").split()) >= 3
    assert (declared.description or "").count("\n") == 0
    kinds = set(typing.get_args(declared.annotation)) or {declared.annotation}
    if not kinds & {int, float} or bool in kinds:
        return
    unit = (declared.json_schema_extra or {}).get("unit", "")
    assert bool(unit) != (f"{name}.{option}" in PLAIN_NUMBERS)
    bounded = any(hasattr(item, bound) for item in declared.metadata for bound in ("gt", "ge", "lt", "le"))
    assert bounded or unit == "degree"  # angles go round


@EVERY
def test_defaults_are_valid(name: str) -> None:
    kind = STEPS[name].options_type
    assert kind(**kind().model_dump()) == kind()
    assert kind.model_config["frozen"]
    assert kind.model_config["extra"] == "forbid"


@EVERY
def test_a_step_says_what_it_does(name: str) -> None:
    text = STEPS[name].__doc__
    first = text.strip().splitlines()[0]
    assert first.endswith(".")
    for section in ("Parameters", "Returns"):
        assert f"{section}\n    {'-' * len(section)}" in text, section
    for reftype in STEPS[name].wanted:
        assert f"``{reftype}``" in text, reftype


def keywords_of_steps() -> set[str]:
    """Status keywords that JWST's data models know."""
    schema = files("stdatamodels.jwst.datamodels") / "schemas/core.schema.yaml"
    found = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if str(node.get("fits_keyword", "")).startswith("S_"):
                found.add(node["fits_keyword"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(yaml.safe_load(schema.read_text()))
    return found


def test_status_keywords_are_those_of_jwst() -> None:
    known = keywords_of_steps()
    assert len(known) > 40
    status = {name: step.status for name, step in STEPS.items() if name not in NO_KEYWORD}
    assert {name: keyword for name, keyword in status.items() if keyword not in known} == {}
    # groups and rates are cleaned by two steps, of which an exposure has one, as with the standard pipeline
    assert status.pop("clean_flicker_noise_rate") == status["clean_flicker_noise"]
    assert len(set(status.values())) == len(status)


@EVERY
def test_its_status_its_references_and_its_options_are_in_the_product(name: str) -> None:
    step, product = STEPS[name], inputs()[name]
    made = STEPS[name](product, REFERENCES)
    record = made.meta.provenance.steps[-1]
    wanted = {"complete": "COMPLETE", "not applicable": "SKIPPED"}[record.outcome]
    if step.status:
        assert made.meta.get(step.status) == wanted
    if record.outcome == "not applicable":
        assert record.reason
        return
    assert record.options == step.options_type().model_dump()
    assert set(record.references) == set(step.wanted) & set(REFERENCES)
    for reftype in step.wanted:
        assert made.meta.get(REFERENCE_KEYWORD[reftype]) == f"crds://{REFERENCES[reftype].name}"


@EVERY
def test_a_missing_reference_is_an_error_that_names_it(name: str) -> None:
    step, product = STEPS[name], inputs()[name]
    for reftype in step.references:
        others = type(REFERENCES)({t: REFERENCES[t] for t in step.wanted if t != reftype})
        with pytest.raises(CalstreamError, match=reftype):
            step(product, others)


def test_the_registry_calls_steps_by_their_names() -> None:
    assert all(name == step.name for name, step in STEPS.items())
