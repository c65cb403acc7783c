"""Read-noise variances of ramps that lost their last groups to charge migration.

A star's core loses groups that its wings keep, and so has noisier rates; what weights by inverse read-noise
variance, as mosaics do, would then favour the wings and change the star's profile. The standard pipeline
therefore states the read-noise variance that the ramp would have with the groups marked CHARGELOSS; so do we.
Rates, and the groups that they come from, stay as they are, and so do errors: for generalised least squares
what is not read noise counts as photons', for ordinary least squares (as there) the two variances no longer
add up to the square of the error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.ramps import gls, ols
from processors.ramps.covariance import PixelNoise, Pixels, ReadPattern
from schemas.dq import DQ

LOST = np.uint8(DQ.CHARGELOSS)
BOTH = np.uint8(DQ.CHARGELOSS | DQ.DO_NOT_USE)
Ramps = tuple[NDArray[Any], NDArray[np.uint8]]


def restored_gls(found: gls.Slopes, ramps: Ramps, pattern: ReadPattern, noise: PixelNoise) -> gls.Slopes:
    """Return slopes in which the read-noise variance of such ramps is that with the groups that were lost.

    Parameters
    ----------
    found : Slopes
        Of one integration, by generalised least squares; its arrays are changed.
    ramps : tuple of ndarray
        Data in DN and GROUPDQ (ngroup, ny, nx).
    pattern : ReadPattern
        Of the groups.
    noise : PixelNoise
        Of all pixels.
    """
    pixels = _touched(found, ramps[1])
    if not pixels[0].size:
        return found
    data, groupdq = _whole(pixels, ramps)
    few = noise.of_pixels(pixels)
    made = gls.fit_slopes(data, groupdq, pattern, few, suppress_one_group=False, shares=False)
    fitted = np.isfinite(made.var_rnoise[0])
    pixels, whole = (pixels[0][fitted], pixels[1][fitted]), made.var_rnoise[0, fitted]
    found.var_poisson[pixels] += np.maximum(found.var_rnoise[pixels] - whole, 0)
    found.var_rnoise[pixels] = whole
    return found


def restored_ols(found: gls.Slopes, ramps: Ramps, timing: ols.Timing, noise: PixelNoise) -> gls.Slopes:
    """Return slopes as `restored_gls` does, with the variance of the groups that were used in `var_used`.

    Parameters
    ----------
    found : Slopes
        Of one integration, by ordinary least squares; its arrays are changed.
    ramps, noise
        As for `restored_gls`.
    timing : Timing
        Of the groups.
    """
    used = found.var_rnoise.copy()
    pixels = _touched(found, ramps[1])
    if pixels[0].size:
        data, groupdq = _whole(pixels, ramps)
        made = ols.fit_slopes(data, groupdq, timing, noise.of_pixels(pixels), suppress_one_group=False)
        found.var_rnoise[pixels] = made.var_rnoise[0]
    return replace(found, var_used=used)


def _touched(found: gls.Slopes, groupdq: NDArray[np.uint8]) -> Pixels:
    lost = (np.bitwise_or.reduce(groupdq, axis=0) & LOST) != 0
    rows, columns = np.nonzero(lost & np.isfinite(found.slope))
    return rows, columns


def _whole(pixels: Pixels, ramps: Ramps) -> Ramps:
    """Return data and flags (ngroup, 1, npixel) without what charge migration flagged."""
    data, groupdq = ramps
    flags = groupdq[:, *pixels][:, np.newaxis]
    values = np.ascontiguousarray(data[:, *pixels][:, np.newaxis], np.float32)
    return values, np.where((flags & LOST) != 0, flags & ~BOTH, flags)
