"""Apertures, their corrections and the magnitude zero points, from the reference files."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from processors.image2.rows import matching_row, matching_rows, selection, text
from schemas.errors import Unprocessable, UsageError
from schemas.meta import Meta
from schemas.references import ModelReference, References, TableReference

APCORR_KEYS: Final = {
    "NIRCAM": ("FILTER", "PUPIL"),
    "NIRISS": ("FILTER", "PUPIL"),
    "MIRI": ("FILTER", "SUBARRAY"),
    "FGS": (),
}
"""Keywords that select the rows of ``apcorr``, by instrument."""

OFFSET_KEYS: Final = {
    "NIRCAM": ("FILTER", "PUPIL"),
    "NIRISS": ("FILTER", "PUPIL"),
    "MIRI": ("FILTER",),
    "FGS": ("DETECTOR",),
}
"""Keywords that select the row of ``abvegaoffset``, by instrument."""


@dataclass(frozen=True, kw_only=True)
class EnergyCurve:
    """Encircled energies of a point source on the detector's own pixels.

    Attributes
    ----------
    name : str
        The reference's, for a failure's sentence.
    radii, energies : tuple of float
        Radius in detector pixels and fraction of the light in it.
    annulus : tuple of float
        Inner and outer radius of the background annulus in detector pixels.
    ring : float
        Fraction of the light in the annulus.
    """

    name: str
    radii: tuple[float, ...]
    energies: tuple[float, ...]
    annulus: tuple[float, float]
    ring: float


@dataclass(frozen=True, kw_only=True)
class Apertures:
    """Circular apertures for point sources on one mosaic.

    Attributes
    ----------
    energies : tuple of int
        Per cent of a point source's light in each aperture, ascending.
    radii, corrections : tuple of float
        Radius in mosaic pixels; factor from the light in it, less the annulus's level, to the total.
    annulus : tuple of float
        Inner and outer radius of the background annulus in mosaic pixels.
    curve : EnergyCurve
        All that the reference says of the filter.
    """

    energies: tuple[int, ...]
    radii: tuple[float, ...]
    corrections: tuple[float, ...]
    annulus: tuple[float, float]
    curve: EnergyCurve


def apertures(meta: Meta, references: References, energies: tuple[int, ...]) -> Apertures:
    """Return the apertures that hold given fractions of a point source's light.

    Parameters
    ----------
    meta : Meta
        Of the mosaic: instrument, filter and pupil or subarray, and PXSCLRT.
    references : References
        ``apcorr``, with radii in detector pixels.
    energies : tuple of int
        Per cent, ascending.

    Raises
    ------
    UsageError
        If the energies do not ascend.
    Unprocessable
        If the reference has none of them, or several annuli.
    """
    if any(b <= a for a, b in pairwise(energies)):
        raise UsageError(f"aperture_ee1, 2, 3 = {', '.join(map(str, energies))} must ascend")
    reference = references.table("apcorr")
    rows = _usable(_rows(meta, reference), reference)
    picked = [_row_of(energy, rows, reference) for energy in energies]
    sky = {(float(row["skyin"]), float(row["skyout"])) for row in picked}
    if len(sky) != 1:
        raise Unprocessable(
            f"{reference.name}: apertures of one filter have {len(sky)} background annuli; give another "
            "apcorr file"
        )
    scale = float(meta.get("PXSCLRT") or 1.0)
    inner, outer = sky.pop()
    return Apertures(
        energies=energies,
        radii=tuple(float(row["radius"]) / scale for row in picked),
        corrections=tuple(float(row["apcorr"]) for row in picked),
        annulus=(inner / scale, outer / scale),
        curve=_curve(rows[(rows["skyin"] == inner) & (rows["skyout"] == outer)], reference),
    )


def _curve(rows: np.ndarray, reference: TableReference) -> EnergyCurve:
    """Return what rows with one annulus say; corrections differ from 1 / energy by the annulus's level."""
    ordered = rows[np.argsort(rows["radius"])]
    radius, energy, correction, inner, outer = (
        ordered[column].astype(float) for column in ("radius", "eefraction", "apcorr", "skyin", "skyout")
    )
    level = np.median((energy - 1 / correction) / radius**2)
    return EnergyCurve(
        name=reference.name,
        radii=tuple(radius),
        energies=tuple(energy),
        annulus=(inner[0], outer[0]),
        ring=max(float(level * (outer[0] ** 2 - inner[0] ** 2)), 0.0),
    )


def vega_offset(meta: Meta, references: References) -> float:
    """Return AB minus Vega magnitude of the mosaic's filter, from ``abvegaoffset``."""
    reference = references.model("abvegaoffset")
    table = _column_table(reference)
    keys = OFFSET_KEYS[_instrument(meta)]
    return float(table["abvega_offset"][matching_row(table, selection(meta, keys), reference)])


def _rows(meta: Meta, reference: TableReference) -> np.ndarray:
    table = reference.table()
    keys = APCORR_KEYS[_instrument(meta)]
    if not keys:
        return table
    wanted = selection(meta, keys)
    if "subarray" in wanted and wanted["subarray"] not in {text(entry) for entry in table["subarray"]}:
        wanted["subarray"] = "FULL"
    return np.asarray(table[matching_rows(table, wanted, reference)])


def _usable(rows: np.ndarray, reference: TableReference) -> np.ndarray:
    columns = ("eefraction", "radius", "apcorr", "skyin", "skyout")
    good = np.all([np.isfinite(rows[column]) & (rows[column] > 0) for column in columns], axis=0)
    if not good.any():
        raise Unprocessable(
            f"{reference.name}: none of the {len(rows)} rows for this filter has finite, positive apertures "
            "and corrections; give another file with --set source_catalog.override_apcorr=FILE"
        )
    return np.asarray(rows[good])


def _row_of(energy: int, rows: np.ndarray, reference: TableReference) -> Any:
    found = rows[np.round(rows["eefraction"] * 100) == energy]
    if len(found) != 1:
        known = ", ".join(f"{100 * fraction:.0f}" for fraction in rows["eefraction"])
        raise Unprocessable(
            f"{reference.name}: there are {len(found)} apertures of {energy} % encircled energy; "
            f"choose from {known}"
        )
    return found[0]


def _column_table(reference: ModelReference) -> np.ndarray:
    table = reference.tree.get("abvega_offset")
    if table is None:
        raise Unprocessable(f"{reference.name}: has no table 'abvega_offset'; give another abvegaoffset file")
    return np.asarray(table.as_array() if hasattr(table, "as_array") else table)


def _instrument(meta: Meta) -> str:
    instrument = text(meta.require("INSTRUME"))
    if instrument not in APCORR_KEYS:
        raise Unprocessable(
            f"{meta.get('FILENAME', 'the product')}: INSTRUME = {instrument!r} has no imaging photometry; "
            f"known are {', '.join(APCORR_KEYS)}"
        )
    return instrument
