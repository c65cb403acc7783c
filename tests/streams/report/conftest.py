"""A small folder of products with its truth: one mosaic with sixteen stars, three exposures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import ICRS, SkyCoord
from astropy.io import fits
from astropy.modeling.models import Pix2Sky_TAN, RotateNative2Celestial, Rotation2D, Scale, Shift
from astropy.table import QTable
from gwcs import WCS, coordinate_frames

from schemas.catalogue_file import write_catalogue
from schemas.meta import Keywords, Meta, Provenance, StepRecord
from schemas.products import Catalogue, Rate, Resampled
from schemas.writing import write
from streams.run.record import RecordedEnding, RecordedStage, RunRecord, write_record

SIZE = 160
MOSAIC = "jw01234-o001_t001_nircam_clear-f200w"
EXPOSURES = tuple(f"jw01234001001_02101_0000{i}_nrca1" for i in (1, 2, 3))
NOISE = 0.1


def sky_wcs(angle=30.0, size=SIZE):
    """North is `angle` degrees from up, to the left; 31 mas a pixel."""
    forward = (
        (Shift(-size / 2) & Shift(-size / 2))
        | (Scale(-0.031 / 3600) & Scale(0.031 / 3600))
        | Rotation2D(angle)
        | Pix2Sky_TAN()
        | RotateNative2Celestial(80.0, -69.0, 180.0)
    )
    world = coordinate_frames.CelestialFrame(name="world", reference_frame=ICRS(), unit=(u.deg, u.deg))
    pixel = coordinate_frames.Frame2D(name="detector", unit=(u.pix, u.pix))
    return WCS([(pixel, forward), (world, None)])


def meta(stage, **cards):
    jump = StepRecord(
        step="jump",
        outcome="complete",
        options={"rejection_threshold": 5.5, "grow": 1},
        origins={"rejection_threshold": "command line"},
        references={"gain": {"name": "jwst_nircam_gain_0001.fits", "digest": "ab" * 32}},
    )
    primary = {
        "TELESCOP": "JWST", "INSTRUME": "NIRCAM", "FILTER": "F200W", "PUPIL": "CLEAR",
        "TARGPROP": "A <b>field</b>",
        "CAL_VER": "0.1.0", "CAL_VCS": "calstream", "CRDS_CTX": "jwst_0042.pmap", "PROGRAM": "01234", **cards,
    }  # fmt: skip
    return Meta(
        primary=Keywords(primary),
        science=Keywords({"BUNIT": "MJy/sr"}),
        wcs=sky_wcs(),
        provenance=Provenance(steps=(jump,), run={"stage": stage, "run_key": "cd" * 32}),
    )


def rate(data, stage, **quality):
    err = np.full(data.shape, NOISE, np.float32)
    known = meta(stage)
    if quality:
        run = {**known.provenance.run, "quality": quality}
        known = replace(known, provenance=replace(known.provenance, run=run))
    return Rate(
        meta=known,
        data=data.astype(np.float32),
        err=err,
        dq=np.zeros(data.shape, np.uint32),
        var_poisson=err**2,
        var_rnoise=np.zeros_like(err),
    )


def resampled(data, stage, exposures):
    err = np.full(data.shape, NOISE, np.float32)
    return Resampled(
        meta=meta(stage, EFFEXPTM=30.0),
        data=data.astype(np.float32),
        err=err,
        con=np.full((1, *data.shape), 2**exposures - 1, np.int32),
        wht=np.ones(data.shape, np.float32),
        var_poisson=err**2,
        var_rnoise=np.zeros_like(err),
    )


def catalogue(truth, x, y, rng):
    table = QTable()
    flux = truth["flux"] * (1 + 0.001 * rng.standard_normal(len(truth)))
    table["label"] = np.arange(1, len(truth) + 1, dtype=np.int32)
    table["xcentroid"], table["ycentroid"] = x, y
    table["sky_centroid"] = SkyCoord(truth["ra"], truth["dec"])
    table["aper_total_flux"], table["aper_total_flux_err"] = flux, 0.001 * flux
    table["aper_total_abmag"] = -2.5 * np.log10(flux.value / 3631)
    table["aper_total_abmag_err"] = np.full(len(truth), 0.001)
    table["aper_total_abmag"][3] = np.nan
    return Catalogue(meta=meta("image3"), sources=table)


@pytest.fixture(scope="session")
def products(tmp_path_factory):
    """Products, ``truth/`` and ``run.json``; tests that alter them copy the folder."""
    folder = tmp_path_factory.mktemp("products")
    (folder / "truth").mkdir()
    rng = np.random.default_rng(7)
    y, x = (v.ravel() + rng.uniform(-8, 8, 16) for v in np.mgrid[20:140:4j, 20:140:4j])
    ra, dec = sky_wcs()(x, y)
    truth = QTable({"ra": ra * u.deg, "dec": dec * u.deg, "flux": rng.uniform(1e-4, 1e-3, 16) * u.Jy})
    truth["abmag"] = -2.5 * np.log10(truth["flux"].value / 3631)
    truth["kind"], truth["isolated"] = "star", True
    truth.meta["filter"] = "F200W"
    truth.write(folder / "truth/sources.ecsv", format="ascii.ecsv")
    true = np.ones((SIZE, SIZE))
    for number, name in enumerate(EXPOSURES):
        data = true + NOISE * rng.standard_normal(true.shape)
        write(rate(data, "detector1+ramp_fit"), folder / f"{name}_rate.fits")
        figures = {"cosmic_ray_rate": 4.321 + number} if number else {}
        write(rate(data, "image2", **figures), folder / f"{name}_cal.fits")
        write(resampled(data, "image2", 1), folder / f"{name}_i2d.fits")
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(true, name="CAL")]).writeto(
            folder / f"truth/{name}_truth.fits"
        )
    write(
        resampled(true + NOISE * rng.standard_normal(true.shape), "image3", 3), folder / f"{MOSAIC}_i2d.fits"
    )
    write_catalogue(catalogue(truth, x, y, rng), folder / f"{MOSAIC}_cat.ecsv")
    write_record(record(), folder / "run.json")
    return folder


def record():
    works = [
        RecordedStage(
            stage="detector1+ramp_fit", name=name, outcome="complete", began=1000.0 + i, ended=1001.0 + i
        )
        for i, name in enumerate(EXPOSURES)
    ]
    works += [
        RecordedStage(
            stage="image2", name=EXPOSURES[0], outcome="failed", sentence="no <flat>", began=1004, ended=1005
        ),
        RecordedStage(stage="image3", name=MOSAIC, outcome="complete", began=1005.0, ended=1010.0),
    ]
    return RunRecord(
        software="0.1.0",
        recipe="optimal",
        until="combined",
        began=1000.0,
        ended=1010.0,
        stages=tuple(works),
        endings=(RecordedEnding(name=MOSAIC, level="combined", reason="the end of the road"),),
    )
