"""Subtract what MIRI's detectors add to the first groups after a reset."""

from __future__ import annotations

import numpy as np

from processors.detector1.arrays import by_integration, demand_miri, group_of, ramp_reference, writable
from processors.detector1.superbias import subtract
from processors.invalid import require_values
from processors.options import Options
from processors.steps import step
from schemas.dq import DQ
from schemas.products import Ramp
from schemas.references import References

UNRELIABLE_BIAS = np.uint32(DQ.UNRELIABLE_BIAS)


class ResetOptions(Options):
    """There are none."""


@step(options=ResetOptions, references=("reset",), status="S_RESET")
def reset(ramp: Ramp, references: References, options: ResetOptions) -> Ramp:
    """Subtract the reset anomaly from as many groups as the reference has, and add its flags to PIXELDQ.

    The anomaly decays after each reset and differs between the first integrations; beyond the reference's
    last one that one is taken. Where the reference has no finite value nothing is subtracted, and the pixel
    is UNRELIABLE_BIAS. Follows the JWST documentation of the reset step.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), DN.
    references : References
        ``reset`` (nint, ngroup, ny, nx), read group by group.
    options : ResetOptions
        None.

    Returns
    -------
    Ramp
        Float32.

    Raises
    ------
    NotApplicable
        If the exposure is not MIRI's.
    Unprocessable
        If the reference has other pixels, or a group without any finite value.
    """
    demand_miri(ramp)
    reference = ramp_reference(references, "reset", ramp)
    out = writable(ramp, "data", "pixeldq")
    np.bitwise_or(out.pixeldq, reference.dq, out=out.pixeldq)
    for index, block in by_integration(ramp, reference.nint):
        for g in range(min(ramp.shape[1], reference.ngroup)):
            anomaly = group_of(reference, index * reference.ngroup + g)
            bad = ~np.isfinite(anomaly)
            if bad.any():
                require_values(reference, anomaly)
                out.pixeldq[bad] |= UNRELIABLE_BIAS
                anomaly = np.where(bad, np.float32(0), anomaly)
            subtract(out.data[block, g], anomaly, False)
    return out
