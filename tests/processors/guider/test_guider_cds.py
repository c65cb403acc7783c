"""Guider data: count rates, errors, files."""

from dataclasses import replace

import numpy as np
import pytest

from processors.guider import GUIDER, guider_cds
from processors.image2 import flat_field
from schemas.content import content_digest
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.products import Guider
from schemas.reading import read
from schemas.writing import write
from tests.processors.detector1.build import image, make_ramp, mask, references

SHAPE = (6, 8)
TIME = 0.5
GAIN, READNOISE = 2.0, 9.0


def ramp(data, exp_type="FGS_ACQ1", **more):
    return make_ramp(data, INSTRUME="FGS", DETECTOR="GUIDER2", EXP_TYPE=exp_type, TGROUP=TIME, **more)


def noise(gain=GAIN, readnoise=READNOISE, shape=SHAPE):
    return references(
        image("gain", np.full(shape, gain)), image("readnoise", np.full(shape, readnoise)),
        mask(np.zeros(shape, np.uint32)), image("flat", np.full(shape, 2.0)),
    )  # fmt: skip


@pytest.mark.parametrize("exp_type", ["FGS_ACQ1", "FGS_ACQ2", "FGS_TRACK"])
def test_rates_are_differences_over_the_group_time(exp_type):
    data = np.zeros((3, 2, *SHAPE))
    data[:, 0], data[:, 1] = 100, np.array([150, 200, 90])[:, None, None]
    made = guider_cds(ramp(data, exp_type), noise())
    assert made.data.shape == (3, *SHAPE)
    np.testing.assert_array_equal(made.data[:, 0, 0], [100, 200, -20])
    assert made.meta.get("BUNIT") == "DN/s"
    expected = np.sqrt([READNOISE**2 + 50 / GAIN, READNOISE**2 + 100 / GAIN, READNOISE**2]) / TIME
    np.testing.assert_allclose(made.err[:, 0, 0], expected, rtol=1e-6)


def test_identification_takes_the_smaller_rate():
    data = np.zeros((2, 2, *SHAPE))
    data[0, 1], data[1, 1] = 40, 30
    data[0, 1, 2, 3] = 10
    for exp_type in ("FGS_ID-IMAGE", "FGS_ID-STACK"):
        made = guider_cds(ramp(data, exp_type), noise())
        assert made.data.shape == made.err.shape == (1, *SHAPE)
        assert made.data[0, 2, 3] == 20
        assert (np.delete(made.data[0].ravel(), 2 * 8 + 3) == 60).all()


def test_a_stack_has_the_mean_noise_of_references_with_other_pixels():
    data = np.zeros((2, 2, *SHAPE))
    data[:, 1] = 50
    given = noise(shape=(20, 20))
    given["readnoise"].data[:10] = 3 * READNOISE
    given["readnoise"].data[0, 0] = np.nan
    made = guider_cds(ramp(data, "FGS_ID-STACK"), given)
    known = np.nanmean(given["readnoise"].data.astype(float))
    np.testing.assert_allclose(made.err, np.sqrt(known**2 + 50 / GAIN) / TIME, rtol=1e-6)
    with pytest.raises(Unprocessable, match="give one of the exposure's subarray"):
        guider_cds(ramp(data, "FGS_ID-IMAGE"), given)


def test_fine_guiding_averages_four_reads():
    data = np.arange(10.0)[None, :, None, None] ** 2 * np.ones((2, 1, *SHAPE))
    made = guider_cds(ramp(data, "FGS_FINEGUIDE"), noise())
    difference = np.mean([36, 49, 64, 81]) - np.mean([0, 1, 4, 9])
    np.testing.assert_allclose(made.data, difference / TIME, rtol=1e-6)
    np.testing.assert_allclose(made.err, np.sqrt(READNOISE**2 / 4 + difference / GAIN) / TIME, rtol=1e-6)


@pytest.mark.parametrize(("exp_type", "ngroup"), [("FGS_TRACK", 2), ("FGS_FINEGUIDE", 8)])
def test_errors_are_what_rates_scatter(exp_type, ngroup):
    rng = np.random.default_rng(5)
    shape = (40, 50)
    reads = rng.normal(1000, READNOISE / np.sqrt(2), (20, ngroup, *shape))
    reads[:, ngroup // 2 :] += rng.poisson(300 * GAIN, (20, 1, *shape)) / GAIN
    made = guider_cds(ramp(reads, exp_type), noise(shape=shape))
    pulls = (made.data - 300 / TIME) / made.err
    assert abs(pulls.std() - 1) < 0.02
    standard = guider_cds(ramp(reads, exp_type), noise(shape=shape), noise="standard")
    np.testing.assert_array_equal(standard.data, made.data)


def test_standard_errors_are_those_of_the_standard_pipeline():
    data = np.zeros((1, 2, *SHAPE))
    data[:, 1] = 80
    made = guider_cds(ramp(data), noise(), noise="standard")
    np.testing.assert_allclose(made.err, np.sqrt(2 * (READNOISE / TIME) ** 2 + 80 / (GAIN * TIME)), rtol=1e-6)


def test_pixels_without_gain_are_flagged_and_have_no_error():
    held = noise()
    gain = np.full(SHAPE, GAIN)
    gain[1, 1], gain[2, 2] = 0, np.nan
    held = references(image("gain", gain), held["readnoise"])
    made = guider_cds(ramp(np.ones((2, 2, *SHAPE))), held)
    bad = np.zeros(SHAPE, bool)
    bad[1, 1] = bad[2, 2] = True
    np.testing.assert_array_equal(np.isnan(made.err).all(axis=0), bad)
    np.testing.assert_array_equal((made.dq & np.uint32(DQ.DO_NOT_USE)) != 0, bad)
    assert np.isfinite(made.data).all()


@pytest.mark.parametrize(
    ("exp_type", "shape", "more", "sentence"),
    [
        ("FGS_ACQ1", (3, 1), {}, "at least 1 of 2"),
        ("FGS_FINEGUIDE", (3, 7), {}, "at least 1 of 8"),
        ("FGS_ID-IMAGE", (1, 2), {}, "at least 2 of 2"),
        ("FGS_ACQ1", (1, 2), {"TGROUP": 0.0}, "no time between groups"),
    ],
)
def test_what_is_missing_is_said(exp_type, shape, more, sentence):
    given = ramp(np.zeros((*shape, *SHAPE)), exp_type)
    with pytest.raises(Unprocessable, match=sentence):
        guider_cds(given.with_meta(given.meta.with_primary(**more)), noise())


def test_the_flat_field_divides_rates_and_errors():
    rates = guider_cds(ramp(np.cumsum(np.ones((2, 2, *SHAPE)), axis=1) * 100), noise())
    flat = np.full(SHAPE, 0.5)
    flat[3, 3] = np.nan
    made = flat_field(rates, references(image("flat", flat)))
    assert isinstance(made, Guider)
    whole = np.ones(SHAPE, bool)
    whole[3, 3] = False
    np.testing.assert_array_equal(made.data[:, whole], 2 * rates.data[:, whole])
    np.testing.assert_array_equal(made.err[:, whole], 2 * rates.err[:, whole])
    np.testing.assert_array_equal(made.data[:, 3, 3], rates.data[:, 3, 3])
    assert made.dq[3, 3] == DQ.DO_NOT_USE | DQ.NO_FLAT_FIELD


def test_files_come_back_and_open_as_guiders(tmp_path):
    from stdatamodels.jwst import datamodels

    made = GUIDER(ramp(np.cumsum(np.ones((3, 2, *SHAPE)), axis=1) * 100, NGROUPS=2), noise())
    path = tmp_path / "jw01019001001_gs-acq1_2022117003102_cal.fits"
    digest = write(made, path)
    again = read(path)
    assert isinstance(again, Guider)
    assert content_digest(again) == content_digest(made) == digest
    for name, array in made.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    with datamodels.open(path, strict_validation=True) as model:
        assert type(model) is datamodels.GuiderCalModel
        model.validate()
        np.testing.assert_array_equal(model.data, made.data)
        assert model.dq.shape == SHAPE
        assert model.meta.cal_step.guider_cds == model.meta.cal_step.flat_field == "COMPLETE"
        assert model.meta.bunit_data == "DN/s"


def test_inputs_stay():
    given = ramp(np.cumsum(np.ones((3, 2, *SHAPE)), axis=1) * 100)
    kept = {name: array.tobytes() for name, array in given.arrays().items()}
    GUIDER(given, noise())
    assert {name: array.tobytes() for name, array in given.arrays().items()} == kept


def test_tables_of_the_guide_stars_go_on(tmp_path):
    columns = [("observatory_time", "U23"), ("guide_star_position_x", "f8"), ("psf_width_x", "i4")]
    packets = np.array([("2022-04-27T10:00:00.000", 1.5, 3), ("2022-04-27T10:00:00.064", 2.5, 4)], columns)
    stars = np.array([(1, "N2A0001", 83.5)], [("guide_star_order", "i4"), ("id", "U12"), ("ra", "f8")])
    given = ramp(np.zeros((2, 2, *SHAPE)))
    tables = {"FGS Centroid Packet": packets, "Planned Reference Stars": stars}
    write(given.with_meta(replace(given.meta, tables=tables)), tmp_path / "a_uncal.fits")
    write(GUIDER(read(tmp_path / "a_uncal.fits"), noise()), tmp_path / "a_cal.fits")
    found = read(tmp_path / "a_cal.fits").meta.tables
    assert set(found) == {name.upper() for name in tables}
    for name, rows in tables.items():
        for column in rows.dtype.names:
            np.testing.assert_array_equal(found[name.upper()][column], rows[column])
