"""On mosaics of finer pixels apertures cover the same sky, and hold the same light."""

import numpy as np
import pytest
from astropy.table import QTable

from processors.image3 import resample, source_catalog
from processors.image3.apertures import apertures
from tests.processors.image3 import fields

FLUX = 2e-5
"""Of each star, Jy."""


@pytest.fixture(scope="module")
def exposures():
    """Four dithers of nine stars, without noise."""
    base = fields.images((120, 120), var_poisson=(1e-6, 1e-6), var_rnoise=(1e-6, 1e-6))
    x, y = (grid.ravel() for grid in np.meshgrid([30.2, 60.4, 90.7], [30.1, 60.6, 89.8]))
    sky = base[0].meta.wcs(x, y)
    return [fields.with_stars(image, sky, np.full(9, FLUX)) for image in base]


def catalogue(exposures, **options) -> tuple[QTable, float]:
    mosaic = resample(fields.together(exposures), **options)
    # Wide apertures: how far light is spread by pixels differs between the two.
    energies = {"aperture_ee1": 80, "aperture_ee2": 90, "aperture_ee3": 95}
    found = source_catalog(mosaic, fields.catalogue_references(tuple(energies.values())), **energies)
    return found.catalogue.sources, mosaic.meta.get("PXSCLRT")


def test_radii_and_annulus_are_in_pixels_of_the_mosaic(exposures):
    given = fields.catalogue_references((30, 50, 70))
    meta = resample(fields.together(exposures)).meta
    whole, fine = (apertures(meta.with_primary(PXSCLRT=r), given, (30, 50, 70)) for r in (1.0, 0.5))
    np.testing.assert_allclose(fine.radii, 2 * np.array(whole.radii))
    np.testing.assert_allclose(fine.annulus, 2 * np.array(whole.annulus))
    assert fine.corrections == whole.corrections


def test_stars_have_the_same_flux_on_finer_pixels(exposures):
    whole, ratio = catalogue(exposures)
    fine, half = catalogue(exposures, pixel_scale_ratio=0.5, pixfrac=0.8)
    assert (ratio, half) == (1.0, 0.5)
    for found in (whole, fine):
        light = found["aper_total_flux"].to_value("Jy")
        assert len(light) == 9
        np.testing.assert_allclose(light / FLUX, 1, atol=0.03)
