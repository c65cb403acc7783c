"""References of stages 2 and 3 for imaging: distortion, flat field, photometry, aperture corrections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.modeling import models
from numpy.lib import recfunctions
from numpy.typing import NDArray

from schemas.dq import DQ
from simulator.detector import generator, maps
from simulator.geometry import Distortion, distortion
from simulator.instruments import (
    LONG_FILTERS,
    NIRISS_FILTERS,
    SHORT_FILTERS,
    Detector,
    ab_minus_vega,
    bandpass,
    photmjsr,
    wheels,
)
from simulator.psf import PSF, psf
from simulator.references.files import About, definitions, frame_keywords, image, write_asdf, write_fits

ENERGIES = (10, 20, 30, 40, 50, 60, 70, 80)
"""Encircled energies of the aperture corrections, per cent."""
ANNULUS = (18.0, 26.0)
"""Radii of the background annulus, pixels."""

Pair = tuple[str, str]


def wheel_positions(detector: Detector) -> list[Pair]:
    """Return all pairs (FILTER, PUPIL) with which a detector takes images."""
    if detector.instrument == "NIRCAM":
        names = LONG_FILTERS if detector.channel == "LONG" else SHORT_FILTERS
        return [wheels(name) for name in names if name in SHORT_FILTERS or name in LONG_FILTERS]
    if detector.instrument == "NIRISS":
        short = [("CLEAR", name) for name in NIRISS_FILTERS if bandpass(name).pivot < 2.4]
        long = [(name, "CLEARP") for name in NIRISS_FILTERS if bandpass(name).pivot > 2.4]
        return short + long + [(name, "NRM") for name in ("F277W", "F380M", "F430M", "F480M")]
    return [("N/A", "N/A")]


def filter_offset(detector: Detector, pair: Pair) -> tuple[float, float]:
    """Return the shift of a filter's image in pixels: what (column_offset, row_offset) of ``filteroffset``
    say.

    A star seen through the filter at pixel ``p`` is where the distortion puts pixel ``p + offset``.
    """
    column, row = generator("filteroffset", detector.channel, detector.module, *pair).uniform(-0.3, 0.3, 2)
    return round(float(column), 4), round(float(row), 4)


def relative_area(detector: Detector) -> NDArray[np.float32]:
    """Return the pixel area over the nominal one, full frame.

    It varies slowly, so it is computed on every eighth pixel and interpolated; the error is below 1e-8.
    """
    d = distortion(detector)
    ny, nx = detector.shape
    rows, columns = np.arange(-8.0, ny + 16, 8), np.arange(-8.0, nx + 16, 8)
    area = d.pixel_area(*np.meshgrid(columns, rows)) / d.nominal_area
    from scipy.interpolate import RectBivariateSpline

    spline = RectBivariateSpline(rows, columns, area)
    return np.asarray(spline(np.arange(ny, dtype=float), np.arange(nx, dtype=float)), dtype=np.float32)


def distortion_model(d: Distortion) -> Any:
    """Return the distortion as an astropy model from 0-based full-frame pixels to (V2, V3) in arcsec, with
    inverse.
    """
    to_reference = models.Shift(1 - d.reference[0]) & models.Shift(1 - d.reference[1])
    rotation = models.AffineTransformation2D(d.rotation, translation=[0, 0])
    back = models.AffineTransformation2D(np.linalg.inv(d.rotation), translation=[0, 0])
    offset = models.Shift(d.v2v3[0]) & models.Shift(d.v2v3[1])
    both = models.Mapping((0, 1, 0, 1), n_inputs=2)
    forward = to_reference | both | _pair(d.forward_x, d.forward_y) | rotation | offset
    inverse = offset.inverse | back | both | _pair(d.inverse_x, d.inverse_y) | to_reference.inverse
    forward.inverse = inverse
    return forward


def _pair(x: NDArray[np.float64], y: NDArray[np.float64]) -> Any:
    return _polynomial(x) & _polynomial(y)


def _polynomial(coefficients: NDArray[np.float64]) -> Any:
    degree = coefficients.shape[0] - 1
    terms = {f"c{i}_{j}": coefficients[i, j] for i in range(degree + 1) for j in range(degree + 1 - i)}
    return models.Polynomial2D(degree, **terms)


def write_distortion(detector: Detector, path: Path) -> None:
    """Write the ``distortion`` reference."""
    about = About("distortion", "DistortionModel", detector.instrument, "Distortion of the SIAF", detector)
    meta: dict[str, Any] = {
        "input_units": u.pix,
        "output_units": u.arcsec,
        "exposure": {"type": _exposure_type(detector)},
    }
    if detector.instrument == "NIRCAM":
        meta["instrument"] = {
            "p_pupil": "".join(f"{p}|" for p in sorted({p for _, p in wheel_positions(detector)}))
        }
    write_asdf(path, about, {"model": distortion_model(distortion(detector))}, meta)


def write_filteroffset(detector: Detector, path: Path) -> None:
    """Write the ``filteroffset`` reference."""
    rows = []
    for pair in wheel_positions(detector):
        column, row = filter_offset(detector, pair)
        rows.append({"filter": pair[0], "pupil": pair[1], "column_offset": column, "row_offset": row})
    about = About(
        "filteroffset", "FilteroffsetModel", detector.instrument, "Image shifts of the filters", detector
    )
    write_asdf(path, about, {"filters": rows}, {"input_units": u.pix})


def write_flat(detector: Detector, pair: Pair, path: Path) -> None:
    """Write the ``flat`` reference: response to a uniform sky, so pixel area is part of it."""
    pixels = maps(detector)
    keywords = frame_keywords(detector) | _wheels(detector, pair)
    about = About("flat", "FlatModel", detector.instrument, "Response to a uniform sky", detector, keywords)
    data = pixels.response * relative_area(detector)
    data[pixels.reference_pixels] = 1
    # Reference pixels have no sky: the flat field keeps them out of images, as it does for real data.
    dq = np.where(pixels.reference_pixels, np.uint32(DQ.DO_NOT_USE | DQ.NON_SCIENCE), np.uint32(0))
    extensions = [
        image("SCI", data),
        image("ERR", np.zeros_like(data)),
        image("DQ", dq),
        definitions(),
    ]
    write_fits(path, about, extensions)


def _wheels(detector: Detector, pair: Pair) -> dict[str, str]:
    return {} if detector.instrument == "FGS" else {"FILTER": pair[0], "PUPIL": pair[1]}


def write_photom(detector: Detector, path: Path) -> None:
    """Write the ``photom`` reference: MJy/sr per DN/s for every filter."""
    area = distortion(detector).nominal_area
    rows = [(*pair, photmjsr(bandpass(*pair), detector, area), 0.0) for pair in wheel_positions(detector)]
    columns = [("filter", "S12"), ("pupil", "S12"), ("photmjsr", "f4"), ("uncertainty", "f4")]
    table = np.array(rows, dtype=columns)
    if detector.instrument == "FGS":
        table = table[["photmjsr", "uncertainty"]].copy()
    prefix = {"NIRCAM": "Nrc", "NIRISS": "Nis", "FGS": "Fgs"}[detector.instrument]
    keywords = {
        "PIXAR_SR": area,
        "PIXAR_A2": area * (180 / np.pi * 3600) ** 2,
        "EXP_TYPE": _exposure_type(detector),
    }
    about = About(
        "photom", f"{prefix}ImgPhotomModel", detector.instrument, "Flux conversion", detector, keywords
    )
    write_fits(path, about, [fits.BinTableHDU(_packed(table), name="PHOTOM")])


def _packed(table: NDArray[Any]) -> NDArray[Any]:
    """Return a table without the holes that a choice of columns leaves in its rows."""
    return np.asarray(recfunctions.repack_fields(table))


def write_area(detector: Detector, path: Path) -> None:
    """Write the ``area`` reference: pixel areas over the nominal one."""
    area = distortion(detector).nominal_area
    keywords = frame_keywords(detector) | {
        "PIXAR_SR": area,
        "PIXAR_A2": area * (180 / np.pi * 3600) ** 2,
        "EXP_TYPE": _exposure_type(detector),
    }
    about = About("area", "PixelAreaModel", detector.instrument, "Pixel area map", detector, keywords)
    write_fits(path, about, [image("SCI", relative_area(detector))])


def _exposure_type(detector: Detector) -> str:
    return {"NIRCAM": "NRC_IMAGE", "NIRISS": "NIS_IMAGE", "FGS": "FGS_IMAGE"}[detector.instrument]


def camera_psf(detector: Detector, pair: Pair) -> PSF:
    """Return the point-spread function of a detector's filter."""
    band = bandpass(*pair)
    scale = np.sqrt(distortion(detector).nominal_area) * 180 / np.pi * 3600
    # Detectors of one channel share it: their pixels differ by less than one per cent.
    return psf(band.pivot, band.width, round(float(scale), 3))


_APCORR = (
    ("filter", "S12"),
    ("pupil", "S15"),
    ("eefraction", "f4"),
    ("radius", "f4"),
    ("apcorr", "f4"),
    ("skyin", "f4"),
    ("skyout", "f4"),
)


def write_apcorr(instrument: str, rows: list[tuple[Any, ...]], path: Path) -> None:
    """Write the ``apcorr`` reference from the rows of `corrections`."""
    prefix = {"NIRCAM": "Nrc", "NIRISS": "Nis", "FGS": "Fgs"}[instrument]
    table = np.array(rows, dtype=list(_APCORR))
    if instrument == "FGS":
        table = table[[name for name, _ in _APCORR[2:]]]
    exposure = {"NIRCAM": "NRC_IMAGE", "NIRISS": "NIS_IMAGE", "FGS": "FGS_IMAGE"}[instrument]
    about = About(
        "apcorr",
        f"{prefix}ImgApcorrModel",
        instrument,
        "Aperture corrections of the simulated PSF",
        None,
        {"EXP_TYPE": exposure},
    )
    write_fits(path, about, [fits.BinTableHDU(_packed(table), name="APCORR")])


def read_apcorr(path: Path) -> list[tuple[Any, ...]]:
    """Return the rows of an ``apcorr`` reference."""
    table = fits.getdata(path, "APCORR")
    wheels_ = ("N/A", "N/A") if "filter" not in table.names else None
    return [(*(wheels_ or ()), *(v.item() if hasattr(v, "item") else str(v) for v in row)) for row in table]


def corrections(pair: Pair, camera: Detector) -> list[tuple[Any, ...]]:
    """Return a filter's aperture corrections.

    Parameters
    ----------
    pair : tuple of str
        FILTER and PUPIL.
    camera : Detector
        A detector that has them.

    Returns
    -------
    list of tuple
        filter, pupil, eefraction, radius, apcorr, skyin, skyout for each of `ENERGIES`.

    Notes
    -----
    The correction brings the sum in the aperture, less the mean of the annulus times the aperture's area, to
    the total in an infinite aperture. Radii are pixels of the detector, and the light is that on the
    detector's own pixels: how a mosaic's pixels spread it further depends on the mosaic.
    """
    point = camera_psf(camera, pair)
    radii = np.arange(0.3, 25, 0.05)
    growth = point.encircled(radii)
    inner, outer = point.encircled(np.array(ANNULUS))
    sky = (outer - inner) / (np.pi * (ANNULUS[1] ** 2 - ANNULUS[0] ** 2))
    rows = []
    for energy in ENERGIES:
        radius = float(np.interp(energy / 100, growth, radii))
        rows.append((*pair, energy / 100, radius, 1 / (energy / 100 - np.pi * radius**2 * sky), *ANNULUS))
    return rows


def write_abvegaoffset(instrument: str, pairs: list[Pair], path: Path) -> None:
    """Write the ``abvegaoffset`` reference: AB minus Vega magnitudes of wheel positions."""
    from astropy.table import Table

    columns: dict[str, list[Any]] = {"filter": [p[0] for p in pairs], "pupil": [p[1] for p in pairs]}
    names = pairs
    if instrument == "FGS":
        columns, names = {"detector": ["GUIDER1", "GUIDER2"]}, [("N/A", "N/A")] * 2
    columns["abvega_offset"] = [ab_minus_vega(bandpass(*pair)) for pair in names]
    about = About("abvegaoffset", "ABVegaOffsetModel", instrument, "AB minus Vega magnitudes")
    write_asdf(path, about, {"abvega_offset": Table(columns)})
