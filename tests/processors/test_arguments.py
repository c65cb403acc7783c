"""What a caller may give to a step or a pipeline, and the sentence for what he may not."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from processors.image2 import IMAGE2, flat_field, photom
from processors.image2.photom import PhotomOptions
from processors.options import Options, option
from processors.pipelines import Pipeline
from processors.registry import STEPS
from processors.steps import StepSettings, step
from schemas.errors import UsageError
from schemas.products import Ramp, Rate
from schemas.references import References
from tests.processors.image2 import scenes

SHAPE = (16, 16)
RATE = scenes.rate(np.ones(SHAPE))
REFERENCES = scenes.references(SHAPE)


class ScaleOptions(Options):
    """Two numbers."""

    factor: float = option(2.0, gt=0, doc="what to multiply by")
    offset: float = option(0.0, doc="what to add")


@step(options=ScaleOptions)
def scale(product, references, options):
    """Scale anything."""
    out = product.edit("data")
    out.data[...] = out.data * options.factor + options.offset
    return out


def test_single_values_are_laid_over_an_options_object() -> None:
    made = scale(RATE, None, ScaleOptions(factor=3.0, offset=1.0), factor=5.0)
    assert np.all(made.data == 6.0)
    assert made.meta.provenance.steps[-1].options == {"factor": 5.0, "offset": 1.0}
    assert np.all(scale(RATE, None, ScaleOptions(factor=3.0)).data == 3.0)
    with pytest.raises(UsageError, match=r"scale\.factor = -1"):
        scale(RATE, None, ScaleOptions(), factor=-1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"factor": 3.0},
            r"step scale: options are a dict and not its own; give ScaleOptions\(factor=\.\.\.\)",
        ),
        (PhotomOptions(), "step scale: options are a PhotomOptions and not its own"),
    ],
)
def test_options_of_something_else(options: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        scale(RATE, None, options)


def test_a_step_without_options_takes_none() -> None:
    assert flat_field(RATE, REFERENCES, Options()).var_flat is not None
    with pytest.raises(UsageError, match=r"step flat_field: options are a PhotomOptions .* none to give"):
        flat_field(RATE, REFERENCES, PhotomOptions())


@pytest.mark.parametrize("call", [scale, partial(flat_field), IMAGE2])
def test_references_that_are_none(call: Any) -> None:
    with pytest.raises(UsageError, match=r"references are a dict; give References\("):
        call(RATE, {"flat": "a.fits"})


@pytest.mark.parametrize("call", [photom, scale, IMAGE2, Pipeline("lab", (scale,))])
def test_a_path_is_no_product(call: Any, tmp_path: Any) -> None:
    with pytest.raises(UsageError, match=r"not a path; read it first: read\('.*a_rate\.fits'\)"):
        call(tmp_path / "a_rate.fits", REFERENCES)
    with pytest.raises(UsageError, match=r"takes a \w+, and this is a ndarray"):
        call(np.ones(SHAPE), REFERENCES)


def test_products_of_another_kind() -> None:
    with pytest.raises(UsageError, match=r"rate\.fits: step jump takes a Ramp, and this is a Rate"):
        STEPS["jump"](RATE, References())
    flags = {"groupdq": np.zeros((1, 2, *SHAPE), np.uint8), "pixeldq": np.zeros(SHAPE, np.uint32)}
    ramp = Ramp(meta=RATE.meta, data=np.ones((1, 2, *SHAPE), np.float32), **flags)
    with pytest.raises(UsageError, match="step resample takes a ImageSet or Rate, and this is a Ramp"):
        STEPS["resample"](ramp, References())
    with pytest.raises(UsageError, match="pipeline image2 takes a Rate, and this is a Ramp"):
        IMAGE2(ramp, REFERENCES)


def test_functions_of_a_user_are_not_judged_by_what_they_do_not_say() -> None:
    def of_unknown(product: Missing, references: Any, options: Any) -> Any:  # noqa: F821
        return product

    def of_any(product: Any, references: Any, options: Any) -> Any:
        return product

    def of_some(product: Rate | None, references: Any, options: Any) -> Any:
        return product

    for function in (of_unknown, of_any, of_some):
        assert np.all(step()(function)(RATE).data == 1)


def test_settings_for_no_step() -> None:
    with pytest.raises(
        UsageError, match=r"pipeline image2: there is no step 'photm'; did you mean 'photom'\?"
    ):
        IMAGE2(RATE, REFERENCES, {"photm": StepSettings(skip=True)})
    with pytest.raises(UsageError, match="the settings of photom are a dict; give StepSettings"):
        IMAGE2(RATE, REFERENCES, {"photom": {"skip": True}})  # type: ignore[dict-item]
    made = IMAGE2(RATE, REFERENCES, {"photom": StepSettings(skip=True), "jump": StepSettings(skip=True)})
    assert made.meta.get("BUNIT") == "DN/s"


def test_until_no_step() -> None:
    assert [one.name for one in IMAGE2.until("flat_field").steps][-1] == "flat_field"
    with pytest.raises(UsageError, match=r"pipeline image2 has no step 'photomm'; did you mean 'photom'\?"):
        IMAGE2.until("photomm")
