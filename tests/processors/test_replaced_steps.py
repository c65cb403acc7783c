"""Functions of the user's in place of built-in steps: what they get wrong is one sentence that names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from processors.registry import STEPS
from processors.replaced import check
from processors.steps import NotApplicable, StepSettings, replacement
from schemas.errors import Retriable, Unprocessable
from schemas.products import Product, Rate
from tests.processors.examples import REFERENCES, road

pytestmark = pytest.mark.filterwarnings("ignore:Kernel")


@lru_cache(maxsize=1)
def inputs() -> dict[str, Product]:
    return road()


def run(name: str, function: Callable[..., Any], **fields: Any) -> Any:
    use = replace(replacement(STEPS[name], function, "my_lab:it"), **fields)
    return STEPS[name].run(inputs()[name], REFERENCES, StepSettings(use=use))[0]


def failing(error: BaseException) -> Callable[..., Any]:
    def boom(product: Any, references: Any, options: Any) -> Any:
        raise error

    return boom


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("bad\n  value"), "ValueError: bad value"),
        (KeyError("gain"), "KeyError: 'gain'"),
        (AssertionError(), "AssertionError"),
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit(), "GeneratorExit"),
    ],
)
def test_what_it_raises_is_told_in_one_line(error: BaseException, said: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        run("linearity", failing(error))
    function = f"{__name__}:failing.<locals>.boom"
    assert str(caught.value) == (
        f"step linearity: {function} raised {said}; mend it or take it out of the recipe"
    )
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__cause__ is error  # --debug shows it


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Retriable("step linearity: the disk is full")])
def test_what_has_a_meaning_of_its_own_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        run("linearity", failing(error))
    assert str(caught.value) == str(error)


def test_failures_of_built_in_steps_are_not_dressed_up() -> None:
    broken = replace(STEPS["linearity"], function=failing(ValueError("ours")))
    with pytest.raises(ValueError, match=r"^ours$"):
        broken.run(inputs()["linearity"], REFERENCES, StepSettings())


def cut(product: Any, *_: Any) -> Any:
    return replace(product, data=product.data[..., 1:])


def rows_of_dq(ramp: Any, references: Any, options: Any) -> Any:
    rate = STEPS["ramp_fit"](ramp, references, options)
    return replace(rate, dq=rate.dq[0])


@pytest.mark.parametrize(
    ("name", "function", "said"),
    [
        ("linearity", lambda *_: None, "returned None where a Ramp is needed"),
        ("linearity", lambda product, *_: product.data, "returned a ndarray where a Ramp is needed"),
        ("ramp_fit", lambda product, *_: product, "returned a Ramp where a Rate is needed"),
        ("source_catalog", lambda product, *_: product, "returned a Resampled where a Detections is needed"),
        ("linearity", cut, r"data of shape \(4, 6, 48, 63\) where \(4, 6, 48, 64\) is needed"),
        ("flat_field", cut, r"data of shape \(48, 63\) where \(48, 64\) is needed"),
        ("ramp_fit", rows_of_dq, r"dq of shape \(48, 64\) where \(4, 48, 64\) is needed"),
    ],
)
def test_what_it_returns_is_looked_at(name: str, function: Callable[..., Any], said: str) -> None:
    with pytest.raises(Unprocessable, match=f"^step {name}: .*{said}; mend it or take it out") as caught:
        run(name, function)
    assert "\n" not in str(caught.value)


def test_a_step_that_makes_another_kind_cannot_be_left_undone() -> None:
    with pytest.raises(Unprocessable, match="returned a Ramp where a Rate is needed"):
        run("ramp_fit", failing(NotApplicable("nothing to fit")))
    left = run("linearity", failing(NotApplicable("linear already")))
    assert left.meta.provenance.steps[-1].reason == "linear already"


def test_a_carry_is_asked_for() -> None:
    with pytest.raises(Unprocessable, match="where the product and its carry are needed"):
        run("linearity", lambda product, *_: product, carries=dict)
    assert run("linearity", lambda product, *rest: (product, rest[-1]), carries=dict) is not None


@pytest.mark.parametrize("name", STEPS)
def test_what_built_in_steps_make_is_accepted_from_others_too(name: str) -> None:
    made = STEPS[name](inputs()[name], REFERENCES)
    check(made, inputs()[name], STEPS[name], "my_lab:same")
    assert isinstance(made, Product)
    with pytest.raises(Unprocessable, match=f"where a {type(made).__name__} is needed"):
        check(Product(meta=made.meta), inputs()[name], STEPS[name], "my_lab:same")


def test_a_step_around_the_built_in_one_leaves_both_records() -> None:
    def around(rate: Any, references: Any, options: Any) -> Rate:
        made = STEPS["flat_field"](rate, references, options)
        return replace(made, data=made.data * np.float32(2))

    made = run("flat_field", around)
    records = [r.implementation for r in made.meta.provenance.steps if r.step == "flat_field"]
    assert records == [STEPS["flat_field"].implementation, f"{__name__}:{around.__qualname__}"]
