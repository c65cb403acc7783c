"""Leave out MIRI's first groups, which follow the reset and the integration before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from processors.detector1.arrays import demand_miri, first_of_file
from processors.invalid import demand_columns
from processors.options import Options
from processors.steps import NotApplicable, step
from schemas.dq import DQ
from schemas.meta import Meta
from schemas.products import Ramp
from schemas.references import References, TableReference

DO_NOT_USE = np.uint8(DQ.DO_NOT_USE)
SATURATED = np.uint8(DQ.SATURATED)

FEWEST = 3
"""Groups that there must be: the last one is left out too, and a slope takes two."""
SHORT = 5
"""Up to so many groups only the first is left out."""

FIRST, LATER = "INT1SKIP", "INT2SKIP"
"""Keywords that say how many groups were left out, in the first integration and in the others."""

RENAMED = {"SUBPRISM": "SLITLESSPRISM"}
"""What older files call a subarray."""


class RscdOptions(Options):
    """There are none."""


@step(options=RscdOptions, references=("rscd",), status="S_RSCD", repeatable=True)
def rscd(ramp: Ramp, references: References, options: RscdOptions) -> Ramp:
    """Flag DO_NOT_USE on the first groups of each integration.

    They suffer from the first-frame effect and from the reset switch charge decay, which depends on the
    integration before; so the reference tells two numbers, one for the first integration and one for the
    others. Of at most 5 groups only the first is left out, and at least 3 are always kept, of which one is
    the last. Pixels that saturate early keep two unsaturated groups where they have them, at the cost of
    groups that should be left out; their rates are flagged FLUX_ESTIMATED by the fit. Follows the JWST
    documentation of the rscd step, which the former firstframe step is part of.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx); GROUPDQ holds saturation.
    references : References
        ``rscd``, a table by subarray and read pattern.
    options : RscdOptions
        None.

    Returns
    -------
    Ramp
        With other group flags, and the numbers in INT1SKIP and INT2SKIP.

    Raises
    ------
    NotApplicable
        If the exposure is not MIRI's, has fewer than 3 groups, or the reference has no such exposures.
    Unprocessable
        If the reference lacks a column, or has no numbers in it.
    """
    demand_miri(ramp)
    if ramp.shape[1] < FEWEST:
        raise NotApplicable(f"{ramp.shape[1]} groups are too few to leave any out")
    counts = _limited(_listed(references.table("rscd"), ramp.meta), ramp.shape[1])
    start = first_of_file(ramp.meta)
    out = ramp.edit("groupdq")
    for i, groupdq in enumerate(out.groupdq, start + ramp.first_integration):
        _flag(groupdq, counts[min(i, 1)])
    cards: dict[str, Any] = {}
    if start == 0:
        cards[FIRST] = (counts[0], "groups left out in integration 1")
    if int(ramp.meta.get("NINTS") or 1) > 1:
        cards[LATER] = (counts[1], "groups left out in later integrations")
    return out.with_meta(out.meta.with_primary(**cards))


def estimated(ramp: Ramp) -> NDArray[np.bool_] | None:
    """Return which pixels (nint, ny, nx) keep groups that rscd leaves out, because they saturate early.

    Parameters
    ----------
    ramp : Ramp
        With INT1SKIP and INT2SKIP, if it has had the step.

    Returns
    -------
    ndarray of bool, or None
        None where nothing was left out.
    """
    start = first_of_file(ramp.meta) + ramp.first_integration
    counts = [
        int(ramp.meta.get(FIRST if i == 0 else LATER) or 0) for i in range(start, start + len(ramp.data))
    ]
    if not any(counts):
        return None
    kept = np.zeros((ramp.shape[0], *ramp.shape[2:]), np.bool_)
    for plane, groupdq, count in zip(kept, ramp.groupdq, counts, strict=True):
        _find_kept(groupdq, min(count, ramp.shape[1]), plane)
    return kept


def _listed(reference: TableReference, meta: Meta) -> tuple[int, int]:
    """Return the numbers of groups that the reference says, for the first integration and for the others."""
    rows = reference.table()
    columns = set(rows.dtype.names or ())
    names = ["group_skip", *(["group_skip1"] if "group_skip1" in columns else [])]
    remedy = "another file with --set rscd.override_rscd=FILE"
    demand_columns(reference, rows, ["readpatt", "subarray"], remedy)
    demand_columns(reference, rows, names, remedy, numbers=True)
    subarray, pattern = (str(meta.require(key)).strip().upper() for key in ("SUBARRAY", "READPATT"))
    subarray = RENAMED.get(subarray, subarray)
    for row in rows:
        if (_text(row["subarray"]), _text(row["readpatt"])) == (subarray, pattern):
            # Files made before the first integration had a number of its own have none, or a negative one.
            first = int(row["group_skip1"]) if "group_skip1" in columns else -1
            return (first if first >= 0 else 1), int(row["group_skip"])
    raise NotApplicable(f"{reference.name} has no groups to leave out for {subarray} in {pattern}")


def _text(value: Any) -> str:
    return (value.decode() if isinstance(value, bytes) else str(value)).strip().upper()


def _limited(counts: tuple[int, int], ngroup: int) -> tuple[int, int]:
    """Return the numbers that leave enough of so many groups."""
    first, later = (1, 1) if ngroup <= SHORT else counts
    return min(first, ngroup - FEWEST), min(later, ngroup - FEWEST)


@njit(cache=True, parallel=True)
def _flag(groupdq, count):
    """Flag the first `count` groups, fewer where not even two groups behind them are unsaturated."""
    ngroup, ny, nx = groupdq.shape
    for y in prange(ny):
        for x in range(nx):
            first = 0
            while first < ngroup and not groupdq[first, y, x] & SATURATED:
                first += 1
            left_out = count
            if 0 < first < count + 2:
                left_out = max(0, first - 2)
            for g in range(left_out):
                groupdq[g, y, x] |= DO_NOT_USE


@njit(cache=True, parallel=True)
def _find_kept(groupdq, count, kept):
    _, ny, nx = groupdq.shape
    for y in prange(ny):
        for x in range(nx):
            for g in range(count):
                if not groupdq[g, y, x] & DO_NOT_USE:
                    kept[y, x] = True
