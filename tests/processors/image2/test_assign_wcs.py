"""World coordinates: against hand-computed flight values, against first principles, and on bad input."""

import os
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.coordinates import SkyCoord, angular_separation
from astropy.wcs import WCS
from numpy.testing import assert_allclose

from processors.image2 import assign_wcs
from processors.image2.assign_wcs import detector_to_v2v3, imaging_wcs
from schemas.errors import Unprocessable
from schemas.reading import read
from schemas.references import References
from schemas.writing import write
from tests.processors.image2 import scenes

REAL = os.environ.get("CALSTREAM_REAL_DATA")
MICROARCSEC = 1 / 3.6e9


def matrix_to_sky(about):
    """The rotation of the SIAF description: V2, V3, roll, declination, right ascension, one by one."""
    v2, v3 = np.deg2rad(about.get("V2_REF") / 3600), np.deg2rad(about.get("V3_REF") / 3600)
    roll, ra, dec = (np.deg2rad(about.get(k)) for k in ("ROLL_REF", "RA_REF", "DEC_REF"))

    def about_z(a):
        return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])

    def about_y(a):
        return np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])

    def about_x(a):
        return np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])

    return about_z(ra) @ about_y(dec) @ about_x(-roll) @ about_y(-v3) @ about_z(-v2)


def unit(lon, lat):
    return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


@pytest.mark.skipif(not REAL, reason="CALSTREAM_REAL_DATA names no folder with real files")
@pytest.mark.parametrize("band", [770, 1800])
def test_flight_miri_positions(band):
    """Hand-computed V2, V3 in two filters; a wrong sign of the filter's offset is 0.1 arcsec."""
    folder = Path(REAL) / "references/miri"

    def model(name, reftype):
        with asdf.open(folder / name, lazy_load=False, memmap=False) as opened:
            return scenes.model(reftype, dict(opened.tree))

    distortion = model("jwst_miri_imager_distortion_flt9.asdf", "distortion")
    offsets = model("jwst_miri_filteroffset_full_flt9.asdf", "filteroffset")
    vectors = np.load(folder / "imager_flt9_testvectors.npz")
    about = scenes.meta(INSTRUME="MIRI", DETECTOR="MIRIMAGE", FILTER=f"F{band}W")
    v2, v3 = detector_to_v2v3(about, distortion, offsets)(vectors[f"x_{band}"], vectors[f"y_{band}"])
    assert_allclose(v2, vectors[f"v2_{band}"], rtol=0, atol=5e-9)
    assert_allclose(v3, vectors[f"v3_{band}"], rtol=0, atol=5e-9)


@pytest.mark.parametrize(
    ("ra", "dec", "roll"), [(53.16, -27.8, 33.0), (359.99999, 89.9, 200.0), (0.0, 0.0, 0.0)]
)
def test_sky_from_first_principles(ra, dec, roll):
    about = scenes.meta(ra=ra, dec=dec, roll=roll, VA_SCALE=1.0)
    wcs = imaging_wcs(about, (128, 128), scenes.references())
    x, y = np.meshgrid(np.linspace(0, 127, 7), np.linspace(0, 127, 7))
    v2, v3 = (np.deg2rad(angle / 3600) for angle in wcs.get_transform("detector", "v2v3")(x, y))
    vector = np.einsum("ij,jyx->iyx", matrix_to_sky(about), unit(v2, v3))
    found = np.deg2rad(wcs(x, y))
    expected = np.arctan2(vector[1], vector[0]), np.arcsin(vector[2])
    assert np.rad2deg(angular_separation(*found, *expected)).max() < 2 * MICROARCSEC


def test_reference_point_and_aberration():
    """The reference point stays; everything else moves away from it by VA_SCALE."""
    scale = 1.0 + 1e-3
    plain, moved = (
        imaging_wcs(scenes.meta(VA_SCALE=va), (128, 128), scenes.references()) for va in (1.0, scale)
    )
    assert_allclose(moved.get_transform("v2v3", "world")(120.0, -527.0), (53.16, -27.8), rtol=0, atol=1e-12)
    here, there = (
        SkyCoord(*wcs(np.array([63.5, 127.0]), np.array([63.5, 0.0])), unit="deg") for wcs in (plain, moved)
    )
    assert here[0].separation(there[0]).mas < 1e-3
    assert_allclose(there[0].separation(there[1]) / here[0].separation(here[1]), scale, rtol=1e-9)


def test_subarray_sees_the_same_sky():
    shape, at = (32, 48), {"SUBARRAY": "SUB", "SUBSTRT1": 41, "SUBSTRT2": 71, "SUBSIZE1": 48, "SUBSIZE2": 32}
    full = imaging_wcs(scenes.meta(), (128, 128), scenes.references())
    part = imaging_wcs(scenes.meta(**at), shape, scenes.references())
    assert_allclose(part(3.0, 5.0), full(43.0, 75.0), rtol=0, atol=1e-13)
    assert part.bounding_box.bounding_box(order="F") == ((-0.5, 47.5), (-0.5, 31.5))


def test_filter_offset_is_added_to_pixels():
    shifted = imaging_wcs(
        scenes.meta(), (128, 128), scenes.references(filteroffset=scenes.filteroffset(0.25, -0.5))
    )
    plain = imaging_wcs(scenes.meta(), (128, 128), scenes.references())
    assert_allclose(shifted(10.0, 20.0), plain(10.25, 19.5), rtol=0, atol=1e-13)
    other = imaging_wcs(
        scenes.meta(FILTER="F090W"), (128, 128), scenes.references(filteroffset=scenes.filteroffset(0.25))
    )
    assert other(10.0, 20.0) == plain(10.0, 20.0)


def test_no_filter_offset_reference():
    references = References({"distortion": scenes.distortion()})
    wcs = imaging_wcs(scenes.meta(INSTRUME="FGS"), (128, 128), references)
    assert np.isfinite(wcs(1.0, 2.0)).all()


def test_file_keeps_the_wcs(tmp_path):
    made = assign_wcs(scenes.rate(np.ones((128, 128))), scenes.references())
    write(made, tmp_path / "jw01234001001_02101_00001_nrca1_cal.fits")
    found = read(tmp_path / "jw01234001001_02101_00001_nrca1_cal.fits")
    assert found.meta.wcs.available_frames == ["detector", "v2v3", "v2v3vacorr", "world"]
    assert found.meta.wcs(12.0, 100.0) == made.meta.wcs(12.0, 100.0)
    assert found.meta.get("S_REGION").startswith("POLYGON ICRS  53.16")
    assert found.meta.get("S_WCS") == "COMPLETE"


STALE = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 1000.0, "CRPIX2": 900.0, "CRVAL1": 53.1602,
    "CRVAL2": -27.8001, "CDELT1": 8.6e-6, "CDELT2": 8.6e-6, "PC1_1": -1.0, "PC1_2": 0.0, "PC2_1": 0.0,
    "PC2_2": 1.0, "A_ORDER": 4, "A_4_0": 1e-9,
}  # fmt: skip
"""What a raw exposure's header says: the pointing, without distortion; and a card of another fit."""


@pytest.mark.parametrize("dec", [-27.8, 89.99])
def test_header_agrees_with_the_gwcs(dec):
    """On a full frame, at the corners as within; either way."""
    shape = (2048, 2048)
    references = scenes.references(distortion=scenes.distortion(centre=(1023.5, 1023.5)))
    about = scenes.meta(dec=dec).with_science(**STALE)
    made = assign_wcs(scenes.rate(np.ones(shape), about=about), references)
    header = made.meta.science.header()
    assert not {"PC1_1", "PC2_2", "CDELT1", "CDELT2", "A_4_0"} & set(header)
    assert (header["CTYPE1"], header["CTYPE2"]) == ("RA---TAN-SIP", "DEC--TAN-SIP")
    assert (header["CRPIX1"], header["A_ORDER"], header["AP_ORDER"]) == (1000.0, 3, 3)
    x, y = np.meshgrid(np.linspace(-0.5, 2047.5, 9), np.linspace(-0.5, 2047.5, 9))
    sky = made.meta.wcs(x, y)
    read_back = WCS(header)
    focal = np.array(read_back.wcs_world2pix(*sky, 1)) - read_back.wcs.crpix[:, None, None]
    for back in (read_back.all_world2pix(*sky, 0), np.array(read_back.sip_foc2pix(*focal, 1)) - 1):
        assert np.hypot(back[0] - x, back[1] - y).max() < 0.01
    there = read_back.all_pix2world(x, y, 0)
    off = np.rad2deg(angular_separation(*np.deg2rad(there), *np.deg2rad(sky))) * 3600 / scenes.SCALE
    assert off.max() < 0.01


def test_header_of_a_subarray_and_of_an_undistorted_image():
    at = {"SUBARRAY": "SUB", "SUBSTRT1": 41, "SUBSTRT2": 71, "SUBSIZE1": 48, "SUBSIZE2": 32}
    rate = scenes.rate(np.ones((32, 48)), about=scenes.meta(**at).with_science(**STALE))
    made = assign_wcs(rate, scenes.references(distortion=scenes.distortion(strength=0.0)))
    header = made.meta.science.header()
    assert "A_ORDER" not in header
    x, y = np.array([0.0, 47.0, 20.0]), np.array([0.0, 31.0, 11.0])
    back = WCS(header).all_world2pix(*made.meta.wcs(x, y), 0)
    assert_allclose(back, (x, y), rtol=0, atol=0.01)


def test_reference_is_not_altered():
    references = scenes.references()
    first = imaging_wcs(scenes.meta(), (128, 128), references)
    before = first(5.0, 6.0)
    imaging_wcs(scenes.meta(SUBSTRT1=9, SUBSIZE1=16, SUBSIZE2=16), (16, 16), references)
    assert first(5.0, 6.0) == before
    assert first.bounding_box.bounding_box(order="F")[0] == (-0.5, 127.5)


def test_missing_pointing():
    about = scenes.meta().with_science(RA_REF=None)
    with pytest.raises(Unprocessable, match=r"step assign_wcs: .*RA_REF"):
        assign_wcs(scenes.rate(np.ones((16, 16)), about=about), scenes.references((16, 16)))


def test_nonsense_aberration():
    with pytest.raises(Unprocessable, match=r"VA_SCALE = -1\.0 must be positive"):
        imaging_wcs(scenes.meta(VA_SCALE=-1.0), (16, 16), scenes.references((16, 16)))


def test_distortion_without_transform():
    references = scenes.references(distortion=scenes.model("distortion", {"something": 1}))
    with pytest.raises(Unprocessable, match=r"distortion_0001\.asdf: the file has no transform"):
        imaging_wcs(scenes.meta(), (16, 16), references)
