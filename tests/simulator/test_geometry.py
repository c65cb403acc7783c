from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pysiaf.utils import rotations
from stdatamodels.jwst import datamodels

from schemas.errors import UsageError
from simulator.geometry import Pointing, distortion, siaf, window
from simulator.instruments import DETECTORS, detector
from simulator.references.build import IMAGING
from simulator.references.camera import relative_area, write_distortion

IMAGERS = [name for name, d in DETECTORS.items() if d.instrument in IMAGING]
GRID = tuple(a.ravel() for a in np.meshgrid(np.linspace(0, 2047, 25), np.linspace(0, 2047, 25)))


@pytest.mark.parametrize("name", IMAGERS)
def test_distortion_reference_agrees_with_the_siaf_both_ways(name: str, tmp_path: Path) -> None:
    camera = detector(name)
    write_distortion(camera, tmp_path / "distortion.asdf")
    with datamodels.DistortionModel(tmp_path / "distortion.asdf") as reference:
        model = reference.model
    x, y = GRID
    v2, v3 = model(x, y)
    expected = siaf(camera.instrument).apertures[camera.aperture].sci_to_tel(x + 1, y + 1)
    assert np.hypot(v2 - expected[0], v3 - expected[1]).max() < 1e-6  # arcsec
    back = model.inverse(v2, v3)
    error = np.hypot(*(np.subtract(model(*back), (v2, v3))))
    assert error.max() < 1e-4  # 0.1 mas
    fine = distortion(camera).to_pixel(v2, v3)
    assert np.hypot(fine[0] - x, fine[1] - y).max() < 1e-9


@pytest.mark.parametrize("name", ["NRCA1", "NRCALONG", "NIS"])
def test_pixel_area_is_the_solid_angle_between_neighbours(name: str) -> None:
    d = distortion(detector(name))
    x, y = np.array([30.0, 1000.0, 2000.0]), np.array([100.0, 1500.0, 900.0])
    corners = [d.to_v2v3(x + dx, y + dy) for dx, dy in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))]
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    area = 0.5 * np.abs((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0)) * (np.pi / 180 / 3600) ** 2
    np.testing.assert_allclose(d.pixel_area(x, y), area, rtol=1e-6)
    relative = relative_area(detector(name))[y.astype(int), x.astype(int)]
    np.testing.assert_allclose(relative, area / d.nominal_area, rtol=1e-6)


def test_attitude_agrees_with_pysiaf() -> None:
    here = Pointing(80.0, -69.5, 37.0, (100.0, -480.0))
    attitude = rotations.attitude(100.0, -480.0, 80.0, -69.5, 37.0)
    for v2, v3 in ((50.0, -400.0), (-300.0, -700.0), (0.0, 0.0)):
        there = here.at((v2, v3))
        np.testing.assert_allclose(
            (there.ra_ref, there.dec_ref), rotations.pointing(attitude, v2, v3), atol=1e-11
        )
        assert there.roll_ref == pytest.approx(rotations.posangle(attitude, v2, v3) % 360, abs=1e-9)
        np.testing.assert_allclose(there.matrix, here.matrix, atol=1e-12)


def test_sky_and_telescope_roundtrip_with_aberration() -> None:
    here = Pointing(359.9999, 60.0, 200.0, (100.0, -480.0), va_scale=1.0001)
    v2, v3 = np.array([-40.0, 100.0, 170.0]), np.array([-480.0, -400.0, -560.0])
    back = here.to_v2v3(*here.to_sky(v2, v3))
    np.testing.assert_allclose(back, (v2, v3), atol=1e-8)
    ra, _ = here.to_sky(v2, v3)
    assert ((ra >= 0) & (ra < 360)).all()


@pytest.mark.parametrize(
    ("name", "subarray", "corner"),
    [
        ("NRCA1", "SUB160", (1889, 1889)),
        ("NRCA3", "SUB320", (1, 1729)),
        ("NRCB1", "SUB640", (1, 1)),
        ("NRCALONG", "FULL", (1, 1)),
        ("NRCBLONG", "SUB160", (933, 941)),
    ],
)
def test_windows_in_dms_orientation(name: str, subarray: str, corner: tuple[int, int]) -> None:
    part = window(detector(name), subarray)
    assert (part.xstart, part.ystart) == corner
    d = distortion(detector(name))
    v2, v3 = d.to_v2v3(
        np.array(part.xstart + part.reference[0] - 2), np.array(part.ystart + part.reference[1] - 2)
    )
    assert np.hypot(v2 - part.v2v3[0], v3 - part.v2v3[1]) < 0.01


def test_unknown_subarray_lists_the_known() -> None:
    with pytest.raises(UsageError, match="SUB400P"):
        window(detector("NRCB1"), "SUB7")
