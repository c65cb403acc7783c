from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.exposure import camera_of
from simulator.instruments import bandpass
from simulator.observation import Request, plan, sky
from simulator.psf import OVERSAMPLE, psf
from simulator.scene import Scene, render

PHASES = np.random.default_rng(5).uniform(-0.5, 0.5, (40, 2))


@pytest.fixture(scope="module", params=["F115W", "F200W"])
def point(request: pytest.FixtureRequest):
    band = bandpass(request.param)
    return psf(band.pivot, band.width, 0.031)


def test_placement_conserves_flux_at_any_subpixel_phase(point) -> None:
    total = (
        point.samples[2 * OVERSAMPLE : -2 * OVERSAMPLE, 2 * OVERSAMPLE : -2 * OVERSAMPLE].sum()
        / OVERSAMPLE**2
    )
    sums = np.array([point.stamp(dx, dy).sum() for dx, dy in PHASES])
    np.testing.assert_allclose(sums, total, rtol=1e-4)
    assert 0.97 < total < 1


def test_centroid_follows_the_source(point) -> None:
    axis = np.arange(-96, 97)
    for dx, dy in PHASES[:10]:
        stamp = point.stamp(dx, dy)
        core = stamp * (np.hypot(axis[:, None] - dy, axis - dx) < 15)
        still = point.stamp(0, 0) * (np.hypot(axis[:, None], axis) < 15)
        moved = (
            core.sum(0) @ axis / core.sum() - still.sum(0) @ axis / still.sum(),
            core.sum(1) @ axis / core.sum() - still.sum(1) @ axis / still.sum(),
        )
        np.testing.assert_allclose(moved, (dx, dy), atol=0.02)


def test_interpolation_agrees_with_the_samples(point) -> None:
    step = 1 / OVERSAMPLE
    shifted = point.stamp(2 * step, -step, half=20)
    c = point.centre
    rows = c + OVERSAMPLE * np.arange(-20, 21) + 1
    columns = c + OVERSAMPLE * np.arange(-20, 21) - 2
    np.testing.assert_allclose(shifted, point.samples[np.ix_(rows, columns)], atol=1e-12)


def test_encircled_energy_is_what_apertures_catch(point) -> None:
    from photutils.aperture import CircularAperture

    for radius in (1.1, 2.0, 5.0):
        caught = []
        for dx, dy in PHASES:
            stamp = point.stamp(dx, dy, half=30)
            caught.append(CircularAperture((30 + dx, 30 + dy), radius).do_photometry(stamp)[0][0])
        error = np.std(caught) / np.sqrt(len(caught))
        assert error < 0.015 * np.mean(caught)
        expected = point.encircled(np.array([radius]))[0]
        assert np.mean(caught) == pytest.approx(expected, abs=1e-3 + 3 * error)


def _single(radius: float) -> tuple[float, float]:
    exposure = plan(Request(subarray="SUB320", dithers=1))[0]
    ra, dec = exposure.pointing.ra_ref, exposure.pointing.dec_ref
    one = np.ones(1)
    scene = Scene(ra * one, dec * one, 1e-5 * one, radius * one, 1.5 * one, 0.7 * one, 30 * one, 0.0)
    camera = camera_of(exposure)
    image = render(scene, camera)
    return image.sum() * camera.photmjsr * camera.pixel_area * 1e6, camera.psf.stamp(0, 0).sum()


def test_a_star_has_its_flux() -> None:
    total, within = _single(0.0)
    assert total == pytest.approx(1e-5 * within, rel=1e-3)


def test_a_galaxy_has_its_flux() -> None:
    total, _ = _single(0.2)
    assert total == pytest.approx(1e-5, rel=0.05)


def test_an_empty_sky_has_its_surface_brightness() -> None:
    exposure = plan(Request(subarray="SUB160", dithers=1))[0]
    scene = sky([exposure])
    none = {k: getattr(scene, k)[:0] for k in ("ra", "dec", "flux", "radius", "index", "axis_ratio", "angle")}
    camera = camera_of(exposure)
    image = render(replace(scene, **none), camera)
    np.testing.assert_allclose(image * camera.photmjsr / camera.relative_area, scene.background, rtol=1e-12)


def test_there_are_enough_isolated_stars() -> None:
    from simulator.truth import catalogue

    exposures = plan(Request())
    scene = sky(exposures)
    table = catalogue(scene, exposures[0])
    for exposure in exposures:
        x, y = camera_of(exposure).to_pixel(scene.ra, scene.dec)
        inside = (x > 10) & (x < 310) & (y > 10) & (y < 310)
        assert (inside & table["isolated"]).sum() >= 25, exposure.name


def test_the_scene_depends_on_the_seed_only() -> None:
    first, again, other = (sky(plan(Request(seed=seed))) for seed in (1, 1, 2))
    assert np.array_equal(first.flux, again.flux)
    assert not np.array_equal(first.flux[:20], other.flux[:20])
