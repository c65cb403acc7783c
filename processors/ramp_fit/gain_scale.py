"""Rescale rates that were taken with a detector gain other than the standard one."""

from __future__ import annotations

import numpy as np

from processors.options import Options
from processors.steps import NotApplicable, step
from schemas.errors import Unprocessable
from schemas.products import Rate
from schemas.references import References

LINEAR = ("data", "err", "pedestal")
SQUARE = ("var_poisson", "var_rnoise", "var_used")
"""Arrays of rates that are multiplied by the factor, and by its square."""


class GainScaleOptions(Options):
    """There are none."""


@step(options=GainScaleOptions, references=("gain",), status="S_GANSCL")
def gain_scale(rate: Rate, references: References, options: GainScaleOptions) -> Rate:
    """Multiply rates by the factor GAINFACT, and variances by its square.

    Parameters
    ----------
    rate : Rate
        (ny, nx) or (nint, ny, nx), DN/s.
    references : References
        ``gain``, whose header says GAINFACT where there is a factor.
    options : GainScaleOptions
        None.

    Returns
    -------
    Rate
        With GAINFACT in its header.

    Raises
    ------
    NotApplicable
        If neither the rate's header nor the reference's has GAINFACT.
    Unprocessable
        If the factor is not positive.
    """
    reference = references["gain"]
    factor = rate.meta.get("GAINFACT") or reference.keywords.get("GAINFACT")
    if not factor:
        raise NotApplicable(f"{reference.name} has no GAINFACT")
    if not (np.isfinite(factor) and factor > 0):
        raise Unprocessable(
            f"{reference.name}: GAINFACT = {factor} is not a positive number; give another gain reference"
        )
    out = rate.edit(*LINEAR, *SQUARE)
    held = out.arrays()
    for names, by in ((LINEAR, np.float32(factor)), (SQUARE, np.float32(factor**2))):
        for plane in (held[name] for name in names if name in held):
            np.multiply(plane, by, out=plane)
    return out.with_meta(out.meta.with_primary(GAINFACT=(float(factor), "gain scale factor")))
