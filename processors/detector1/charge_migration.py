"""Flag groups in which charge has left bright pixels for their neighbours."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from processors.options import Options, option
from processors.steps import NotApplicable, off, step
from schemas.dq import DQ
from schemas.products import Ramp
from schemas.references import References

DO_NOT_USE = np.uint8(DQ.DO_NOT_USE)
LOST = np.uint8(DQ.CHARGELOSS | DQ.DO_NOT_USE)


class ChargeMigrationOptions(Options):
    """Options of the charge migration step."""

    signal_threshold: float = option(
        25000.0, gt=0, unit="DN", doc="signal above which charge is taken to migrate"
    )


@off
@step(options=ChargeMigrationOptions, status="S_CHGMIG", repeatable=True)
def charge_migration(ramp: Ramp, references: References, options: ChargeMigrationOptions) -> Ramp:
    """Flag CHARGELOSS and DO_NOT_USE from the first group above a threshold, in the pixel and beside it.

    In a pixel that fills, charge is pushed into its four neighbours: its own ramp bends, and theirs
    (Goudfrooij et al. 2024, PASP 136, 014503). What comes before is left to be fitted. It is meant for
    exposures whose stars are so sharp that a pixel fills while its neighbours are nearly empty, as NIRISS's;
    it runs wherever a recipe asks for it.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), linearised DN.
    references : References
        None are used.
    options : ChargeMigrationOptions
        Threshold.

    Returns
    -------
    Ramp
        With other group flags.

    Raises
    ------
    NotApplicable
        If there are fewer than 3 groups.
    """
    if ramp.shape[1] < 3:
        raise NotApplicable(f"{ramp.shape[1]} groups are too few to leave some out")
    out = ramp.edit("groupdq")
    first = np.empty(ramp.shape[2:], np.int32)
    for data, groupdq in zip(out.data, out.groupdq, strict=True):
        _find_first(data, groupdq, np.float32(options.signal_threshold), first)
        _flag_from(groupdq, first)
    return out


@njit(cache=True, parallel=True)
def _find_first(data, groupdq, threshold, first):
    """Find each pixel's first usable group above the threshold; ngroup for none."""
    ngroup, ny, nx = data.shape
    for y in prange(ny):
        first[y] = ngroup
        for g in range(ngroup - 1, -1, -1):
            for x in range(nx):
                if data[g, y, x] > threshold and groupdq[g, y, x] != DO_NOT_USE:
                    first[y, x] = g


@njit(cache=True, parallel=True)
def _flag_from(groupdq, first):
    ngroup, ny, nx = groupdq.shape
    for y in prange(ny):
        for x in range(nx):
            begin = first[y, x]
            if y > 0:
                begin = min(begin, first[y - 1, x])
            if y < ny - 1:
                begin = min(begin, first[y + 1, x])
            if x > 0:
                begin = min(begin, first[y, x - 1])
            if x < nx - 1:
                begin = min(begin, first[y, x + 1])
            for g in range(begin, ngroup):
                groupdq[g, y, x] |= LOST
