"""What holds for all steps from raw to rate: inputs stay, blocks and threads change nothing."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.detector1 import DETECTOR1_MIRI, DETECTOR1_NIR
from processors.pipelines import Pipeline
from processors.ramp_fit import RAMP_FIT, Average, average_integrations
from processors.steps import StepSettings
from schemas.products import Ramp, concatenate
from schemas.writing import ProductWriter, write
from tests.processors.detector1.build import MIRI, everything, raw_ramp

SHAPE = (5, 6, 24, 32)
STEPS = (*DETECTOR1_NIR.steps, *RAMP_FIT.steps)
ROAD = Pipeline("road", STEPS)
MIRI_ROAD = Pipeline("road", (*DETECTOR1_MIRI.steps, *RAMP_FIT.steps))
REFERENCES = everything(SHAPE[2:])


def contents(product):
    return {name: array.tobytes() for name, array in product.arrays().items()}


def before(name, seed, nint):
    """The product that a step is given in the pipeline."""
    ramp = raw_ramp((nint, *SHAPE[1:]), seed, hits=0.1)
    zero = ramp.data[:, 0].copy()
    ramp = Ramp(
        meta=ramp.meta.with_primary(FRMDIVSR=2),
        data=ramp.data,
        groupdq=ramp.groupdq,
        pixeldq=ramp.pixeldq,
        zeroframe=zero,
    )
    names = [step.name for step in STEPS]
    first = STEPS[: names.index(name)]
    return Pipeline("before", first)(ramp, REFERENCES)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), nint=st.integers(1, 3))
def test_a_step_leaves_its_input_alone(step, seed, nint):
    product = before(step.name, seed, nint)
    header = product.meta.primary.header().tostring()
    kept = contents(product)
    result = step(product, REFERENCES)
    assert contents(product) == kept
    assert product.meta.primary.header().tostring() == header
    assert not result.donated


def through(ramp, size, how=None, pipeline=ROAD):
    """The rates of all integrations, in blocks of so many, whose arrays are given away."""
    blocks = (cut(ramp, first, first + size) for first in range(0, len(ramp.data), size))
    return list(pipeline.stream(blocks, REFERENCES, how or {}))


def cut(ramp, first, last):
    return Ramp(
        meta=ramp.meta,
        data=ramp.data[first:last].copy(),
        groupdq=ramp.groupdq[first:last].copy(),
        pixeldq=ramp.pixeldq.copy(),
        first_integration=first,
    )


BASELINE = {
    step.name: StepSettings(options=step.options_type(**values))
    for step, values in (
        (s, {"jump": {"method": "two_point"}, "ramp_fit": {"algorithm": "ols"}}.get(s.name)) for s in STEPS
    )
    if values is not None
}


@pytest.mark.parametrize("how", [{}, BASELINE], ids=["optimal", "baseline"])
@pytest.mark.parametrize("pipeline", [ROAD, MIRI_ROAD], ids=["near-infrared", "MIRI"])
def test_blocks_and_threads_change_no_byte(pipeline, how):
    ramp = raw_ramp(SHAPE, hits=0.1)
    if pipeline is MIRI_ROAD:
        ramp = ramp.with_meta(ramp.meta.with_primary(**MIRI, NINTS=SHAPE[0]))
        ramp.data[3, 1:, 10, 10] = 65535  # saturates early, and in one integration only
    whole = pipeline(ramp, REFERENCES, how)
    expected = contents(whole)
    threads = numba.get_num_threads()
    try:
        for count in range(1, min(2, threads) + 1):
            numba.set_num_threads(count)
            for size in (1, 2, 5):
                made = through(ramp, size, how, pipeline)
                assert sum(len(block.data) for block in made) == 5
                assert contents(concatenate(made)) == expected
    finally:
        numba.set_num_threads(threads)


def test_a_call_of_the_pipeline_leaves_its_input_alone():
    ramp = raw_ramp(SHAPE)
    kept = contents(ramp)
    ROAD(ramp, REFERENCES)
    assert contents(ramp) == kept


def test_files_open_with_strict_validation(tmp_path):
    from stdatamodels.jwst import datamodels

    ramp = DETECTOR1_NIR(raw_ramp(SHAPE), REFERENCES)
    ints = RAMP_FIT(ramp, REFERENCES)
    products = {"ramp": ramp, "rateints": ints, "rate": average_integrations(ints, REFERENCES)}
    kinds = {"ramp": datamodels.RampModel, "rateints": datamodels.CubeModel, "rate": datamodels.ImageModel}
    for suffix, product in products.items():
        path = tmp_path / f"test_{suffix}.fits"
        write(product, path)
        with datamodels.open(path, strict_validation=True) as model:
            assert type(model) is kinds[suffix]
            model.validate()
            np.testing.assert_array_equal(model.data, product.data)
            assert model.meta.cal_step.jump == "COMPLETE"
            if suffix != "ramp":
                assert model.meta.cal_step.ramp_fit == "COMPLETE"
                assert model.meta.bunit_data == "DN/s"
                np.testing.assert_array_equal(model.err, product.err)


def test_files_written_by_blocks_are_the_same(tmp_path):
    ramp = raw_ramp(SHAPE)
    digests = set()
    for size in (1, 2, 5):
        blocks = through(ramp, size)
        average = Average(REFERENCES)
        with ProductWriter(tmp_path / f"{size}.fits", blocks[0], 5, filename="a.fits") as writer:
            for block in blocks:
                writer.append(block)
                average.add(block)
            digests.add(
                (writer.finish(blocks[0].meta.provenance), write(average.result(), tmp_path / "rate.fits"))
            )
    assert len(digests) == 1
    assert len({(tmp_path / f"{size}.fits").read_bytes() for size in (1, 2, 5)}) == 1
