"""From count rates to surface brightness."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from astropy import units

from processors.image2.rows import matching_row, selection, text
from processors.image2.validity import blank_unusable, scaled
from processors.invalid import require_values
from processors.options import Options, option
from processors.steps import step
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.products import Rate
from schemas.references import References, TableReference

MICROJANSKY: Final = float((units.MJy / units.sr).to(units.uJy / units.arcsec**2))
"""Microjansky per square arcsecond in 1 MJy/sr."""

SELECTORS: Final = {
    "NIRCAM": ("FILTER", "PUPIL"),
    "NIRISS": ("FILTER", "PUPIL"),
    "MIRI": ("FILTER", "SUBARRAY"),
    "FGS": (),
}
"""Keywords that select a row of an imaging photom table, by instrument."""


class PhotomOptions(Options):
    """Options of `photom`."""

    apply_time_correction: bool = option(
        True, doc="correct for the sensitivity's change in time, where the reference tells it"
    )


@step(references=("photom",), optional=("area",), options=PhotomOptions, status="S_PHOTOM")
def photom(rate: Rate, references: References, options: PhotomOptions) -> Rate:
    """Convert an image from DN/s to MJy/sr and attach the pixel areas.

    Parameters
    ----------
    rate : Rate
        Flat-fielded count rates, DN/s.
    references : References
        ``photom`` (MJy/sr per DN/s for each filter) and ``area`` (pixel areas over the nominal one; where
        there is none, the image carries none).
    options : PhotomOptions
        See there.

    Returns
    -------
    Rate
        Surface brightness with PHOTMJSR, PHOTUJA2, PIXAR_SR and PIXAR_A2 in its header.

    Raises
    ------
    Unprocessable
        If the image is not in DN/s, or the table has no row for the exposure's filter and pupil, or says no
        finite conversion for it, or no pixel has an area.
    """
    _in_count_rates(rate.meta)
    table = references.table("photom")
    conversion = conversion_factor(rate.meta, table, time_correction=options.apply_time_correction)
    area = references.image("area") if "area" in references else None
    if area is not None:
        require_values(area, area.data, positive=True)
    names = [
        name
        for name in ("data", "err", "dq", "var_poisson", "var_rnoise", "var_flat")
        if getattr(rate, name) is not None
    ]
    out = blank_unusable(scaled(rate.edit(*names), conversion))
    sources = [table.keywords] if area is None else [area.keywords, table.keywords]
    meta = out.meta.with_science(
        PHOTMJSR=(conversion, "Flux density (MJy/steradian) producing 1 cps"),
        PHOTUJA2=(conversion * MICROJANSKY, "Flux density (uJy/arcsec2) producing 1 cps"),
        BUNIT=("MJy/sr", "physical units of the array values"),
        **_pixel_area(sources),
    )
    return replace(out, meta=meta, area=None if area is None else np.array(area.data))


def _in_count_rates(meta: Meta) -> None:
    unit = str(meta.get("BUNIT", "DN/s")).strip()
    if text(unit) != "DN/S":
        raise Unprocessable(
            f"{meta.get('FILENAME', 'the product')}: BUNIT = {unit!r} where DN/s is needed; if photom has "
            "run on it already there is nothing to do, else give a _rate or _rateints file"
        )


def conversion_factor(meta: Meta, reference: TableReference, *, time_correction: bool) -> float:
    """Return what 1 DN/s is in MJy/sr.

    Parameters
    ----------
    meta : Meta
        Of the exposure: instrument, filter, pupil or subarray, time.
    reference : TableReference
        ``photom``.
    time_correction : bool
        Whether to correct for the sensitivity's change in time.
    """
    table = reference.table()
    row = _row(meta, reference, table)
    conversion = float(table["photmjsr"][row])
    if time_correction:
        conversion /= sensitivity(reference, row, meta)
    if not np.isfinite(conversion):
        raise Unprocessable(
            f"{reference.name}: photmjsr is {conversion} in row {row + 1}; give another photom file"
        )
    return conversion


def _row(meta: Meta, reference: TableReference, table: np.ndarray) -> int:
    instrument = text(meta.require("INSTRUME"))
    if instrument not in SELECTORS:
        raise Unprocessable(
            f"{meta.get('FILENAME', 'the product')}: INSTRUME = {instrument!r} has no imaging photometry; "
            f"known are {', '.join(SELECTORS)}"
        )
    columns = table.dtype.names or ()
    keywords = SELECTORS[instrument]
    if not keywords:
        return 0
    if instrument == "NIRCAM" and "subarray" in columns:
        keywords = (*keywords, "SUBARRAY")
    wanted = selection(meta, keywords)
    if instrument == "MIRI" and wanted["subarray"] not in {text(entry) for entry in table["subarray"]}:
        wanted["subarray"] = "GENERIC"
    return matching_row(table, wanted, reference)


def sensitivity(reference: TableReference, row: int, meta: Meta) -> float:
    """Return the sensitivity at the exposure's time over that of the table.

    The reference may tell a linear, an exponential and a power law, which are multiplied. Times are in days
    (MJD).

    Parameters
    ----------
    reference : TableReference
        ``photom``, with none, some or all of the tables TIMECOEFF_LINEAR, _EXPONENTIAL and _POWERLAW.
    row : int
        The exposure's row.
    meta : Meta
        With EXPMID.
    """
    laws = {
        name.upper().removeprefix("TIMECOEFF_"): table[row]
        for name, table in reference.tables.items()
        if name.upper() in _TIME_TABLES
    }
    if not laws:
        return 1.0
    time = float(meta.require("EXPMID"))
    return float(np.prod([_LAWS[name](time, law) for name, law in laws.items()]))


def _linear(time: float, law: Any) -> float:
    return float(1.0 - law["lossperyear"] * (time - law["t0"]) / 365.0)


def _exponential(time: float, law: Any) -> float:
    return float(law["amplitude"] * np.exp(-(time - law["t0"]) / law["tau"]) + law["const"])


def _power(time: float, law: Any) -> float:
    norm = (365.0 + law["tsoft"]) ** law["alpha"] / law["year1value"]
    return float((time - law["t0"] + law["tsoft"]) ** law["alpha"] / norm)


_LAWS = {"LINEAR": _linear, "EXPONENTIAL": _exponential, "POWERLAW": _power}
_TIME_TABLES = frozenset(f"TIMECOEFF_{name}" for name in _LAWS)


def _pixel_area(sources: list[Any]) -> dict[str, Any]:
    """Return PIXAR_SR and PIXAR_A2 of the first header that has both."""
    comments = {"PIXAR_SR": "Nominal pixel area in steradians", "PIXAR_A2": "Nominal pixel area in arcsec^2"}
    for keywords in sources:
        if all(keywords.get(name) is not None for name in comments):
            return {name: (float(keywords[name]), comment) for name, comment in comments.items()}
    return {}
