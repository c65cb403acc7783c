"""The parts of a page: what the template shows of each product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
from astropy import units as u
from astropy.table import QTable

from schemas.products import Rate
from schemas.quality import FigureKind, tabulated
from streams.report import plots
from streams.report.gather import Combined, Folder, ProductHead
from streams.report.images import (
    Bar,
    Compass,
    Picture,
    Share,
    compass,
    coverage,
    exposures_per_pixel,
    scale_bar,
    stretched,
)
from streams.report.recovery import Check, Sources, check_fluxes, compare_sources
from streams.report.truth import Truth

ROWS: Final = 50
"""Of a table on a page."""
PREVIEWS: Final = 12
_THUMB: Final = 360
_TIMES: Final = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, kw_only=True)
class SourceLine:
    """A source of the catalogue on the page; `x` and `y` in pixels of the drawn image, y downwards."""

    label: int
    x: float
    y: float
    radius: float
    ra: float
    dec: float
    magnitude: float
    magnitude_err: float
    flux: float
    flux_err: float
    extended: bool


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What was recovered on a mosaic: figures and plots."""

    check: Check
    judged: int
    matched: int
    offset: float
    offset_err: float
    distance: float
    shift: tuple[float, float]
    flux_plot: str
    position_plot: str


@dataclass(frozen=True, kw_only=True)
class MosaicSection:
    """A combined product on the page."""

    key: str
    name: str
    facts: Sequence[tuple[str, str]]
    picture: Picture
    compass: Compass | None
    bar: Bar | None
    coverage: Picture
    shares: Sequence[Share]
    sources: Sequence[SourceLine]
    catalogue_file: str
    recovered: Recovered | None

    @property
    def table(self) -> Sequence[SourceLine]:
        """Return the brightest sources, for the table."""
        return sorted(self.sources, key=lambda line: (np.isnan(line.magnitude), line.magnitude))[:ROWS]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A small image of an exposure."""

    name: str
    file: str
    picture: Picture
    facts: str


@dataclass(frozen=True, kw_only=True)
class QualityTable:
    """Figures of the exposures' quality: columns, values by the exposure's name, how many are not shown."""

    columns: Sequence[FigureKind]
    rows: Mapping[str, Sequence[str]]
    hidden: int


def mosaic_section(number: int, combined: Combined, truth: Truth | None) -> MosaicSection:
    """Return the section of a combined product.

    Parameters
    ----------
    number : int
        Which section it is.
    combined : Combined
        The product.
    truth : Truth, optional
        What is true of it.
    """
    image = combined.image.read()
    catalogue = combined.catalogue()
    counts = exposures_per_pixel(image.con)
    covered, shares = coverage(counts)
    directions = compass(image.meta.wcs, image.data.shape) if image.meta.wcs is not None else None
    return MosaicSection(
        key=f"m{number}",
        name=combined.image.name,
        facts=_facts(combined.image, image.data.shape, counts, directions),
        picture=stretched(image.data),
        compass=directions,
        bar=scale_bar(directions.scale, image.data.shape[1]) if directions else None,
        coverage=covered,
        shares=shares,
        sources=[] if catalogue is None else source_lines(catalogue.sources, image.data.shape[0]),
        catalogue_file="" if combined.catalogue_path is None else combined.catalogue_path.name,
        recovered=_recovered(image, catalogue, truth),
    )


def previews(folder: Folder) -> list[Preview]:
    """Return small images of the first exposures, calibrated where they are."""
    found = []
    for images in list(folder.exposures.values())[:PREVIEWS]:
        head = images.get("cal") or images["rate"]
        image: Rate = head.read()
        data = image.data if image.data.ndim == 2 else np.nanmean(image.data, axis=0)
        level = (
            f"{head.suffix}, {head.meta.get('BUNIT', '')}, {data.shape[1]} {_TIMES} {data.shape[0]} pixels"
        )
        found.append(
            Preview(name=head.name, file=head.path.name, picture=stretched(data, _THUMB), facts=level)
        )
    return found


def quality_table(folder: Folder) -> QualityTable | None:
    """Return what is known of the exposures' quality, from the products' own records; None for nothing."""
    known = {
        name: (images.get("cal") or images["rate"]).meta.provenance.run.get("quality", {})
        for name, images in folder.exposures.items()
    }
    columns, rows = tabulated(known)
    if not rows:
        return None
    shown = dict(islice(rows.items(), ROWS))
    return QualityTable(columns=columns, rows=shown, hidden=len(rows) - len(shown))


def source_lines(sources: QTable, height: int) -> list[SourceLine]:
    """Return a catalogue's sources as the page shows them.

    Parameters
    ----------
    sources : QTable
        With JWST's columns.
    height : int
        Of the mosaic, pixels.
    """
    place = sources["sky_centroid"]
    size = np.sqrt(sources["isophotal_area"].value / np.pi) if "isophotal_area" in sources.colnames else None
    flux, err = (sources[name].to_value(u.uJy) for name in ("aper_total_flux", "aper_total_flux_err"))
    magnitude, magnitude_err = (_plain(sources[f"aper_total_abmag{tail}"]) for tail in ("", "_err"))
    return [
        SourceLine(
            label=int(sources["label"][i]),
            x=float(sources["xcentroid"][i]) + 0.5,
            y=height - 0.5 - float(sources["ycentroid"][i]),
            radius=7.0 if size is None else float(np.clip(1.15 * size[i], 5, 40)),
            ra=float(place.ra.deg[i]),
            dec=float(place.dec.deg[i]),
            magnitude=float(magnitude[i]),
            magnitude_err=float(magnitude_err[i]),
            flux=float(flux[i]),
            flux_err=float(err[i]),
            extended=bool(sources["is_extended"][i]) if "is_extended" in sources.colnames else False,
        )
        for i in range(len(sources))
        if np.isfinite(sources["xcentroid"][i])
    ]


def _plain(column: Any) -> np.ndarray:
    return np.asarray(getattr(column, "value", column), float)


def _facts(
    head: ProductHead, shape: tuple[int, ...], counts: np.ndarray, directions: Compass | None
) -> list[tuple[str, str]]:
    meta = head.meta
    wheels = [str(meta.get(name)) for name in ("FILTER", "PUPIL") if meta.get(name) not in (None, "CLEAR")]
    size = f"{shape[1]} {_TIMES} {shape[0]} pixels"
    if directions:
        size += f" of {1000 * directions.scale:.1f} mas"
    facts = [
        ("Target", str(meta.get("TARGPROP") or meta.get("TARGNAME") or "")),
        ("Instrument", f"{meta.get('INSTRUME', '')} {meta.get('CHANNEL') or ''}".strip()),
        ("Filter", " + ".join(wheels)),
        ("Size", size),
        ("Exposures", f"up to {int(counts.max())} per pixel"),
        ("Exposure time", f"{float(meta.get('EFFEXPTM')):.1f} s" if meta.get("EFFEXPTM") else ""),
        ("Taken", f"{meta.get('DATE-OBS', '')}"),
    ]
    return [(name, value) for name, value in facts if value]


def _recovered(image: Any, catalogue: Any, truth: Truth | None) -> Recovered | None:
    if truth is None or catalogue is None or not truth.fits(image.meta) or image.meta.wcs is None:
        return None
    sources = compare_sources(catalogue.sources, truth.sources, image)
    check = check_fluxes(sources)
    return Recovered(
        check=check,
        judged=int(sources.judged.sum()),
        matched=sources.rows.size,
        offset=sources.offset,
        offset_err=sources.offset_err,
        distance=sources.distance,
        shift=sources.shift,
        **_plots(sources, check),
    )


def _plots(sources: Sources, check: Check) -> dict[str, str]:
    where = f"{sources.distance:.2f} mas apart in the median"
    return {
        "flux_plot": plots.flux_plot(sources, f"Measured over true flux against magnitude: {check.sentence}"),
        "position_plot": plots.position_plot(sources, f"Measured minus true positions: {where}"),
    }
