"""Catalogues: fluxes and errors against truth, awkward sources, bad input, files."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from stdatamodels.jwst import datamodels

from processors.image3 import resample, source_catalog
from processors.image3.photometry import aperture_flux, coefficients_of, local_background
from schemas.catalogue_file import read_catalogue, write_catalogue
from schemas.content import content_digest
from schemas.dq import DQ
from schemas.errors import Unprocessable, UsageError
from schemas.references import References
from schemas.writing import write
from tests.processors.image3 import fields

NOISE = {"var_poisson": (1e-4, 1e-4), "var_rnoise": (1e-4, 1e-4)}
FLUX = np.array([2e-6, 8e-7, 5e-6, 1e-6, 3e-6, 1.5e-6, 6e-6, 9e-7, 4e-6])


def starfield(flux=FLUX, seed=1, count=4, noise=True):
    """A mosaic of nine stars on a lattice and their positions."""
    base = fields.images((160, 160), count=count, **NOISE)
    rng = np.random.default_rng(seed)
    x, y = (30.0 + 50 * np.indices((3, 3)) + rng.uniform(-2, 2, (2, 3, 3))).reshape(2, -1)
    sky = base[0].meta.wcs(x, y)
    members = [fields.with_stars(image, sky, flux) for image in base]
    if noise:
        members = [fields.noisy(image, rng) for image in members]
    return resample(fields.together(members)), SkyCoord(*sky, unit="deg")


def matched(catalogue, sky):
    index, off, _ = sky.match_to_catalog_sky(catalogue.sources["sky_centroid"])
    assert off.arcsec.max() < 0.1
    return catalogue.sources[index]


def test_fluxes_and_positions():
    mosaic, sky = starfield(noise=False)
    found = source_catalog(mosaic, fields.catalogue_references())
    assert len(found.catalogue.sources) == 9
    stars = matched(found.catalogue, sky)
    ratio = stars["aper_total_flux"].to_value(u.Jy) / FLUX
    assert abs(ratio.mean() - 1) < 0.001
    assert_allclose(ratio, 1, atol=0.003)
    assert stars["sky_centroid"].separation(sky).mas.max() < 1
    # Two more squares of a pixel's side than on the detector: the drop and the mosaic's pixel.
    wider = (fields.SIGMA**2 + 2 / 12) / (fields.SIGMA**2 + 4 / 12)
    energies = [1 - (1 - energy / 100) ** wider for energy in (30, 50, 70)]
    for column, energy in zip(("aper30_flux", "aper50_flux"), energies, strict=False):
        assert_allclose(stars[column] / stars["aper70_flux"], energy / energies[-1], rtol=0.05)
    assert_allclose(stars["aper_total_abmag"], -2.5 * np.log10(FLUX / 3631), atol=4e-3)
    assert_allclose(stars["aper_total_abmag"] - stars["aper_total_vegamag"], 1.25, atol=1e-12)
    assert not stars["is_extended"].any()
    assert found.catalogue.sources.meta["abvega_offset"] == 1.25


def test_errors_of_stars():
    pulls = []
    for seed in range(6):
        mosaic, sky = starfield(FLUX / 20, seed=seed)
        stars = matched(source_catalog(mosaic, fields.catalogue_references(), npixels=9).catalogue, sky)
        light, err = (stars[name].to_value(u.Jy) for name in ("aper_total_flux", "aper_total_flux_err"))
        pulls.append((light - FLUX / 20) / err)
    assert abs(np.std(pulls) - 1) < 0.25
    assert abs(np.mean(pulls)) < 3 / np.sqrt(54)


@pytest.mark.parametrize("options", [{}, {"pixel_scale_ratio": 0.6, "pixfrac": 0.8}], ids=["square", "fine"])
def test_errors_of_apertures_on_blank_sky(options):
    """The scatter of hundreds of apertures is their error; independent pixels' errors are far too small."""
    rng, values = np.random.default_rng(4), []
    for _ in range(2):
        base = fields.images((200, 200), **NOISE)
        mosaic = resample(fields.together([fields.noisy(image, rng) for image in base]), **options)
        scale = 1 / options.get("pixel_scale_ratio", 1.0)
        step = 9 * scale
        xy = np.stack(
            np.meshgrid(*[np.arange(40 * scale, n - 40 * scale, step) for n in mosaic.data.shape[::-1]]),
            axis=-1,
        )
        xy = xy.reshape(-1, 2)
        data, err = mosaic.data.astype(float), mosaic.err.astype(float)
        coefficients = coefficients_of(mosaic.meta)
        sky = local_background(data, xy, (12 * scale, 20 * scale), coefficients)
        made = aperture_flux(data, err, xy, 3.5 * scale, sky, coefficients)
        blind = aperture_flux(data, err, xy, 3.5 * scale, sky, np.eye(3)[1:2] * np.eye(3)[1:2].T)
        values.append((made.flux / made.flux_err, made.flux / blind.flux_err))
    known, independent = (np.concatenate(part) for part in zip(*values, strict=True))
    assert known.size > 300
    assert abs(known.std() - 1) < 0.1
    assert independent.std() > 1.2


def test_errors_of_the_background():
    rng = np.random.default_rng(8)
    base = fields.images((200, 200), **NOISE)
    mosaic = resample(fields.together([fields.noisy(image, rng) for image in base]))
    xy = np.stack(
        np.meshgrid(*[np.arange(30, n - 30, 12.0) for n in mosaic.data.shape[::-1]]), axis=-1
    ).reshape(-1, 2)
    sky = local_background(mosaic.data.astype(float), xy, (4.0, 7.0), coefficients_of(mosaic.meta))
    assert abs(np.std(sky.level / sky.level_err) - 1) < 0.15


def test_errors_say_how_they_were_made():
    mosaic, _ = starfield()
    aware = source_catalog(mosaic, fields.catalogue_references()).catalogue.sources
    blind = source_catalog(mosaic, fields.catalogue_references(), correlated_errors=False).catalogue.sources
    assert "correlated noise" in aware["aper30_flux_err"].info.description
    assert "independent" in blind["aper30_flux_err"].info.description
    assert np.all(aware["aper70_flux_err"] > 1.2 * blind["aper70_flux_err"])
    # Pixels that average several have less noise and share more of it: only the former shows in their errors.
    uneven, even = (found["aper_total_flux_err"].value for found in (blind, aware))
    assert uneven.std() / uneven.mean() > 0.08
    assert even.std() / even.mean() < 0.03
    assert_array_equal(aware["aper_total_flux"], blind["aper_total_flux"])


def test_blends_are_split():
    base = fields.images((120, 120), count=2, **NOISE)
    sky = base[0].meta.wcs(np.array([60.0, 65.5]), np.array([60.0, 60.0]))
    members = [fields.with_stars(image, sky, [2e-6, 2e-6]) for image in base]
    mosaic = resample(fields.together([fields.noisy(image, np.random.default_rng(1)) for image in members]))
    split = source_catalog(mosaic, fields.catalogue_references(), npixels=5)
    whole = source_catalog(mosaic, fields.catalogue_references(), npixels=5, deblend=False)
    assert len(split.catalogue.sources) == 2
    assert len(whole.catalogue.sources) == 1
    assert split.segmentation.data.max() == 2
    assert_allclose(split.catalogue.sources["nn_dist"].value, 5.5, atol=0.3)


def test_extended_sources():
    mosaic, sky = starfield(noise=False)
    y, x = np.indices(mosaic.data.shape)
    at = mosaic.meta.wcs.invert(sky[4].ra.deg, sky[4].dec.deg, with_bounding_box=False)
    galaxy = 0.8 * np.exp(-(((x - at[0]) / 6) ** 2 + ((y - at[1]) / 3) ** 2) / 2)
    blank = np.where(np.hypot(x - at[0], y - at[1]) < 12, 0, mosaic.data)
    found = source_catalog(
        replace(mosaic, data=(blank + galaxy).astype(np.float32)),
        fields.catalogue_references(),
        ci1_star_threshold=1.8,
        ci2_star_threshold=1.55,
    )
    row = matched(found.catalogue, sky)[4]
    assert found.catalogue.sources["is_extended"].sum() == 1
    assert row["is_extended"]
    assert_allclose(row["ellipticity"], 0.5, atol=0.05)
    assert_allclose((row["orientation"].value + 90) % 180, 90, atol=2)
    ends = mosaic.meta.wcs(np.array([at[0], at[0] + 1]), np.array([at[1], at[1]]))
    axis = SkyCoord(ends[0][0], ends[1][0], unit="deg").position_angle(
        SkyCoord(ends[0][1], ends[1][1], unit="deg")
    )
    assert_allclose(np.sin(row["sky_orientation"].to(u.rad).value - axis.rad), 0, atol=0.05)


def test_missing_pixels_spoil_one_source_only():
    mosaic, sky = starfield()
    at = [
        round(float(v))
        for v in mosaic.meta.wcs.invert(sky[4].ra.deg, sky[4].dec.deg, with_bounding_box=False)
    ]
    holed = replace(mosaic, **{name: getattr(mosaic, name).copy() for name in ("data", "err")})
    holed.data[at[1] + 1, at[0]] = np.nan
    stars = matched(source_catalog(holed, fields.catalogue_references()).catalogue, sky)
    assert_array_equal(np.isnan(stars["aper_total_flux"]), np.arange(9) == 4)
    assert np.isfinite(stars["isophotal_flux"]).all()


def test_aperture_over_the_edge_is_not_a_number():
    data, err = np.ones((20, 20)), np.ones((20, 20))
    xy = np.array([[10.0, 10.0], [1.0, 10.0], [-50.0, 5.0]])
    sky = local_background(data, xy, (4.0, 6.0), coefficients_of(starfield(count=1)[0].meta))
    made = aperture_flux(data, err, xy, 3.0, sky, np.ones((1, 1)))
    assert_array_equal(np.isfinite(made.flux), [True, False, False])
    assert_allclose(made.flux[0], 0, atol=1e-12)


def test_empty_sky():
    base = fields.images((64, 64), **NOISE)
    mosaic = resample(fields.together([fields.noisy(image, np.random.default_rng(2)) for image in base]))
    found = source_catalog(mosaic, fields.catalogue_references(), snr_threshold=20.0)
    filled, _ = starfield()
    full = source_catalog(filled, fields.catalogue_references()).catalogue.sources
    assert len(found.catalogue.sources) == 0
    assert found.catalogue.sources.colnames == full.colnames
    assert found.segmentation.data.max() == 0
    assert found.meta.quality["sources"] == 0


def test_no_filter_no_apertures():
    mosaic, _ = starfield(count=1)
    other = replace(mosaic, meta=mosaic.meta.with_primary(FILTER="F090W"))
    with pytest.raises(Unprocessable, match=r"apcorr_0001\.fits: .* no row for filter F090W, pupil CLEAR"):
        source_catalog(other, fields.catalogue_references())
    with pytest.raises(Unprocessable, match="0 apertures of 33 % encircled energy; choose from 30, 50, 70"):
        source_catalog(mosaic, fields.catalogue_references(), aperture_ee1=33)
    with pytest.raises(UsageError, match="must ascend"):
        source_catalog(mosaic, fields.catalogue_references(), aperture_ee1=80)
    with pytest.raises(Unprocessable, match="no 'apcorr' reference"):
        source_catalog(mosaic, References())


@pytest.mark.parametrize("column", ["apcorr", "radius", "eefraction", "skyin"])
def test_apertures_that_are_not_numbers(column):
    mosaic, _ = starfield(count=1)
    good = fields.catalogue_references()
    table = good.table("apcorr").table().copy()
    table[column][0] = np.nan
    held = {"apcorr": good.table("apcorr"), "abvegaoffset": good.model("abvegaoffset")}
    held["apcorr"] = replace(held["apcorr"], tables={"APCORR": table})
    with pytest.raises(Unprocessable, match="0 apertures of 30 % encircled energy; choose from 50, 70"):
        source_catalog(mosaic, References(held))
    table[column] = np.nan
    with pytest.raises(
        Unprocessable, match=r"apcorr_0001\.fits: none of the 3 rows for this filter has finite"
    ):
        source_catalog(mosaic, References(held))


def test_not_calibrated():
    mosaic, _ = starfield(count=1)
    with pytest.raises(Unprocessable, match="BUNIT = 'DN/s'"):
        source_catalog(
            replace(mosaic, meta=mosaic.meta.with_science(BUNIT="DN/s")), fields.catalogue_references()
        )
    nothing = replace(mosaic, wht=np.zeros_like(mosaic.wht))
    with pytest.raises(Unprocessable, match="no pixel is covered"):
        source_catalog(nothing, fields.catalogue_references())


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000))
def test_input_is_left_alone(seed):
    mosaic, _ = starfield(seed=seed, count=1)
    before = content_digest(mosaic)
    source_catalog(mosaic, fields.catalogue_references())
    assert content_digest(mosaic) == before


def test_files(tmp_path):
    mosaic, _ = starfield()
    found = source_catalog(mosaic, fields.catalogue_references())
    assert found.segmentation.meta.provenance.steps[-1].step == "source_catalog"
    catalogue, segm = tmp_path / "jw01234_cat.ecsv", tmp_path / "jw01234_segm.fits"
    digest = write_catalogue(found.catalogue, catalogue)
    first = catalogue.read_bytes()
    back = read_catalogue(catalogue)
    assert content_digest(back) == content_digest(found.catalogue) == digest
    assert back.meta.provenance == found.catalogue.meta.provenance
    assert back.meta.get("FILTER") == "F150W"
    assert back.sources["aper_total_flux"].unit == u.Jy
    assert write_catalogue(back, catalogue) == digest
    assert catalogue.read_bytes() == first
    assert (
        QTable.read(catalogue)["sky_centroid"]
        .separation(found.catalogue.sources["sky_centroid"])
        .max()
        .arcsec
        == 0
    )
    write(found.segmentation, segm)
    with datamodels.open(segm, strict_validation=True) as model:
        assert isinstance(model, datamodels.SegmentationMapModel)
        assert_array_equal(model.data, found.segmentation.data)


def test_what_is_no_catalogue(tmp_path):
    wrong = tmp_path / "wrong_cat.ecsv"
    wrong.write_text("a,b\n1,2\n")
    with pytest.raises(Unprocessable, match=r"wrong_cat\.ecsv: cannot be read as an ECSV table"):
        read_catalogue(wrong)
    with pytest.raises(Unprocessable, match=r"none_cat\.ecsv: .*(check the path|no such file)"):
        read_catalogue(tmp_path / "none_cat.ecsv")


def test_flags_do_not_reach_the_catalogue():
    """A bright pixel that is flagged in one image makes no source."""
    base = fields.images((64, 64), **NOISE)
    rng = np.random.default_rng(3)
    members = [fields.noisy(image, rng) for image in base]
    members[0].data[30:36, 30:36] = 1e3
    members[0].dq[30:36, 30:36] = DQ.DO_NOT_USE
    mosaic = resample(fields.together(members))
    assert (
        len(source_catalog(mosaic, fields.catalogue_references(), snr_threshold=10.0).catalogue.sources) == 0
    )
