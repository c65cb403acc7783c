"""How NaN and DQ go together in images of one value per pixel."""

from __future__ import annotations

import numpy as np

from schemas.dq import DQ
from schemas.products import Rate

PLANES = ("data", "err", "var_poisson", "var_rnoise", "var_flat")
"""The arrays that are NaN together."""


def blank_unusable(rate: Rate) -> Rate:
    """Make NaN and DO_NOT_USE say the same, in place.

    A pixel that is NaN in any array, or flagged DO_NOT_USE, ends up NaN in all of them and flagged.

    Parameters
    ----------
    rate : Rate
        Its arrays are written to; they must be the caller's own.

    Returns
    -------
    Rate
        The same.
    """
    held = [array for name in PLANES if (array := getattr(rate, name)) is not None]
    unusable = (rate.dq & np.uint32(DQ.DO_NOT_USE)) != 0
    for array in held:
        unusable |= np.isnan(array)
    rate.dq[unusable] |= np.uint32(DQ.DO_NOT_USE)
    for array in held:
        array[unusable] = np.nan
    return rate


def scaled(rate: Rate, factor: float) -> Rate:
    """Multiply an image by a number, in place; variances by its square.

    Parameters
    ----------
    rate : Rate
        Its arrays are written to; they must be the caller's own.
    factor : float
        What data and error are multiplied by.
    """
    for name in PLANES:
        array = getattr(rate, name)
        if array is not None:
            array *= np.float32(factor if name in ("data", "err") else factor**2)
    return rate
