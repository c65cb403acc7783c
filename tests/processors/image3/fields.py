"""Dithered calibrated images with known truth, and references for catalogues."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy.table import Table
from scipy.special import erf

from processors.image2 import assign_wcs, photom
from processors.image3 import ImageSet
from schemas.references import References, TableReference
from tests.processors.image2 import scenes

SIGMA = 1.3
"""Of the Gaussian PSF, detector pixels."""

DITHERS = ((0.0, 0.0, 0.0), (3.31e-5, 1.13e-5, 0.0), (1.07e-5, -2.71e-5, 1.7), (-2.03e-5, 2.17e-5, -2.3))
"""Offsets in right ascension, declination and roll, degrees."""


def images(shape, count=4, seed=1, var_poisson=(0.5, 1.5), var_rnoise=(0.5, 2.0)):
    """Noiseless images of zeros with uneven variances, calibrated (1 DN/s is 1 MJy/sr)."""
    rng = np.random.default_rng(seed)
    centre = tuple((size - 1) / 2 for size in shape[::-1])
    references = scenes.references(
        shape,
        photom=scenes.photom_reference([("F150W", "CLEAR", 1.0, 0.0)]),
        distortion=scenes.distortion(centre=centre),
    )
    made = []
    for index, (dra, ddec, droll) in enumerate(DITHERS[:count]):
        about = scenes.meta(ra=53.16 + dra, dec=-27.8 + ddec, roll=33.0 + droll, exposure=index + 1)
        about = about.with_primary(FILENAME=f"jw01234001001_02101_{index + 1:05d}_nrca1_cal.fits")
        rate = scenes.rate(
            np.zeros(shape), var_poisson=rng.uniform(*var_poisson, shape),
            var_rnoise=rng.uniform(*var_rnoise, shape),
            about=about,
        )  # fmt: skip
        made.append(photom(assign_wcs(rate, references), references))
    return made


def noisy(image, rng):
    """The image with noise as its variances say."""
    noise = rng.normal(size=image.data.shape) * np.sqrt(image.var_poisson + image.var_rnoise)
    return replace(
        image, data=(image.data + noise).astype(np.float32), err=np.sqrt(image.var_poisson + image.var_rnoise)
    )


def together(members):
    return ImageSet.of([lambda image=image: image for image in members], headers=[m.meta for m in members])


def with_stars(image, sky, flux):
    """The image with point sources: (ra, dec) in degrees and flux in Jy, light integrated over pixels."""
    ny, nx = image.data.shape
    x, y = image.meta.wcs.invert(*sky, with_bounding_box=False)
    x, y = exact_inverse(image.meta.wcs, sky, x, y)
    edges_x, edges_y = np.arange(nx + 1) - 0.5, np.arange(ny + 1) - 0.5
    area = local_area(image.meta.wcs, x, y)
    data = image.data.astype(float)
    for xs, ys, light, steradian in zip(x, y, flux, area, strict=True):
        along_x = np.diff(erf((edges_x - xs) / (np.sqrt(2) * SIGMA))) / 2
        along_y = np.diff(erf((edges_y - ys) / (np.sqrt(2) * SIGMA))) / 2
        data += light / 1e6 / steradian * np.outer(along_y, along_x)
    return replace(image, data=data.astype(np.float32))


def exact_inverse(wcs, sky, x, y):
    """Pixels of sky positions, by Newton steps from a guess: the scenes' inverses are of first order."""
    for _ in range(8):
        ra, dec = wcs(x, y, with_bounding_box=False)
        left = np.stack([sky[0] - ra, sky[1] - dec])
        step = 1e-3
        dx = (np.stack(wcs(x + step, y, with_bounding_box=False)) - np.stack([ra, dec])) / step
        dy = (np.stack(wcs(x, y + step, with_bounding_box=False)) - np.stack([ra, dec])) / step
        determinant = dx[0] * dy[1] - dx[1] * dy[0]
        x = x + (left[0] * dy[1] - left[1] * dy[0]) / determinant
        y = y + (dx[0] * left[1] - dx[1] * left[0]) / determinant
    return x, y


def local_area(wcs, x, y):
    """Area of the pixel at each position, steradians."""
    step = 1e-3
    ra, dec = wcs(x, y, with_bounding_box=False)
    across = [
        np.deg2rad(np.stack(wcs(x + a, y + b, with_bounding_box=False)) - np.stack([ra, dec])) / step
        for a, b in ((step, 0), (0, step))
    ]
    return np.abs(across[0][0] * across[1][1] - across[0][1] * across[1][0]) * np.cos(np.deg2rad(dec))


def catalogue_references(energies=(30, 50, 70), sigma=SIGMA, annulus=(10.0, 16.0)):
    """Apertures of a Gaussian PSF on the detector's pixels.

    Two squares of a pixel's side broaden it: the pixel, and that pixel again when an aperture cuts it as if
    its light were even.
    """
    width = np.sqrt(sigma**2 + 2 / 12)
    dtype = [("filter", "S12"), ("pupil", "S15"), ("eefraction", "f4"), ("radius", "f4"), ("apcorr", "f4"),
             ("skyin", "f4"), ("skyout", "f4")]  # fmt: skip
    rows = []
    for energy in energies:
        radius = width * np.sqrt(-2 * np.log(1 - energy / 100))
        rows.append(("F150W", "CLEAR", energy / 100, radius, 100 / energy, *annulus))
    apcorr = TableReference(
        reftype="apcorr", name="jwst_nircam_apcorr_0001.fits", digest="0" * 64, keywords={},
        tables={"APCORR": np.array(rows, dtype)},
    )  # fmt: skip
    offsets = Table({"filter": ["F150W"], "pupil": ["CLEAR"], "abvega_offset": [1.25]})
    return References(
        {"apcorr": apcorr, "abvegaoffset": scenes.model("abvegaoffset", {"abvega_offset": offsets})}
    )
