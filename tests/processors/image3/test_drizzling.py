"""The parts of drizzling: pixel maps, output grids, noise correlation, footprints, headers."""

from dataclasses import replace

import numba
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from processors.drizzling.correlation import aperture_ratio, correlation, large_aperture_ratio
from processors.drizzling.footprints import combined
from processors.drizzling.grid import GridChoice, build_grid, centre, fits_cards, parse_s_region
from processors.drizzling.metadata import combine
from processors.drizzling.pixmap import between, exact_map, pixel_map
from processors.image2.assign_wcs import footprint, imaging_wcs
from schemas.errors import Unprocessable
from schemas.meta import Provenance, StepRecord
from tests.processors.image2 import scenes


def detector_wcs(size=2048, **about):
    """A full frame whose edges are about 10 pixels from where a linear transform would have them."""
    references = scenes.references((4, 4), distortion=scenes.distortion(centre=((size - 1) / 2,) * 2))
    return imaging_wcs(scenes.meta(**about), (size, size), references)


def grid_of(*wcses, **choice):
    return build_grid([footprint(wcs) for wcs in wcses], wcses[0], scenes.meta(), GridChoice(**choice))


def test_pixel_map_is_exact():
    wcs = detector_wcs()
    transform = between(wcs, grid_of(wcs).wcs)
    fast = pixel_map(transform, (2048, 2048))
    rows, columns = np.arange(0, 2048, 61), np.arange(0, 2048, 53)
    exact = np.stack(transform(*np.meshgrid(columns.astype(float), rows.astype(float))), axis=-1)
    assert np.abs(fast[np.ix_(rows, columns)] - exact).max() < 1e-6
    assert np.abs(fast[-1, -1] - np.stack(transform(np.array(2047.0), np.array(2047.0)))).max() < 1e-6


def test_rough_transforms_are_computed_exactly():
    calls = []

    def rough(x, y):
        calls.append(x.size)
        return x + 0.01 * np.sin(2.1 * x), y

    found = pixel_map(rough, (200, 210))
    assert sum(calls) > 200 * 210
    assert_array_equal(found, exact_map(rough, (200, 210)))


def test_zero_tolerance_is_exact():
    wcs = detector_wcs(64)
    transform = between(wcs, grid_of(wcs).wcs)
    assert_array_equal(pixel_map(transform, (64, 64), tolerance=0), exact_map(transform, (64, 64)))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1e-4, 1e-4), min_size=6, max_size=6), st.integers(33, 90), st.integers(33, 90))
def test_pixel_map_of_any_polynomial(terms, ny, nx):
    def transform(x, y):
        a, b, c, d, e, f = terms
        return x + a * x * y + b * y**2 + c * x**2, 3 + y * (1 + d) + e * x * y + f * x**2

    assert np.abs(pixel_map(transform, (ny, nx)) - exact_map(transform, (ny, nx))).max() <= 1e-6


def test_threads_make_no_difference():
    wcs = detector_wcs(256)
    transform = between(wcs, grid_of(wcs).wcs)
    before = numba.get_num_threads()
    made = []
    for threads in (1, before):
        numba.set_num_threads(threads)
        made.append(pixel_map(transform, (256, 256)))
    numba.set_num_threads(before)
    assert_array_equal(made[0], made[1])


def test_grid_covers_its_inputs_and_no_more():
    wcses = detector_wcs(300), detector_wcs(300, ra=53.162, dec=-27.7985, roll=40.0)
    grid = grid_of(*wcses)
    corners = np.concatenate([footprint(wcs) for wcs in wcses])
    x, y = grid.wcs.invert(*corners.T, with_bounding_box=False)
    assert_allclose([x.min(), y.min()], 0, atol=1e-6)
    assert abs(x.max() - grid.shape[1]) <= 1
    assert abs(y.max() - grid.shape[0]) <= 1


def test_grid_of_the_user():
    wcs = detector_wcs(300)
    grid = grid_of(
        wcs, pixel_scale=0.02, rotation=0.0, crpix=(10.0, 20.0), crval=(53.1601, -27.8002), shape=(50, 60)
    )
    assert grid.shape == (50, 60)
    assert_allclose(grid.wcs(10.0, 20.0), (53.1601, -27.8002), atol=1e-12)
    ra, dec = grid.wcs(10.0, 21.0)
    assert_allclose((dec + 27.8002) * 3600, 0.02, rtol=1e-6)
    assert_allclose(ra, 53.1601, atol=1e-9)
    assert grid.wcs(11.0, 20.0)[0] < 53.1601
    assert_allclose(grid.ratio, 0.02 / scenes.SCALE, rtol=1e-2)


def test_grid_too_small():
    with pytest.raises(Unprocessable, match="would have 1 x 1 pixels"):
        grid_of(detector_wcs(16), pixel_scale=0.6)


def test_fits_keywords_say_what_the_gwcs_says():
    grid = grid_of(detector_wcs(300))
    header = fits.Header(list(fits_cards(grid).items()))
    x, y = np.array([0.0, 100.5, 299.0]), np.array([7.0, 250.0, 1.0])
    assert_allclose(WCS(header).pixel_to_world_values(x, y), grid.wcs(x, y), rtol=0, atol=1e-12)


def test_centre_is_safe_at_zero_hours_and_at_the_pole():
    lon, lat = centre(np.array([[359.9, 1.0], [0.1, 1.0], [359.9, -1.0], [0.1, -1.0]]))
    assert_allclose([(lon + 180) % 360, lat], [180, 0], atol=1e-9)
    assert centre(np.array([[0.0, 89.0], [90.0, 89.0], [180.0, 89.0], [270.0, 89.0]]))[1] > 89.99


def test_parse_s_region():
    first, second = parse_s_region("POLYGON ICRS  1 2 3 4 5 6 7 8  POLYGON ICRS 9 8 7 6 5 4")
    assert_array_equal(first, [[1, 2], [3, 4], [5, 6], [7, 8]])
    assert_array_equal(second, [[9, 8], [7, 6], [5, 4]])
    assert parse_s_region("") == []


def test_footprints_that_touch_are_joined():
    wcs = detector_wcs(100)
    near = detector_wcs(100, ra=53.1603)
    far = detector_wcs(100, ra=53.18)
    shapes = [footprint(one) for one in (wcs, near, far)]
    outlines = combined(shapes, wcs)
    assert len(outlines) == 2
    flat = [np.stack(wcs.invert(*outline.T, with_bounding_box=False), axis=1) for outline in outlines]
    areas = sorted(
        abs(np.sum(p[:, 0] * np.roll(p[:, 1], -1) - p[:, 1] * np.roll(p[:, 0], -1))) / 2 for p in flat
    )
    assert_allclose(areas[0], 1e4, rtol=0.02)
    assert 1.1e4 < areas[1] < 2e4


def test_correlation_of_aligned_squares():
    """Cubic B-spline samples 2/3, 1/6; the ratio is 1.5 for drops as large as pixels."""
    coefficients = correlation("square", 1.0, np.eye(2))
    along = np.array([0, 0.25, 1, 0.25, 0])
    assert_allclose(coefficients, np.outer(along, along), atol=2e-3)
    assert_allclose(large_aperture_ratio(coefficients), 1.5, rtol=1e-3)


@pytest.mark.parametrize(("pixfrac", "ratio"), [(1.0, 1.0), (0.8, 0.6), (0.5, 1.0), (0.6, 0.5)])
def test_correlation_is_that_of_fruchter_and_hook(pixfrac, ratio):
    """Section 7, eq. 9: r / (1 - 1 / (3 r)) for drops of r >= 1 output pixels, else 1 / (1 - r / 3)."""
    r = pixfrac / ratio
    expected = r / (1 - 1 / (3 * r)) if r >= 1 else 1 / (1 - r / 3)
    found = large_aperture_ratio(correlation("square", pixfrac, np.eye(2) / ratio))
    assert_allclose(found, expected, rtol=2e-3)


def test_aperture_ratio_grows_to_its_limit():
    coefficients = correlation("square", 1.0, np.eye(2))
    ratios = [aperture_ratio(coefficients, radius) for radius in (0.3, 1.0, 2.0, 4.0, 40.0)]
    assert np.all(np.diff(ratios) > 0)
    assert ratios[0] < 1.05
    assert_allclose(ratios[-1], 1.5, rtol=0.02)


def test_headers_are_combined():
    metas = [
        scenes.meta(exposure=1),
        scenes.meta(exposure=1, DETECTOR="NRCA3"),
        scenes.meta(exposure=2).with_science(A_ORDER=2, A_0_2=1e-7),
    ]
    both = combine(metas)
    assert both.get("DETECTOR") == "MULTIPLE"
    assert both.get("FILTER") == "F150W"
    assert both.get("EFFEXPTM") == 200.0
    assert both.get("EXPSTART") == 60001.0
    assert both.get("EXPEND") == 60002.2
    assert_allclose(both.get("EXPMID"), 60000.1 + 4 / 3)
    assert both.get("RA_REF") is None
    assert combine(metas[::-1]).get("A_0_2") is None


def made(detector, *records):
    """Return the header of an image that went through steps with these records."""
    meta = replace(scenes.meta(DETECTOR=detector), provenance=Provenance(steps=records))
    return meta.with_primary(R_GAIN=f"crds://gain_{detector}.fits", R_DISTOR="crds://distortion.asdf")


def jump(detector, threshold=4.0, origin="recipe"):
    gain = {"name": f"gain_{detector}.fits", "digest": f"digest of {detector}"}
    return StepRecord(
        step="jump",
        outcome="complete",
        options={"threshold": threshold},
        origins={"threshold": origin},
        references={"gain": gain, "readnoise": {"name": "noise.fits", "digest": "d"}},
    )


def test_a_mosaic_tells_all_steps_and_references_of_its_inputs():
    dq_init, flat = (StepRecord(step=name, outcome="complete") for name in ("dq_init", "flat_field"))
    detectors = ("NRCA1", "NRCA2", "NRCA1")
    both = combine([made(detector, dq_init, jump(detector), flat) for detector in detectors])
    assert [r.step for r in both.provenance.steps] == ["dq_init", "jump", "flat_field"]
    assert both.provenance.steps[::2] == (dq_init, flat)
    assert both.provenance.steps[1].references == {
        "gain": {"name": "gain_NRCA1.fits, gain_NRCA2.fits", "digest": "digest of NRCA1, digest of NRCA2"},
        "readnoise": {"name": "noise.fits", "digest": "d"},
    }
    assert both.provenance.steps[1].origins == {"threshold": "recipe"}
    assert (both.get("R_GAIN"), both.get("R_DISTOR")) == ("MULTIPLE", "crds://distortion.asdf")


def test_inputs_that_were_made_differently_keep_their_records():
    dq_init, twice = StepRecord(step="dq_init", outcome="complete"), StepRecord(step="x", outcome="complete")
    skipped = StepRecord(step="dq_init", outcome="skipped")
    first = made("NRCA1", dq_init, jump("NRCA1"), twice, twice)
    second = made("NRCA1", skipped, jump("NRCA1", 5.0), twice)
    third = made("NRCA1", dq_init, jump("NRCA1", 5.0, "command line"), twice)
    steps = combine([first, second, third]).provenance.steps
    assert [r.step for r in steps] == ["dq_init", "dq_init", "jump", "jump", "x", "x"]
    assert steps[:2] == (dq_init, skipped)
    assert [r.options["threshold"] for r in steps[2:4]] == [4.0, 5.0]
    assert [r.origins["threshold"] for r in steps[2:4]] == ["recipe", "recipe, command line"]


def test_one_input_is_told_as_it_is():
    only = made("NRCA1", jump("NRCA1"))
    assert combine([only]).provenance.steps == only.provenance.steps
    assert combine([only]).get("R_GAIN") == "crds://gain_NRCA1.fits"
