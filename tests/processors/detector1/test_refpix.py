import numpy as np
import pytest

from processors.detector1 import refpix
from schemas.dq import DQ
from schemas.errors import Unprocessable
from tests.processors.detector1.build import make_ramp

FULL = {"SUBARRAY": "FULL", "SUBSTRT1": 1, "SUBSTRT2": 1, "NOUTPUTS": 4}
REF = np.uint32(DQ.REFERENCE_PIXEL)


def full_frame(ngroup=2, seed=0, noise=2.0):
    """Sky, drifts of four amplifiers with odd and even columns, and slow row drifts; and the drifts alone."""
    rng = np.random.default_rng(seed)
    sky = np.zeros((2048, 2048))
    sky[4:-4, 4:-4] = 500
    drift = np.zeros((ngroup, 2048, 2048))
    for g in range(ngroup):
        column = np.repeat(rng.normal(0, 30, 4), 512) + np.where(np.arange(2048) % 2, 5.0, -5.0)
        row = 3 * np.sin(np.arange(2048) / 150 + g)
        drift[g] = column + row[:, None]
    return sky + drift + rng.normal(0, noise, drift.shape), sky


@pytest.fixture(scope="module")
def full():
    return full_frame()


def residual(corrected, sky):
    science = (corrected - sky)[:, 8:-8, 8:-8]
    return (
        science.mean(axis=(1, 2)),
        science[:, :, ::2].mean() - science[:, :, 1::2].mean(),
        science.mean(axis=2),
    )


def test_full_frame_drifts_go(full):
    data, sky = full
    out = refpix(make_ramp(data[None], **FULL))
    level, stripes, rows = residual(out.data[0], sky)
    assert np.abs(level).max() < 0.2
    assert abs(stripes) < 0.2
    assert rows.std() < 0.8  # of 2.1 before; what is left is the noise of 88 reference pixels' median
    before = residual(data, sky)
    assert before[2].std() > 2.0


def test_options_turn_parts_off(full):
    data, sky = full
    ramp = make_ramp(data[None], **FULL)
    assert abs(residual(refpix(ramp, odd_even_columns=False).data[0], sky)[1]) > 9
    assert residual(refpix(ramp, use_side_ref_pixels=False).data[0], sky)[2].std() > 2.0
    np.testing.assert_array_equal(
        refpix(ramp, side_gain=0.0).data, refpix(ramp, use_side_ref_pixels=False).data
    )


def test_a_detector_read_along_its_other_axis_gives_the_transpose(full):
    data, _ = full
    along_x = refpix(make_ramp(data[None, :1], **FULL))
    turned = np.ascontiguousarray(data[None, :1].swapaxes(2, 3))
    along_y = refpix(make_ramp(turned, FASTAXIS=2, SLOWAXIS=-1, **FULL))
    np.testing.assert_array_equal(along_y.data.swapaxes(2, 3), along_x.data)


def test_flagged_and_outlying_reference_pixels_do_not_count(full):
    data, sky = full
    spoilt = data[None, :1].copy()
    pixeldq = np.zeros((2048, 2048), np.uint32)
    spoilt[0, 0, :2, :1000] = 60000
    pixeldq[:2, :1000] = np.uint32(DQ.DO_NOT_USE)
    spoilt[0, 0, 3, 5:1500:50] = 40000  # few enough to be clipped
    level, stripes, _ = residual(refpix(make_ramp(spoilt, pixeldq=pixeldq, **FULL)).data[0], sky)
    assert np.abs(level).max() < 0.3
    assert abs(stripes) < 0.3


def test_not_finite_reference_pixels_do_not_count(full):
    data, _ = full
    spoilt = data[None, :1].copy()
    spoilt[0, 0, 0, ::7] = np.nan
    assert np.isfinite(refpix(make_ramp(spoilt, **FULL)).data[0, 0, 4:-4]).all()


def corner(odd=7.0, even=-3.0, nint=2):
    """A subarray in a corner read by one amplifier: its reference pixels are at its left and bottom."""
    rng = np.random.default_rng(4)
    data = rng.normal(100, 1, (nint, 3, 32, 40))
    data[..., 0::2] += even
    data[..., 1::2] += odd
    pixeldq = np.zeros((32, 40), np.uint32)
    pixeldq[:4] |= REF
    pixeldq[:, :4] |= REF
    return data, pixeldq


def test_one_amplifier():
    data, pixeldq = corner()
    out = refpix(make_ramp(data, pixeldq=pixeldq, SUBSTRT1=1, SUBSTRT2=1))
    assert np.abs(out.data.mean(axis=(2, 3))).max() < 0.3
    assert abs(out.data[..., ::2].mean() - out.data[..., 1::2].mean()) < 0.2
    together = refpix(make_ramp(data, pixeldq=pixeldq, SUBSTRT1=1, SUBSTRT2=1), odd_even_columns=False)
    assert together.data[..., 1::2].mean() - together.data[..., ::2].mean() == pytest.approx(10, abs=0.2)


def test_zero_frame_is_corrected_and_its_zeros_stay():
    data, pixeldq = corner()
    zero = data[:, 0].copy()
    zero[:, 20, 20] = 0
    out = refpix(make_ramp(data, pixeldq=pixeldq, zeroframe=zero, SUBSTRT1=1, SUBSTRT2=1))
    assert (out.zeroframe[:, 20, 20] == 0).all()
    assert abs(np.median(out.zeroframe)) < 0.3


def test_without_reference_pixels_it_does_not_apply():
    ramp = make_ramp(np.ones((1, 2, 16, 16)))
    out = refpix(ramp)
    record = out.meta.provenance.steps[-1]
    assert (record.outcome, record.reason) == ("not applicable", "the exposure has no good reference pixels")
    assert out.meta.get("S_REFPIX") == "SKIPPED"
    assert out.data is ramp.data


def test_edgeless_nirspec_subarrays_use_their_outermost_rows():
    data = np.full((1, 2, 32, 512), 50.0)
    more = {"SUBARRAY": "SUB32", "INSTRUME": "NIRSPEC", "FASTAXIS": 2, "SLOWAXIS": 1}
    assert (refpix(make_ramp(data, **more)).data == 0).all()


def test_what_cannot_be_treated_is_refused():
    with pytest.raises(Unprocessable, match="does not go with images of 8 rows"):
        refpix(make_ramp(np.ones((1, 2, 8, 8)), READPATT="NRSIRS2"))
    with pytest.raises(Unprocessable, match="do not lie on a detector"):
        refpix(make_ramp(np.ones((1, 2, 8, 8)), SUBSTRT1=2045))
