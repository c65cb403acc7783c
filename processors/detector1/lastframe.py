"""Leave out MIRI's last group, which the reset that follows pulls down."""

from __future__ import annotations

import numpy as np

from processors.detector1.arrays import demand_miri
from processors.options import Options
from processors.steps import NotApplicable, step
from schemas.dq import DQ
from schemas.products import Ramp
from schemas.references import References


class LastframeOptions(Options):
    """There are none."""


@step(options=LastframeOptions, status="S_LASTFR", repeatable=True)
def lastframe(ramp: Ramp, references: References, options: LastframeOptions) -> Ramp:
    """Flag DO_NOT_USE on the last group of each integration.

    Rows are reset in pairs while the last frame is being read, and the second row of a pair feels the reset
    of the first (JWST documentation of the lastframe step; Ressler et al. 2015, PASP 127, 675).

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx).
    references : References
        None are used.
    options : LastframeOptions
        None.

    Returns
    -------
    Ramp
        With other group flags.

    Raises
    ------
    NotApplicable
        If the exposure is not MIRI's, or has fewer than 3 groups.
    """
    demand_miri(ramp)
    if ramp.shape[1] < 3:
        raise NotApplicable(f"{ramp.shape[1]} groups are too few to leave out the last one")
    out = ramp.edit("groupdq")
    out.groupdq[:, -1] |= np.uint8(DQ.DO_NOT_USE)
    return out
