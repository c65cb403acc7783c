"""Exposures that are made of stripes of the detector: which rows the keywords MSTR_* say were read.

The time series of NIRCam with its dispersed Hartmann sensor are: the spectra lie far apart, and only the rows
around them are read, each time after some rows of reference pixels. Follows the meaning that the JWST
keyword dictionary gives to these keywords.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate, repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import Unprocessable

DETECTOR_ROWS: Final = 2048
"""Of a near-infrared detector; others are not read in stripes."""

_COUNTS: Final = ("MSTR_RD1", "MSTR_SK1", "MSTR_RD2", "MSTR_SK2")


def in_stripes(keywords: Mapping[str, Any]) -> bool:
    """Tell whether an exposure was read in stripes, all of them in each frame."""
    return keywords.get("MSTR_RD1") is not None


def stripes_of(keywords: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    """Return the stripes of an exposure.

    Each frame begins with MSTR_RD1 rows, which see no light; MSTR_SK1 rows are left out, MSTR_RD2 are read.
    Then either MSTR_SK2 are left out and MSTR_RD2 read until the frame is full, or (MSTR_RPT) everything
    begins at the first row again; with MSTR_ILV the readout goes one stripe farther each time.

    Parameters
    ----------
    keywords : mapping of str to scalar
        MSTR_*, SUBSTRT2, SUBSIZE2, SLOWAXIS and SUBARRAY.

    Returns
    -------
    tuple of (int, int)
        First detector row (0-indexed, in the orientation of the images) and number of rows of each stripe, in
        the order in which the image has them.

    Raises
    ------
    Unprocessable
        If the keywords are missing, or describe no readout that fills the image.
    """
    slow_axis = keywords.get("SLOWAXIS")
    if slow_axis not in (2, -2):
        raise _refused(keywords, f"SLOWAXIS = {slow_axis}, and stripes of rows need 2 or -2")
    height = _whole(keywords, "SUBSIZE2", 1)
    stripes, filled = [], 0
    for first, rows in _as_read(keywords, slow_axis):
        stripes.append((first, rows))
        filled += rows
        if filled >= height:
            break
    if filled != height or any(first + rows > DETECTOR_ROWS for first, rows in stripes):
        told = ", ".join(f"{name} = {keywords.get(name)}" for name in _COUNTS)
        raise _refused(keywords, f"{told} do not make up the {height} rows of SUBSIZE2 on the detector")
    if slow_axis > 0:
        return tuple(stripes)
    return tuple((DETECTOR_ROWS - first - rows, rows) for first, rows in reversed(stripes))


def rows_of(stripes: tuple[tuple[int, int], ...]) -> NDArray[np.intp]:
    """Return the detector row of each row of an image, 0-indexed; some may be there several times."""
    return np.concatenate([np.arange(first, first + rows) for first, rows in stripes])


def _as_read(keywords: Mapping[str, Any], slow_axis: int) -> Iterator[tuple[int, int]]:
    """Yield stripes without end, as first row in the order of reading and number of rows."""
    before, skipped, rows, between = (_whole(keywords, name, int(name == "MSTR_RD2")) for name in _COUNTS)
    start = _start(keywords, slow_axis)
    again = bool(_whole(keywords, "MSTR_RPT", 0, absent=0))
    farther = between + rows if again and _whole(keywords, "MSTR_ILV", 0, absent=0) else 0
    head = [(start, before)] if before else []
    if again:
        for first in accumulate(repeat(farther), initial=start + before + skipped):
            yield from (*head, (first, rows))
    yield from head
    yield from (
        (first, rows) for first in accumulate(repeat(between + rows), initial=start + before + skipped)
    )


def _start(keywords: Mapping[str, Any], slow_axis: int) -> int:
    """Return the first row in the order of reading; exposures with Hartmann sensors always begin at the edge.

    Where rows are read downwards SUBSTRT2 names the topmost one, but early files have 1 there.
    """
    named = _whole(keywords, "SUBSTRT2", 1)
    if "DHS" in str(keywords.get("SUBARRAY", "")).upper() or named == 1:
        return 0
    return named - 1 if slow_axis > 0 else DETECTOR_ROWS - named


def _whole(keywords: Mapping[str, Any], name: str, least: int, absent: int | None = None) -> int:
    value = keywords.get(name)
    value = absent if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= DETECTOR_ROWS:
        raise _refused(keywords, f"{name} = {value} is no number from {least} to {DETECTOR_ROWS}")
    return value


def _refused(keywords: Mapping[str, Any], why: str) -> Unprocessable:
    name = keywords.get("FILENAME") or "the exposure"
    return Unprocessable(f"{name}: it was read in stripes, but {why}; mend the header")
