"""Begin the data quality flags with the mask of bad pixels."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from processors.detector1.arrays import image
from processors.detector1.headers import demand_whole_integrations
from processors.options import Options
from processors.steps import step
from schemas.dq import DQ
from schemas.products import Ramp
from schemas.references import References

DO_NOT_USE = np.uint32(DQ.DO_NOT_USE)


class DqInitOptions(Options):
    """There are none."""


@step(options=DqInitOptions, references=("mask",), status="S_DQINIT", repeatable=True)
def dq_init(ramp: Ramp, references: References, options: DqInitOptions) -> Ramp:
    """Add the mask's flags to PIXELDQ, and DO_NOT_USE to all groups of bad pixels.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx).
    references : References
        ``mask``.
    options : DqInitOptions
        None.

    Returns
    -------
    Ramp
        With other flags.

    Raises
    ------
    Unprocessable
        If the exposure was read out in superstripes, or the mask has other pixels.
    """
    demand_whole_integrations(ramp.meta)
    mask = image(references, "mask", ramp)
    out = ramp.edit("groupdq", "pixeldq")
    np.bitwise_or(out.pixeldq, mask.dq, out=out.pixeldq)
    _flag_groups(out.groupdq.reshape(-1, *out.pixeldq.shape), mask.dq)
    return out


@njit(cache=True, parallel=True)
def _flag_groups(groupdq, mask):
    for y in prange(groupdq.shape[1]):
        for k in range(groupdq.shape[0]):
            for x in range(groupdq.shape[2]):
                groupdq[k, y, x] |= np.uint8(mask[y, x] & DO_NOT_USE)
