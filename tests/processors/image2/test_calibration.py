"""Flat field and photometry: against truth, with NaN and flags, and on bad input."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from processors.image2 import IMAGE2, assign_wcs, flat_field, photom
from schemas.content import content_digest
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.meta import Provenance
from tests.processors.image2 import scenes

SHAPE = (24, 32)
FLAGS = [0, int(DQ.DO_NOT_USE), int(DQ.NO_FLAT_FIELD), int(DQ.HOT)]


def random_rate(seed, bad=0.1):
    rng = np.random.default_rng(seed)
    rate = scenes.rate(rng.normal(5, 1, SHAPE), var_poisson=rng.uniform(0.1, 1, SHAPE), var_rnoise=0.2)
    rate.data[rng.random(SHAPE) < bad] = np.nan
    rate.dq[...] = rng.choice(FLAGS, SHAPE)
    return rate


def flat_reference(seed, err=True):
    rng = np.random.default_rng(seed)
    data = rng.uniform(0.8, 1.2, SHAPE)
    data[0, 0], data[0, 1] = 0, np.nan
    dq = np.zeros(SHAPE, np.uint32)
    dq[1, 1], dq[1, 2], dq[1, 3] = DQ.NO_FLAT_FIELD, DQ.DO_NOT_USE, DQ.UNRELIABLE_FLAT
    return scenes.image_reference("flat", data, np.full(SHAPE, 0.01) if err else None, dq)


def test_flat_field_recovers_truth_and_errors():
    reference = flat_reference(1)
    truth = np.full(SHAPE, 7.0)
    rate = scenes.rate(truth * np.nan_to_num(reference.data), var_poisson=0.5, var_rnoise=0.25)
    made = flat_field(rate, scenes.references(flat=reference))
    good = (made.dq & DQ.DO_NOT_USE) == 0
    flat = reference.data[good]
    assert good.sum() == truth.size - 4
    assert_allclose(made.data[good], 7.0, rtol=1e-6)
    assert_allclose(made.var_poisson[good], 0.5 / flat**2, rtol=1e-6)
    assert_allclose(made.var_flat[good], (7.0 * 0.01 / flat) ** 2, rtol=1e-5)
    assert_allclose(made.err[good] ** 2, (0.75 + 0.0049) / flat**2, rtol=1e-4)


def test_flat_field_errors_are_the_scatter():
    """Noise in data and in the flat, many times over: the total error is what the results scatter by."""
    rng = np.random.default_rng(3)
    flat = scenes.image_reference("flat", np.full((128, 128), 0.9), np.full((128, 128), 0.02))
    measured = 50 * (0.9 + rng.normal(0, 0.02, (128, 128))) + rng.normal(0, np.sqrt(0.75), (128, 128))
    made = flat_field(
        scenes.rate(measured, var_poisson=0.5, var_rnoise=0.25), scenes.references((128, 128), flat=flat)
    )
    assert abs(np.std((made.data - 50) / made.err) - 1) < 0.02


def test_flat_field_flags():
    made = flat_field(scenes.rate(np.ones(SHAPE)), scenes.references(flat=flat_reference(1)))
    unusable = DQ.NO_FLAT_FIELD | DQ.DO_NOT_USE
    assert_array_equal(made.dq[0, :2], [unusable, unusable])
    assert_array_equal(made.dq[1, 1:4], [unusable, DQ.DO_NOT_USE, DQ.UNRELIABLE_FLAT])
    for array in (made.data, made.err, made.var_poisson, made.var_rnoise, made.var_flat):
        assert_array_equal(np.isnan(array), (made.dq & DQ.DO_NOT_USE) != 0)


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0])
def test_a_flat_without_any_value_is_refused(value):
    empty = scenes.image_reference("flat", np.full(SHAPE, value))
    with pytest.raises(
        Unprocessable, match=f"^step flat_field: {empty.name}: none of the 768 values of this "
    ):
        flat_field(scenes.rate(np.ones(SHAPE)), scenes.references(flat=empty))


def test_flat_without_errors():
    made = flat_field(scenes.rate(np.ones(SHAPE)), scenes.references(flat=flat_reference(1, err=False)))
    assert np.nanmax(made.var_flat) == 0


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -0.01])
def test_unknown_error_of_the_flat_keeps_the_science(unknown):
    reference = flat_reference(1)
    reference.err[7, 8] = unknown
    made = flat_field(scenes.rate(np.ones(SHAPE)), scenes.references(flat=reference))
    assert made.dq[7, 8] == 0
    assert made.var_flat[7, 8] == 0
    assert made.data[7, 8] == np.float32(1) / reference.data[7, 8]
    assert_allclose(made.err[7, 8], np.sqrt(0.03) / reference.data[7, 8], rtol=1e-6)
    assert made.var_flat[7, 9] > 0


def test_photom_does_not_convert_twice():
    """Nor what nothing but its unit says to be converted."""
    once = photom(scenes.rate(np.ones(SHAPE)), scenes.references(SHAPE))
    with pytest.raises(Unprocessable, match=r"rate\.fits has had it already .S_PHOTOM = COMPLETE"):
        photom(once, scenes.references(SHAPE))
    unmarked = once.with_meta(replace(once.meta.with_primary(S_PHOTOM=None), provenance=Provenance()))
    with pytest.raises(
        Unprocessable, match=r"rate\.fits: BUNIT = 'MJy/sr' where DN/s is needed; if photom has run"
    ):
        photom(unmarked, scenes.references(SHAPE))


def test_one_nan_stays_one_nan():
    rate = scenes.rate(np.ones(SHAPE))
    rate.data[5, 6] = np.nan
    made = IMAGE2(rate, scenes.references(SHAPE))
    assert np.isnan(made.data).sum() == 1
    assert made.dq[5, 6] == DQ.DO_NOT_USE


def test_every_integration_is_calibrated():
    cube = np.stack([np.full(SHAPE, 2.0), np.full(SHAPE, 3.0)])
    made = IMAGE2(scenes.rate(cube), scenes.references(SHAPE))
    assert_allclose(made.data[:, 3, 3], [0.5, 0.75])
    assert made.var_flat.shape == cube.shape
    assert made.area.shape == SHAPE


def test_photom_scales_data_errors_and_variances():
    rate = scenes.rate(np.full(SHAPE, 8.0), var_poisson=0.5, var_rnoise=0.25)
    made = photom(rate, scenes.references(SHAPE))
    assert_allclose(made.data, 2.0)
    assert_allclose(made.err, 0.25 * np.sqrt(0.75), rtol=1e-6)
    assert_allclose(made.var_poisson + made.var_rnoise, made.err**2, rtol=1e-5)
    assert made.meta.get("BUNIT") == "MJy/sr"
    assert made.meta.get("PHOTMJSR") == 0.25
    # 1 MJy/sr is 1e12 uJy over (180 * 3600 / pi)**2 square arcsec.
    assert_allclose(made.meta.get("PHOTUJA2"), 0.25e12 / (180 * 3600 / np.pi) ** 2, rtol=1e-12)
    assert made.meta.get("PIXAR_SR") == scenes.AREA_SR
    assert_array_equal(made.area, 1)


def test_pixel_area_from_photom_without_an_area_map():
    area = scenes.image_reference("area", np.ones(SHAPE))
    made = photom(scenes.rate(np.ones(SHAPE)), scenes.references(SHAPE, area=area))
    assert made.meta.get("PIXAR_A2") == scenes.AREA_A2


def law(**values):
    return np.array([tuple(values.values())], [(name, "f8") for name in values])


@pytest.mark.parametrize(
    ("tables", "factor"),
    [
        ({"TIMECOEFF_LINEAR": law(t0=59635.1, lossperyear=0.1)}, 1 - 0.1 * 366 / 365),
        (
            {"TIMECOEFF_EXPONENTIAL": law(t0=59901.1, amplitude=0.5, tau=100.0, const=0.6)},
            0.5 * np.exp(-1) + 0.6,
        ),
        ({"TIMECOEFF_POWERLAW": law(t0=59636.1, year1value=0.9, tsoft=2.0, alpha=-0.5)}, 0.9),
    ],
)
def test_sensitivity_in_time(tables, factor):
    """At 366, 100 and 365 days after the law's zero."""
    references = scenes.references(SHAPE, photom=scenes.photom_reference(**tables))
    rate = scenes.rate(np.ones(SHAPE))
    assert_allclose(photom(rate, references).data, 0.25 / factor, rtol=1e-6)
    assert_allclose(photom(rate, references, apply_time_correction=False).data, 0.25)


def test_missing_row_names_filter_pupil_and_file():
    rate = scenes.rate(np.ones(SHAPE), about=scenes.meta(FILTER="F090W"))
    with pytest.raises(Unprocessable, match=r"photom_0001\.fits: .* no row for filter F090W, pupil CLEAR"):
        photom(rate, scenes.references(SHAPE))


def test_two_rows():
    rows = [("F150W", "CLEAR", 0.25, 0.0), ("F150W", "CLEAR", 0.5, 0.0)]
    with pytest.raises(Unprocessable, match="2 rows for filter F150W"):
        photom(scenes.rate(np.ones(SHAPE)), scenes.references(SHAPE, photom=scenes.photom_reference(rows)))


def test_conversion_that_is_no_number():
    reference = scenes.photom_reference([("F150W", "CLEAR", np.nan, 0.0)])
    with pytest.raises(Unprocessable, match="photmjsr is nan"):
        photom(scenes.rate(np.ones(SHAPE)), scenes.references(SHAPE, photom=reference))


@pytest.mark.parametrize("reftype", ["distortion", "flat", "photom"])
def test_missing_reference(reftype):
    with pytest.raises(Unprocessable, match=f"no '{reftype}' reference"):
        IMAGE2(scenes.rate(np.ones(SHAPE)), scenes.references(SHAPE, **{reftype: None}))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), step=st.sampled_from([assign_wcs, flat_field, photom, IMAGE2]))
def test_input_is_left_alone(seed, step):
    rate, references = random_rate(seed), scenes.references(SHAPE, flat=flat_reference(seed))
    before, flat = content_digest(rate), references.image("flat")
    kept = flat.data.copy(), flat.dq.copy()
    step(rate, references)
    assert content_digest(rate) == before
    assert_array_equal(flat.data, kept[0])
    assert_array_equal(flat.dq, kept[1])


def test_what_was_done_is_recorded():
    made = IMAGE2(scenes.rate(np.ones(SHAPE)), scenes.references(SHAPE))
    assert [record.step for record in made.meta.provenance.steps] == ["assign_wcs", "flat_field", "photom"]
    assert [made.meta.get(keyword) for keyword in ("S_WCS", "S_FLAT", "S_PHOTOM")] == ["COMPLETE"] * 3
    assert made.meta.get("R_FLAT") == "crds://jwst_nircam_flat_0001.fits"
