"""A correction that a product has had is not applied to it once more; what may be repeated is."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest

from processors.arguments import accepted
from processors.detector1 import DETECTOR1_NIR
from processors.image2 import IMAGE2
from processors.pipelines import Pipeline
from processors.registry import STEPS
from processors.steps import StepSettings, replacement, step
from schemas.errors import Unprocessable
from schemas.meta import Provenance
from schemas.products import Product
from tests.processors.examples import REFERENCES, road

pytestmark = pytest.mark.filterwarnings("ignore:Kernel")


@lru_cache(maxsize=1)
def inputs() -> dict[str, Product]:
    return road()


@lru_cache(maxsize=1)
def outputs() -> dict[str, Product]:
    return {name: made for name in STEPS if isinstance(made := result(name), accepted(STEPS[name].function))}


def result(name: str) -> Any:
    return STEPS[name](inputs()[name], REFERENCES)


def marked(name: str, value: str = "COMPLETE") -> Product:
    """Return what a step takes, with the status keyword that other software leaves, and no provenance."""
    product = inputs()[name]
    meta = replace(product.meta.with_primary(**{STEPS[name].status: value}), provenance=Provenance())
    return product.with_meta(meta)


CORRECTIONS = (
    "group_scale", "saturation", "superbias", "refpix", "linearity", "dark_current", "gain_scale",
    "flat_field", "photom", "emicorr", "ipc", "reset", "clean_flicker_noise", "persistence",
)  # fmt: skip


@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_correction_is_not_made_twice(name: str) -> None:
    keyword = STEPS[name].status
    with pytest.raises(Unprocessable, match=f"^step {name}: .* has had it already .{keyword} = COMPLETE"):
        STEPS[name](outputs()[name], REFERENCES)


@pytest.mark.parametrize("name", CORRECTIONS)
def test_not_on_products_of_other_software_either(name: str) -> None:
    with pytest.raises(Unprocessable, match=r"skip=true$") as caught:
        STEPS[name](marked(name), REFERENCES)
    assert "\n" not in str(caught.value)
    made = STEPS[name](marked(name, "SKIPPED"), REFERENCES)
    assert made.meta.get(STEPS[name].status) == "COMPLETE"


def test_the_file_is_named() -> None:
    product = marked("flat_field")
    named = product.with_meta(product.meta.with_primary(FILENAME="jw1_nrca1_rate.fits"))
    with pytest.raises(Unprocessable, match=r"^step flat_field: jw1_nrca1_rate\.fits has had it already"):
        STEPS["flat_field"](named, REFERENCES)


def test_where_there_is_no_keyword_the_provenance_tells() -> None:
    bare = replace(STEPS["linearity"], status="")
    ramp = outputs()["linearity"]
    unmarked = ramp.with_meta(ramp.meta.with_primary(S_LINEAR=None))
    with pytest.raises(Unprocessable, match="so says its provenance"):
        bare(unmarked, REFERENCES)


@pytest.mark.parametrize("name", ["dq_init", "jump", "assign_wcs"])
def test_what_flags_or_replaces_may_be_repeated(name: str) -> None:
    again = STEPS[name](outputs()[name], REFERENCES)
    assert [r.outcome for r in again.meta.provenance.steps if r.step == name] == ["complete"] * 2


def test_every_step_whose_result_it_takes_again_is_decided_upon() -> None:
    may = {name for name in outputs() if STEPS[name].repeatable}
    undone = {name for name in outputs() if outputs()[name].meta.provenance.steps[-1].outcome != "complete"}
    assert set(outputs()) - may - undone == set(CORRECTIONS)


def test_a_whole_pipeline_on_its_own_product() -> None:
    ramp = DETECTOR1_NIR(inputs()["group_scale"], REFERENCES)
    with pytest.raises(Unprocessable, match=r"step group_scale: .* has had it already"):
        DETECTOR1_NIR(ramp, REFERENCES)


def test_a_rate_of_other_software_is_calibrated() -> None:
    rate = inputs()["assign_wcs"]
    done = {STEPS[n].status: "COMPLETE" for n in ("dq_init", "saturation", "jump", "ramp_fit", "gain_scale")}
    foreign = rate.with_meta(replace(rate.meta.with_primary(**done), provenance=Provenance()))
    made = IMAGE2(foreign, REFERENCES)
    assert [made.meta.get(STEPS[n].status) for n in ("flat_field", "photom")] == ["COMPLETE"] * 2


def test_left_out_it_is_still_done() -> None:
    """A skipped or not applicable step does not make the header say that its correction is missing."""
    skip = {"flat_field": StepSettings(skip=True)}
    made = Pipeline("one", (STEPS["flat_field"],))(marked("flat_field"), REFERENCES, skip)
    assert made.meta.get("S_FLAT") == "COMPLETE"
    assert made.meta.provenance.steps[-1].outcome == "skipped"
    fresh = Pipeline("one", (STEPS["flat_field"],))(inputs()["flat_field"], REFERENCES, skip)
    assert fresh.meta.get("S_FLAT") == "SKIPPED"


def own(rate: Any, references: Any, options: Any) -> Any:
    return rate


@pytest.mark.parametrize("keyword", ["", "S_LABFLT"])
def test_a_user_s_own_step_says_itself_whether_it_may_be_repeated(keyword: str) -> None:
    once = replacement(STEPS["flat_field"], step(status=keyword)(own), "my_lab:own")
    again = replacement(STEPS["flat_field"], step(status=keyword, repeatable=True)(own), "my_lab:own")
    plain = replacement(STEPS["flat_field"], own, "my_lab:own")
    for use in (once, plain):
        with pytest.raises(Unprocessable, match=r"step flat_field: .* has had it already"):
            STEPS["flat_field"].run(marked("flat_field"), REFERENCES, StepSettings(use=use))
    made, _ = STEPS["flat_field"].run(marked("flat_field"), REFERENCES, StepSettings(use=again))
    assert made.meta.provenance.steps[-1].outcome == "complete"
