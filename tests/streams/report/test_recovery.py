"""The statistics of recovery: what is right passes, and what is wrong by a little more than allowed fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.modeling.models import Pix2Sky_TAN, RotateNative2Celestial, Scale, Shift
from astropy.table import QTable
from gwcs import WCS, coordinate_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dq import DQ
from schemas.meta import Meta
from schemas.products import Rate, Resampled
from streams.report.recovery import (
    _circle,
    _places,
    check_errors,
    check_fluxes,
    compare_apertures,
    compare_sources,
)

SIZE = 240
SCALE = 0.031 / 3600


def _wcs():
    forward = (
        (Shift(-SIZE / 2) & Shift(-SIZE / 2))
        | (Scale(-SCALE) & Scale(SCALE))
        | Pix2Sky_TAN()
        | RotateNative2Celestial(80.0, -69.0, 180.0)
    )
    sky = coordinate_frames.CelestialFrame(
        name="world", axes_order=(0, 1), reference_frame=SkyCoord(0 * u.deg, 0 * u.deg).frame
    )
    detector = coordinate_frames.Frame2D(name="detector", unit=(u.pix, u.pix))
    return WCS([(detector, forward), (sky, None)])


@pytest.fixture(scope="module")
def mosaic():
    plane = np.ones((SIZE, SIZE), np.float32)
    return Resampled(
        meta=Meta(wcs=_wcs()),
        data=plane,
        err=plane,
        con=np.ones((1, SIZE, SIZE), np.int32),
        wht=plane,
        var_poisson=plane,
        var_rnoise=plane,
    )


@pytest.fixture
def sky(mosaic):
    """Forty stars on a grid, and the truth of them in another order with two more that are not found."""
    rng = np.random.default_rng(4)
    y, x = (v.ravel() + rng.uniform(-5, 5, 42) for v in np.mgrid[20:221:40, 20:221:33][:, :6, :7])
    ra, dec = mosaic.meta.wcs(x, y)
    flux = 10 ** rng.uniform(-4, -3, 42)
    truth = QTable()
    truth["ra"], truth["dec"], truth["flux"] = ra * u.deg, dec * u.deg, flux * u.Jy
    truth["abmag"] = -2.5 * np.log10(flux / 3631)
    truth["kind"] = np.where(np.arange(42) < 36, "star", "galaxy")
    truth["isolated"] = np.arange(42) < 32
    order = rng.permutation(40)
    error = 0.002 * flux[order]
    catalogue = QTable()
    catalogue["sky_centroid"] = SkyCoord(ra[order], dec[order], unit="deg").directional_offset_by(
        0 * u.deg, rng.normal(0, 1, 40) * u.mas
    )
    catalogue["aper_total_flux"] = (flux[order] + error * rng.standard_normal(40)) * u.Jy
    catalogue["aper_total_flux_err"] = error * u.Jy
    return catalogue, truth


def test_sources_are_paired_with_their_truth(sky, mosaic):
    catalogue, truth = sky
    found = compare_sources(catalogue, truth, mosaic)
    assert found.rows.size == 40
    distance = catalogue["sky_centroid"][found.rows].separation(
        SkyCoord(truth["ra"], truth["dec"])[found.truth_rows]
    )
    assert distance.max() < 5 * u.mas
    assert found.judged.sum() == np.count_nonzero(truth["isolated"][found.truth_rows])
    assert found.star.sum() > found.judged.sum()
    assert np.abs(found.dra).max() < 0.01 < np.abs(found.ddec).max() < 5


def test_right_fluxes_pass(sky, mosaic):
    check = check_fluxes(compare_sources(*sky, mosaic))
    assert check.passed, check.sentence


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_fluxes_wrong_by_a_per_cent_fail(sky, mosaic, factor):
    catalogue, truth = sky
    catalogue["aper_total_flux"] *= factor
    found = compare_sources(catalogue, truth, mosaic)
    assert found.offset == pytest.approx(factor - 1, abs=0.002)
    assert not check_fluxes(found).passed


def test_one_missing_flux_is_not_judged(sky, mosaic):
    catalogue, truth = sky
    before = compare_sources(catalogue, truth, mosaic)
    catalogue["aper_total_flux"][before.rows[before.judged][0]] = np.nan * u.Jy
    after = compare_sources(catalogue, truth, mosaic)
    assert after.judged.sum() == before.judged.sum() - 1
    assert np.isfinite(after.offset)


def test_stars_at_a_hole_are_not_judged(sky, mosaic):
    catalogue, truth = sky
    found = compare_sources(catalogue, truth, mosaic)
    first = np.flatnonzero(found.judged)[0]
    place = truth[found.truth_rows[first]]
    x, y = (round(float(v)) for v in mosaic.meta.wcs.invert(place["ra"].value, place["dec"].value))
    holed = mosaic.wht.copy()
    holed[y + 2, x] = 0
    again = compare_sources(catalogue, truth, replace(mosaic, wht=holed))
    assert not again.judged[first]
    assert again.judged.sum() == found.judged.sum() - 1


def test_too_few_stars_fail(sky, mosaic):
    catalogue, truth = sky
    truth["isolated"] = np.arange(42) < 5
    check = check_fluxes(compare_sources(catalogue, truth, mosaic))
    assert not check.passed
    assert "are needed" in check.sentence


def test_an_empty_catalogue_fails(sky, mosaic):
    catalogue, truth = sky
    found = compare_sources(catalogue[:0], truth, mosaic)
    assert found.rows.size == 0
    assert np.isnan(found.offset)
    assert not check_fluxes(found).passed


def _image(scale=1.0, size=SIZE, seed=3):
    rng = np.random.default_rng(seed)
    true = 1 + 40 * np.exp(-((np.mgrid[:size, :size] - size / 2) ** 2).sum(axis=0) / 900)
    err = np.sqrt(0.05 * true + 0.1)
    data = true + err * rng.standard_normal(true.shape)
    stated = (scale * err).astype(np.float32)
    image = Rate(
        meta=Meta(),
        data=data.astype(np.float32),
        err=stated,
        dq=np.zeros(true.shape, np.uint32),
        var_poisson=stated**2,
        var_rnoise=np.zeros_like(stated),
    )
    return image, true


def test_right_errors_pass():
    found = compare_apertures(*_image(), seed=1)
    assert found.size == 26 * 26
    check = check_errors(found)
    assert check.passed, check.sentence


@pytest.mark.parametrize("scale", [0.8, 1.2])
def test_errors_wrong_by_a_fifth_fail(scale):
    found = compare_apertures(*_image(scale), seed=1)
    assert found.std() == pytest.approx(1 / scale, abs=0.07)
    assert not check_errors(found).passed


def test_too_few_apertures_fail():
    found = compare_apertures(*_image(size=100), seed=1)
    assert 0 < found.size < 200
    check = check_errors(found)
    assert not check.passed
    assert "are needed" in check.sentence


@pytest.mark.parametrize("flag", [DQ.DO_NOT_USE, DQ.REFERENCE_PIXEL, DQ.NON_SCIENCE])
def test_apertures_with_pixels_not_to_be_used_are_left_out(flag):
    image, true = _image()
    whole = compare_apertures(image, true, seed=1)
    dq, data = image.dq.copy(), image.data.copy()
    dq[:, : SIZE // 2] = int(flag)
    data[:, : SIZE // 2] = 1e6
    half = compare_apertures(replace(image, dq=dq, data=data), true, seed=1)
    assert 0.4 * whole.size < half.size < 0.6 * whole.size
    assert np.isin(half, whole).all()


def test_flagged_pixels_that_may_be_used_are_used():
    image, true = _image()
    flagged = replace(image, dq=np.full_like(image.dq, int(DQ.JUMP_DET | DQ.SATURATED)))
    np.testing.assert_array_equal(compare_apertures(flagged, true, 1), compare_apertures(image, true, 1))


def test_nan_is_left_out():
    image, true = _image()
    data = image.data.copy()
    data[::3] = np.nan
    assert compare_apertures(replace(image, data=data), true, seed=1).size == 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), ny=st.integers(9, 80), nx=st.integers(9, 80))
def test_apertures_never_overlap_nor_leave_the_image(seed, ny, nx):
    y, x = _places((ny, nx), seed)
    dy, dx = _circle()
    rows, columns = (y[:, None] + dy).ravel(), (x[:, None] + dx).ravel()
    assert rows.size
    assert rows.min() >= 0 and columns.min() >= 0  # noqa: PT018
    assert rows.max() < ny and columns.max() < nx  # noqa: PT018
    assert np.unique(rows * nx + columns).size == rows.size
