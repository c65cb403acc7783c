"""Which pixels an exposure leaves charge in: found integration by integration, kept as a sparse table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.keywords import began, cadence
from schemas.meta import Meta
from schemas.products import HISTORY_COLUMNS, Ramp
from schemas.references import Window

DAY = 86400.0
"""Seconds."""
SATURATED = np.uint8(DQ.SATURATED)
DO_NOT_USE = np.uint8(DQ.DO_NOT_USE)
BLIND = np.uint32(DQ.DO_NOT_USE | DQ.REFERENCE_PIXEL | DQ.NON_SCIENCE)
"""Flags of pixels of which nothing can be said."""


def starts(meta: Meta, first: int, nint: int) -> NDArray[np.float64]:
    """Return when integrations begin, MJD (UTC).

    Parameters
    ----------
    meta : Meta
        With the table INT_TIMES, of the whole exposure or of the file's segment (INTSTART) of it; or with
        what :func:`schemas.keywords.began` and :func:`schemas.keywords.cadence` take.
    first, nint : int
        Index in the file of the first one, and how many.

    Raises
    ------
    Unprocessable
        If neither tells.
    """
    listed = _listed(meta, int(meta.get("INTSTART") or 1) + first + np.arange(nint))
    if listed is not None:
        return listed
    keywords = {**dict(meta.science), **dict(meta.primary)}
    start = began(keywords)
    if start is None:
        raise Unprocessable(
            f"{meta.get('FILENAME', 'the product')}: nothing tells when it began; add EXPSTART (MJD), or "
            "DATE-OBS and TIME-OBS, to the primary header"
        )
    length = cadence(keywords) or float(meta.require("EFFINTTM"))
    return np.asarray(start + (first + np.arange(nint)) * length / DAY, float)


def _listed(meta: Meta, numbers: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return when integrations of some numbers, from 1, begin by INT_TIMES; None if it does not tell."""
    table = meta.tables.get("INT_TIMES")
    names = {} if table is None else {str(n).lower(): n for n in table.dtype.names or ()}
    if table is None or "int_start_mjd_utc" not in names:
        return None
    if "integration_number" in names:
        listed = table[names["integration_number"]].tolist()
    else:  # in order: all of the exposure, or those of the file
        whole = len(table) >= max(int(meta.get("INTEND") or 0), numbers[-1])
        begin = 1 if whole else int(meta.get("INTSTART") or 1)
        listed = range(begin, begin + len(table))
    rows = {number: row for row, number in enumerate(listed)}
    if not all(number in rows for number in numbers.tolist()):
        return None
    found = np.asarray(table[names["int_start_mjd_utc"]], float)[[rows[n] for n in numbers.tolist()]]
    return found if np.all(np.isfinite(found) & (found > 0)) else None


def group_ends(meta: Meta, ngroup: int) -> NDArray[np.float64]:
    """Return when each group ends `(ngroup,)`, s from the beginning of its integration."""
    nframes, gap = int(meta.require("NFRAMES")), int(meta.require("GROUPGAP"))
    frames = np.arange(ngroup) * (nframes + gap) + nframes + int(meta.get("DRPFRMS1") or 0)
    return np.asarray(frames * float(meta.require("TFRAME")))


def group_middles(meta: Meta, ngroup: int) -> NDArray[np.float64]:
    """Return the mean time of each group's reads `(ngroup,)`, s from the beginning of its integration."""
    half = 0.5 * (int(meta.require("NFRAMES")) - 1) * float(meta.require("TFRAME"))
    return np.asarray(group_ends(meta, ngroup) - half)


def bright_pixels(ramp: Ramp, index: int, threshold: float, start: float) -> NDArray[Any]:
    """Return the rows of a history for one integration.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), linearised DN.
    index : int
        Which of its integrations.
    threshold : float
        DN from which a pixel counts as bright.
    start : float
        When the integration began, MJD.

    Returns
    -------
    structured ndarray
        Of :data:`schemas.products.HISTORY_COLUMNS`, in order of y and x.
    """
    data, flags = ramp.data[index], ramp.groupdq[index]
    saturated = np.zeros(data.shape[1:], bool)
    bright = np.zeros(data.shape[1:], bool)
    for samples, dq in zip(data, flags, strict=True):
        full = (dq & SATURATED) != 0
        saturated |= full
        bright |= full | ((samples > threshold) & ((dq & DO_NOT_USE) == 0))
    y, x = np.nonzero(bright & ((ramp.pixeldq & BLIND) == 0))
    ends = group_ends(ramp.meta, len(data))
    ramps, dq = data[:, y, x].astype(float), flags[:, y, x]
    full = (dq & SATURATED) != 0
    usable = ((dq & (SATURATED | DO_NOT_USE)) == 0) & np.isfinite(ramps)
    rows = np.zeros(y.size, list(HISTORY_COLUMNS))
    over = full | (usable & (ramps > threshold))
    rows["time"] = start + ends[over.argmax(axis=0)] / DAY
    rows["fluence"] = _rate(ramps, usable, group_middles(ramp.meta, len(data))) * ends[-1]
    window = Window.of(ramp.meta.primary, data.shape[1:])
    rows["y"], rows["x"] = window.rows[y], x + window.x
    rows["integrations"], rows["saturated"] = 1, saturated[y, x]
    if window.stripes:  # in whatever order they were read, and some twice
        rows = rows[np.unique(_pixel(rows), return_index=True)[1]]
    return rows


def joined(before: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """Return the rows of a history after one integration more: the last one counts, and how many there are.

    Parameters
    ----------
    before, new : structured ndarray
        Of the integrations before, and of this one.
    """
    if not len(before) or not len(new):
        return new if len(new) else before
    first, second = _pixel(before), _pixel(new)
    _, old, again = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    new = new.copy()
    new["integrations"][again] += before["integrations"][old]
    kept = np.ones(len(before), bool)
    kept[old] = False
    both = np.concatenate([before[kept], new])
    return both[np.argsort(np.concatenate([first[kept], second]), kind="stable")]


def _rate(ramps: NDArray[Any], usable: NDArray[np.bool_], times: NDArray[Any]) -> NDArray[Any]:
    """Return DN/s between the first and the last usable group; else of the first group from the reset on."""
    column = np.arange(ramps.shape[1])
    first = usable.argmax(axis=0)
    last = len(usable) - 1 - usable[::-1].argmax(axis=0)
    several = usable.any(axis=0) & (last > first)
    begin, end = np.where(several, first, 0), np.where(several, last, 0)
    rise = ramps[end, column] - np.where(several, ramps[begin, column], 0.0)
    span = times[end] - np.where(several, times[begin], 0.0)
    return np.nan_to_num(np.maximum(rise, 0.0) / span)


def _pixel(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Return one number for each pixel, which orders them by y and x."""
    return rows["y"].astype(np.int64) << 16 | rows["x"]
