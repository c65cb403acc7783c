"""Where a rule begins and ends: limits that are met exactly, pixels beside the ones that count."""

import numpy as np

from processors.detector1 import refpix, saturation
from schemas.dq import DQ
from tests.processors.detector1.build import image, make_ramp, references

FULL = {"SUBARRAY": "FULL", "SUBSTRT1": 1, "SUBSTRT2": 1, "NOUTPUTS": 4}


def test_a_sample_at_the_saturation_limit_is_saturated():
    limit = np.full((4, 6), 50000.0)
    data = np.full((1, 3, 4, 6), 49999.0)
    data[0, 1:, 2, 3] = 50000.0
    given = references(image("saturation", limit), image("superbias", np.zeros((4, 6))))
    out = saturation(make_ramp(data), given, n_pix_grow_sat=0)
    flagged = out.groupdq & np.uint8(DQ.SATURATED) != 0
    assert set(zip(*np.nonzero(flagged), strict=True)) == {(0, 1, 2, 3), (0, 2, 2, 3)}


def test_of_a_full_frame_only_the_four_outermost_rows_and_columns_are_reference_pixels():
    """Whatever light there is beside them, they say the same; so little of it that none would be clipped."""
    rng = np.random.default_rng(3)
    dark = rng.normal(1000, 5, (1, 1, 2048, 2048)).astype(np.float32)
    light = np.zeros_like(dark)
    light[..., 4:-4, 4:-4] = rng.uniform(0, 20, (1, 1, 2040, 2040))
    correction = [(lit - refpix(make_ramp(lit, **FULL)).data) for lit in (dark, dark + light)]
    assert np.ptp(correction[0]) > 0.1
    np.testing.assert_allclose(correction[1], correction[0], atol=0.01)


def test_of_a_full_frame_every_reference_pixel_counts():
    """A drift that only the innermost of them see is still seen."""
    flat = np.zeros((1, 1, 2048, 2048), np.float32)
    flat[..., 3, 4:-4] = 8.0
    corrected = refpix(make_ramp(flat, **FULL), use_side_ref_pixels=False, siglimit=100.0).data
    # One of the eight rows has it.
    np.testing.assert_allclose(corrected[0, 0, 100, 4:-4], -1.0, atol=0.02)
