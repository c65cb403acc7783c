"""Rate to cal, mosaic and catalogue against the peer, from the same rates and the same references.

| what | tolerance | differences that are meant |
| --- | --- | --- |
| sky positions of pixels | 0.01 mas | none |
| cal: data, errors, variances | 1e-5 relative, the same NaN | none |
| cal: DQ | the same | none |
| i2d: grid | 1e-4 pixel | none |
| i2d: data | 1e-3 sigma | pixel positions are interpolated (to 1e-6 pixel) |
| i2d: context | the same on 99.99 % of pixels | a pixel may just touch one here and not there |
| i2d: errors, ``variance: interpolated`` | 1e-4 relative | none |
| i2d: errors, by default | 0.45 to 0.9 of the peer's | (1) |
| catalogue: fluxes, magnitudes | 1e-4 relative | NaN where an aperture reaches over the data's edge |
| catalogue: errors, ``correlated_errors: false`` | 10 % | (2) |
| catalogue: positions | 1e-3 pixel | none |

(1) Propagated exactly: a pixel that averages several has less noise than each of them. (2) The pixels at the
edge of an aperture count with their squared share here, with the share itself there.
"""

import functools
import os
import subprocess

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from processors.detector1 import DETECTOR1_NIR
from processors.image2 import IMAGE2
from processors.image3 import ImageSet, resample, source_catalog
from processors.ramp_fit import RAMP_FIT, Average
from schemas.reading import ProductFile, read
from schemas.references import Window
from schemas.writing import write
from streams.references import ReferenceLibrary
from tests.parity import peer

pytestmark = pytest.mark.peer

SCRIPT = """
import sys
from jwst.pipeline import Image2Pipeline
from jwst.resample import ResampleStep
from jwst.source_catalog import SourceCatalogStep

if __name__ == "__main__":
    folder, *rates = sys.argv[1:]
    for rate in rates:
        Image2Pipeline.call(rate, save_results=True, output_dir=folder)
    mosaic = ResampleStep.call([rate.replace("_rate", "_cal") for rate in rates])
    mosaic.save(folder + "/mosaic_i2d.fits")
    SourceCatalogStep.call(folder + "/mosaic_i2d.fits", save_results=True, output_dir=folder)
"""


class Processed:
    """Two dithers on two detectors: our rates, and what the peer made of them in the same folder."""

    def __init__(self, folder):
        from simulator.downlink import write_downlink
        from simulator.observation import Request

        request = Request("NRC_IMAGE", ("NRCA1", "NRCA3"), "F200W", "SUB160", "RAPID", 5, 1, 2, 11, None)
        uncals = write_downlink(request, folder)
        self.rates = [folder / path.name.replace("_uncal", "_rate") for path in uncals]
        for uncal, rate in zip(uncals, self.rates, strict=True):
            write(self.rate(uncal), rate)
        keep = {key: value for key, value in os.environ.items() if not key.startswith("CRDS")}
        script = folder / "images.py"
        script.write_text(SCRIPT)
        done = subprocess.run(
            [peer.interpreter(), str(script), str(folder), *map(str, self.rates)],
            env={**keep, "CRDS_PATH": os.environ["CRDS_PATH"]},
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        self.cals = [folder / path.name.replace("_rate", "_cal") for path in self.rates]
        self.mosaic = folder / "mosaic_i2d.fits"
        self.catalogue = folder / "mosaic_cat.ecsv"

    def rate(self, uncal):
        product = read(uncal)
        references = self.references(product.meta, (*DETECTOR1_NIR.steps, *RAMP_FIT.steps), product.shape[2:])
        (fitted,) = RAMP_FIT.stream(DETECTOR1_NIR.stream([product], references, {}), references, {})
        average = Average(references)
        average.add(fitted)
        return average.result()

    @staticmethod
    def references(meta, steps, shape):
        wanted = sorted({reftype for step in steps for reftype in step.wanted})
        keywords = {**meta.science, **meta.primary}
        return ReferenceLibrary().references(keywords, wanted, Window.of(meta.primary, shape))

    def our_cal(self, rate):
        product = read(rate)
        return IMAGE2(product, self.references(product.meta, IMAGE2.steps, product.data.shape))

    def images(self):
        """The peer's cals, so that what follows has the same input."""
        headers = []
        for cal in self.cals:
            with ProductFile(cal) as file:
                headers.append(file.meta)
        return ImageSet.of([functools.partial(read, cal) for cal in self.cals], headers=headers)


@pytest.fixture(scope="module")
def processed(need_peer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CRDS_PATH", str(folder / "crds_cache"))
        for variable in ("CRDS_CONTEXT", "CRDS_SERVER_URL"):
            environment.delenv(variable, raising=False)
        yield Processed(folder)


@pytest.fixture(scope="module")
def mosaics(processed):
    """Ours by way of computing errors, and the peer's."""
    ours = {
        kind: resample(processed.images(), variance=kind, weight_type="ivm", keep_pixel_maps=False)
        for kind in ("interpolated", "propagated")
    }
    return ours, read(processed.mosaic)


@pytest.mark.parametrize("index", range(4))
def test_cal(processed, index):
    ours, theirs = processed.our_cal(processed.rates[index]), read(processed.cals[index])
    for name in ("data", "err", "var_poisson", "var_rnoise", "var_flat", "area"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5, err_msg=name)
    np.testing.assert_array_equal(ours.dq, theirs.dq)
    assert 0.9 < np.isfinite(ours.data).mean() <= 1
    for keyword in ("PHOTMJSR", "PHOTUJA2", "PIXAR_SR", "PIXAR_A2"):
        assert ours.meta.get(keyword) == pytest.approx(theirs.meta.get(keyword), rel=1e-6), keyword
    for keyword in (
        "BUNIT",
        "S_REGION",
        "S_WCS",
        "S_FLAT",
        "S_PHOTOM",
        "R_DISTOR",
        "R_FILOFF",
        "R_FLAT",
        "R_PHOTOM",
    ):
        assert ours.meta.get(keyword) == theirs.meta.get(keyword), keyword


@pytest.mark.parametrize("index", range(4))
def test_wcs(processed, index):
    ours, theirs = processed.our_cal(processed.rates[index]).meta.wcs, read(processed.cals[index]).meta.wcs
    assert ours.available_frames == theirs.available_frames
    x, y = np.meshgrid(np.linspace(-0.5, 159.5, 23), np.linspace(-0.5, 159.5, 19))
    here, there = (SkyCoord(*wcs(x, y), unit="deg") for wcs in (ours, theirs))
    assert here.separation(there).mas.max() < 0.01
    assert ours.bounding_box.bounding_box(order="F") == theirs.bounding_box.bounding_box(order="F")


def test_grid(mosaics):
    ours, theirs = mosaics[0]["interpolated"], mosaics[1]
    assert ours.data.shape == theirs.data.shape
    y, x = (np.linspace(0, size, 9) for size in ours.data.shape)
    np.testing.assert_allclose(
        ours.meta.wcs.invert(*theirs.meta.wcs(x[:8], y[:8])), (x[:8], y[:8]), atol=1e-4
    )
    for axis in (1, 2):
        for keyword in (f"CRPIX{axis}", f"CRVAL{axis}", f"CDELT{axis}", f"PC1_{axis}", f"PC2_{axis}"):
            assert ours.meta.get(keyword) == pytest.approx(theirs.meta.get(keyword), abs=1e-4), keyword
        assert ours.meta.get(f"CTYPE{axis}") == theirs.meta.get(f"CTYPE{axis}")


def test_mosaic(mosaics):
    ours, theirs = mosaics[0]["interpolated"], mosaics[1]
    assert np.isfinite(theirs.data).mean() > 0.5
    with np.errstate(invalid="ignore"):
        assert np.nanmax(np.abs(ours.data - theirs.data) / theirs.err) < 1e-3
    np.testing.assert_array_equal(np.isnan(ours.data), np.isnan(theirs.data))
    np.testing.assert_allclose(ours.wht, theirs.wht, rtol=1e-3)
    assert (ours.con != theirs.con).mean() < 1e-4
    np.testing.assert_allclose(ours.err, theirs.err, rtol=1e-4)
    for name in ("var_poisson", "var_rnoise"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-3, err_msg=name)


def test_mosaic_header(mosaics):
    ours, theirs = mosaics[0]["interpolated"].meta, mosaics[1].meta
    for keyword in ("NDRIZ", "RESWHT", "PIXFRAC", "PXSCLRT", "EFFEXPTM", "XPOSURE", "EXPSTART", "EXPEND",
                    "EXPMID", "DURATION", "DETECTOR", "FILTER", "BUNIT", "S_RESAMP", "RADESYS"):  # fmt: skip
        assert ours.get(keyword) == pytest.approx(theirs.get(keyword)), keyword
    for keyword in ("PIXAR_SR", "PIXAR_A2"):
        assert ours.get(keyword) == pytest.approx(theirs.get(keyword), rel=1e-8), keyword


def test_propagated_errors(mosaics):
    """Smaller for a pixel, the same for a large aperture: their ratio is that of noise correlation."""
    ours, theirs = mosaics[0]["propagated"], mosaics[1]
    ratio = ours.err / theirs.err
    low, middle, high = np.nanpercentile(ratio, [1, 50, 99])
    assert low > 0.45
    assert high < 0.9
    assert middle * ours.meta.get("NOISECOR") == pytest.approx(1, abs=0.05)


def test_catalogue(processed, mosaics):
    ours = mosaics[0]["interpolated"]
    references = processed.references(ours.meta, (source_catalog,), ours.data.shape)
    made = source_catalog(ours, references, correlated_errors=False, drizzled_light=False).catalogue.sources
    theirs = QTable.read(processed.catalogue)
    assert made.colnames == theirs.colnames
    index, off, _ = theirs["sky_centroid"].match_to_catalog_sky(made["sky_centroid"])
    near = off.mas < 0.05
    assert near.mean() > 0.95
    mine, their = made[index[near]], theirs[near]
    for name in ("xcentroid", "ycentroid"):
        np.testing.assert_allclose(mine[name], their[name], atol=1e-3)
    for name in (
        "aper_bkg_flux",
        "aper30_flux",
        "aper50_flux",
        "aper70_flux",
        "aper_total_flux",
        "isophotal_flux",
    ):
        mismatch = np.abs(mine[name] / their[name] - 1)
        assert np.nanmedian(mismatch) < 1e-5, name
        assert np.nanpercentile(mismatch, 95) < 1e-4, name
    for name in ("aper70_flux_err", "aper_total_flux_err"):
        assert np.nanmedian(_plain(mine[name]) / _plain(their[name])) == pytest.approx(1, abs=0.1), name
    for name in (
        "aper_total_abmag",
        "aper_total_vegamag",
        "sharpness",
        "roundness",
        "ellipticity",
        "sky_orientation",
    ):
        np.testing.assert_allclose(
            np.nanmedian(np.abs(_plain(mine[name]) - _plain(their[name]))), 0, atol=1e-4, err_msg=name
        )
    whole = np.isfinite(mine["aper_total_flux"].value)
    assert whole.mean() > 0.8
    np.testing.assert_array_equal(mine["is_extended"][whole], their["is_extended"][whole])


def _plain(column):
    return np.asarray(getattr(column, "value", column), float)
