"""Rescale rates that were taken with a detector gain other than the standard one."""

from __future__ import annotations

import numpy as np

from processors.invalid import settle
from processors.options import Options
from processors.steps import NotApplicable, step
from schemas.errors import Unprocessable
from schemas.products import Rate
from schemas.references import Reference, References

LINEAR = ("data", "err", "pedestal")
SQUARE = ("var_poisson", "var_rnoise", "var_used")
"""Arrays of rates that are multiplied by the factor, and by its square."""
LEAST = 1e-6
"""Factors below, and above its inverse, are no gains."""


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
        With GAINFACT in its header; NaN and DO_NOT_USE where single precision cannot hold the product.

    Raises
    ------
    NotApplicable
        If neither the rate's header nor the reference's has GAINFACT.
    Unprocessable
        If the factor is not a positive number, or no gain's.
    """
    factor = _factor(rate, references["gain"])
    out = rate.edit("dq", *LINEAR, *SQUARE)
    held = out.arrays()
    with np.errstate(over="ignore", invalid="ignore"):
        for names, by in ((LINEAR, np.float32(factor)), (SQUARE, np.float32(factor) ** 2)):
            for plane in (held[name] for name in names if name in held):
                np.multiply(plane, by, out=plane)
    return settle(out.with_meta(out.meta.with_primary(GAINFACT=(factor, "gain scale factor"))))


def _factor(rate: Rate, reference: Reference) -> float:
    """Return the factor that the rate's header says, else the reference's."""
    said = rate.meta.get("GAINFACT")
    factor = reference.keywords.get("GAINFACT") if said is None else said
    if factor is None:
        raise NotApplicable(f"{reference.name} has no GAINFACT")
    number = float(factor) if isinstance(factor, (int, float)) else float("nan")
    if not LEAST <= number <= 1 / LEAST:
        raise Unprocessable(
            f"{reference.name if said is None else 'the rate'}: GAINFACT = {factor} is not a positive number "
            "of reasonable size; give another gain reference, or mend the header"
        )
    return number
