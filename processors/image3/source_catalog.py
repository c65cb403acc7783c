"""Catalogue of the sources on a mosaic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from processors.drizzling.places import TABLE
from processors.image3.apertures import apertures, vega_offset
from processors.image3.columns import Measurements, table_of
from processors.image3.detection import Found, Search, find_sources
from processors.image3.drizzled_light import Totals, drizzled_totals, reference_totals
from processors.image3.photometry import coefficients_of
from processors.options import Options, option
from processors.steps import step
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.products import Catalogue, Product, Resampled, Segmentation
from schemas.references import References


class SourceCatalogOptions(Options):
    """Options of `source_catalog`."""

    aperture_ee1: int = option(
        30, gt=0, lt=100, unit="per cent", doc="encircled energy of the first aperture"
    )
    aperture_ee2: int = option(
        50, gt=0, lt=100, unit="per cent", doc="encircled energy of the second aperture"
    )
    aperture_ee3: int = option(
        70,
        gt=0,
        lt=100,
        unit="per cent",
        doc="encircled energy of the third aperture, corrected to the total",
    )
    ci1_star_threshold: float = option(
        2.0, gt=0, doc="first concentration index above which a source may be extended"
    )
    ci2_star_threshold: float = option(
        1.8, gt=0, doc="second concentration index above which a source may be extended"
    )
    snr_threshold: float = option(3.0, gt=0, unit="sigma", doc="threshold above the background")
    bkg_boxsize: int = option(
        1000, ge=4, unit="pixel", doc="side of the boxes in which the background is measured"
    )
    kernel_fwhm: float = option(
        2.0, ge=0, unit="pixel", doc="full width at half maximum of the detection kernel"
    )
    npixels: int = option(25, ge=1, unit="pixel", doc="fewest connected pixels of a source")
    connectivity: Literal[4, 8] = option(8, doc="neighbours of a pixel that count as connected")
    nlevels: int = option(32, ge=1, doc="levels at which blended sources are looked for")
    contrast: float = option(
        0.001, ge=0, le=1, doc="least fraction of the total flux of a source that is split off"
    )
    multithresh_mode: Literal["exponential", "linear", "sinh"] = option(
        "exponential", doc="spacing of those levels"
    )
    deblend: bool = option(True, doc="whether blended sources are split")
    correlated_errors: bool = option(
        True, doc="count the correlation of drizzled noise, and the background's error, in flux errors"
    )
    drizzled_light: bool = option(
        True,
        doc="correct total fluxes and their errors for what drizzling does to a point source's light; apcorr "
        "then must be that of light on the detector's own pixels",
    )
    wavefront_error: float = option(
        65.0, ge=0, le=1000, unit="nm", doc="root mean square by which sources deviate from round ones"
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections(Product):
    """What `source_catalog` makes.

    Attributes
    ----------
    catalogue : Catalogue
        A row for each source.
    segmentation : Segmentation
        Which source each pixel belongs to.
    """

    catalogue: Catalogue
    segmentation: Segmentation

    def with_meta(self, meta: Meta) -> Self:
        """Return the same under other metadata, which both parts share."""
        return replace(
            self,
            meta=meta,
            catalogue=self.catalogue.with_meta(meta),
            segmentation=self.segmentation.with_meta(meta),
        )


@step(
    references=("apcorr", "abvegaoffset"), options=SourceCatalogOptions, status="S_SRCCAT", scope="exposure"
)
def source_catalog(mosaic: Resampled, references: References, options: SourceCatalogOptions) -> Detections:
    """Find and measure the sources on a mosaic.

    Parameters
    ----------
    mosaic : Resampled
        Surface brightness in MJy/sr with its WCS.
    references : References
        ``apcorr`` (apertures of given encircled energy and their corrections) and ``abvegaoffset``.
    options : SourceCatalogOptions
        See there.

    Returns
    -------
    Detections
        Catalogue with JWST's columns, fluxes in Jy, and segmentation map. It may be empty.

    Raises
    ------
    Unprocessable
        If the mosaic is not in MJy/sr, has no WCS, no pixel area or no usable pixel.
    """
    meta = mosaic.meta
    to_jansky = _janskys_per_unit(meta)
    uncovered = ~np.isfinite(mosaic.data) | ~np.isfinite(mosaic.err) | ~(mosaic.wht > 0)
    if uncovered.all():
        raise Unprocessable(
            f"{meta.get('FILENAME', 'the mosaic')}: no pixel is covered; look at the weights of its inputs"
        )
    data, err = (
        np.where(uncovered, np.nan, array.astype(float) * to_jansky) for array in (mosaic.data, mosaic.err)
    )
    energies = (options.aperture_ee1, options.aperture_ee2, options.aperture_ee3)
    circles = apertures(meta, references, energies)
    offset = vega_offset(meta, references)
    found = find_sources(data, uncovered, _search(options))
    coefficients = coefficients_of(meta) if options.correlated_errors else None

    def totals(xy: NDArray[np.float64]) -> Totals:
        if options.drizzled_light:
            return drizzled_totals(mosaic, xy, circles, options.wavefront_error)
        return reference_totals(circles, len(xy))

    measured = Measurements(
        data=data, err=err, found=found, apertures=circles, vega_offset=offset, coefficients=coefficients,
        wcs=meta.wcs, kernel_fwhm=options.kernel_fwhm,
        thresholds=(options.ci1_star_threshold, options.ci2_star_threshold), totals=totals,
    )  # fmt: skip
    quality = {"sources": float(0 if found.segments is None else found.segments.n_labels)}
    # What a mosaic's table tells of its pixels has no meaning without them.
    cards = replace(meta, tables={k: v for k, v in meta.tables.items() if k != TABLE}, quality=quality)
    return Detections(
        meta=cards,
        catalogue=Catalogue(meta=cards, sources=table_of(measured)),
        segmentation=Segmentation(meta=cards, data=_labels(found)),
    )


def _janskys_per_unit(meta: Meta) -> float:
    name = meta.get("FILENAME", "the mosaic")
    if meta.get("BUNIT") != "MJy/sr":
        raise Unprocessable(
            f"{name}: BUNIT = {meta.get('BUNIT')!r} where MJy/sr is needed; run photom on its inputs"
        )
    if meta.wcs is None:
        raise Unprocessable(f"{name}: the mosaic has no WCS; make it with resample")
    return 1e6 * float(meta.require("PIXAR_SR"))


def _search(options: SourceCatalogOptions) -> Search:
    return Search(
        snr_threshold=options.snr_threshold,
        bkg_boxsize=options.bkg_boxsize,
        kernel_fwhm=options.kernel_fwhm,
        npixels=options.npixels,
        connectivity=options.connectivity,
        nlevels=options.nlevels,
        contrast=options.contrast,
        multithresh_mode=options.multithresh_mode,
        deblend=options.deblend,
    )


def _labels(found: Found) -> np.ndarray:
    if found.segments is None:
        return np.zeros(found.data.shape, np.uint32)
    return np.ascontiguousarray(found.segments.data, np.uint32)
