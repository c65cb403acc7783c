"""Charge traps: what an illumination fills, and what comes out of them later.

When a pixel fills, its depletion region shrinks and exposes traps to charge (Smith et al. 2008, Proc. SPIE
7021, 70210J; Leisenring et al. 2016, Proc. SPIE 9915, 99152N): each small step of the fill, a share df of the
full well, exposes the same number of traps. Those of a family k hold, after they were exposed for a time u,

    c2 + c0 (1 - exp(c1 u)),    c1 < 0,

an instantaneous part and one that is captured with an e-folding time of -1 / c1. After the reset they let go
with an e-folding time of -1 / d, d < 0. Traps that were full before, and what refills them, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.products import PersistenceHistory

DAY = 86400.0
"""Seconds."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Families:
    """Families of traps; arrays `(nfamily,)`.

    Attributes
    ----------
    exponential, rate, instant : ndarray
        c0, c1 (1/s, negative) and c2.
    decay : ndarray
        d (1/s, negative).
    """

    exponential: Values
    rate: Values
    instant: Values
    decay: Values


def captured(reach: Values, length: float, families: Families) -> Values:
    """Return what one integration leaves in a pixel's traps, relative to the traps of the whole well.

    Parameters
    ----------
    reach : ndarray `(npixel,)`
        Share of the full well that light alone would reach by the end of the integration; may exceed 1.
    length : float
        Of the integration, s.
    families : Families
        Of traps.

    Returns
    -------
    ndarray `(nfamily, npixel)`
        The integral over the steps of the fill: all of the well that was filled, each step for as long as it
        was exposed.
    """
    reach = np.maximum(reach, 1e-9)
    filled = np.minimum(reach, 1.0)
    full = length / np.maximum(reach, 1.0)  # time at which the fill ends: with the well, or the integration
    rate = families.rate[:, None]
    # Mean of exp(c1 u) over exposures u from length - full to length; expm1 keeps the digits of short ones.
    mean = np.exp(rate * (length - full)) * np.expm1(rate * full) / (rate * full)
    return filled * (families.instant[:, None] + families.exponential[:, None] * (1 - mean))


def filled(
    history: PersistenceHistory, rows: NDArray[np.intp], well: Values, families: Families, moment: float
) -> Values:
    """Return what an exposure's pixels still have in their traps, relative to the traps of the whole well.

    Parameters
    ----------
    history : PersistenceHistory
        Of the exposure.
    rows : ndarray `(npixel,)`
        Which of its pixels.
    well : ndarray `(npixel,)`
        The full well of each, DN.
    families : Families
        Of traps.
    moment : float
        When, MJD, not before the exposure's end.

    Returns
    -------
    ndarray `(nfamily, npixel)`
    """
    pixels, times = history.pixels[rows], history.integrations
    last = np.searchsorted(times[:, 0], pixels["time"], side="right") - 1
    last = last.clip(0, len(times) - 1)
    first = np.maximum(last + 1 - pixels["integrations"], 0)
    length = float(np.median(times[:, 1] - times[:, 0])) * DAY
    once = captured(pixels["fluence"].astype(float) / well, length, families)
    left = np.exp(families.decay[:, None] * np.maximum(moment - times[:, 1], 0.0) * DAY)
    so_far = np.concatenate([np.zeros((len(left), 1)), np.cumsum(left, axis=1)], axis=1)
    return once * (so_far[:, last + 1] - so_far[:, first])


def released(decay: Values, begin: float, times: Values) -> Values:
    """Return the share of trapped charge that comes out from the beginning of an integration on.

    Parameters
    ----------
    decay : ndarray `(nfamily,)`
        d, 1/s.
    begin : float
        Seconds from when the charge is known to the integration's beginning.
    times : ndarray `(ngroup, nframes)`
        When each frame of each group is read, s from the integration's beginning.

    Returns
    -------
    ndarray `(nfamily, ngroup)`
        Mean of the group's frames.
    """
    share = -np.expm1(decay[:, None, None] * times) * np.exp(decay * begin)[:, None, None]
    return np.asarray(share.mean(axis=2))
