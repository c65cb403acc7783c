"""The noise of the reset, which is in rates that come from a single read level.

A difference of groups knows nothing of the level that the reset left a pixel at; the first group alone does.
That level scatters from reset to reset (kTC noise), and no reference file tells by how much. But pixels that
have more groups show it: their straight line, continued from the first group that it goes through to the time
of the reset, should end at 0. How far it misses, beyond what read and photon noise make, is the noise of the
reset, together with all else that the level is uncertain by (bias, drifts that reference pixels left).

In exposures of one group no pixel has more, but faint ones have the light of their neighbours: by how much
more they differ from these than read and photon noise make them is that noise. What neighbours have in common
is not in it; what differs from pixel to pixel in bias, dark and sensitivity to the background is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from processors.ramps.covariance import Float32, PixelNoise, Pixels, ReadPattern
from processors.ramps.gls import Slopes
from processors.ramps.kernels import UNUSABLE
from processors.ramps.pedestals import first_used
from schemas.dq import DQ

ESTIMATED = np.uint32(DQ.FLUX_ESTIMATED)
SAMPLE = 1 << 16
"""About so many pixels of the integration are looked at."""
FEWEST = 50
"""Good ones among them that it takes to tell."""
CROSS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
"""A pixel and its neighbours, in rows and columns."""
LARGEST = 1e12
"""DN^2; no level scatters as much, and single precision holds it."""
SIGMA = 1.4826
"""Standard deviation of a normal distribution about 0, over its median absolute value."""

Ramps = tuple[Float32, NDArray[np.uint8]]


def estimated(
    found: Slopes,
    singles: Sequence[tuple[Pixels, float]],
    ramps: Ramps,
    pattern: ReadPattern,
    noise: PixelNoise,
    *,
    pedestal: NDArray[np.float64] | None = None,
) -> Slopes:
    """Return slopes in which such pixels are FLUX_ESTIMATED, and the noise of the reset is in their errors.

    Parameters
    ----------
    found : Slopes
        Of one integration, by generalised least squares; its arrays are changed.
    singles : sequence of (tuple of ndarray, float)
        Rows and columns of pixels whose rate comes from a single level, with that level's time (s).
    ramps : tuple of ndarray
        Data in DN and GROUPDQ (ngroup, ny, nx).
    pattern : ReadPattern
        Of the groups.
    noise : PixelNoise
        Of all pixels.
    pedestal : ndarray (ny, nx), optional
        As for `reset_variance`.

    Returns
    -------
    Slopes
        The variance at zero flux, the error, and the shares in an average where read noise dominates change:
        this noise depends on no counts. Where too few pixels tell how large it is, only the flag is new.
    """
    singles = [(_rated(found, pixels), time) for pixels, time in singles]
    if not any(rows.size for (rows, _), _ in singles):
        return found
    variance = reset_variance(found, ramps, pattern, noise, pedestal=pedestal)
    for pixels, time in singles:
        found.dq[pixels] |= ESTIMATED
        if not variance:
            continue
        read = found.var_rnoise[pixels].astype(float)
        total = read + variance / time**2
        found.var_rnoise[pixels] = total
        found.err[pixels] = np.sqrt(found.var_poisson[pixels] + total)
        if found.shares is not None:
            found.shares[0, *pixels] *= np.divide(read, total, out=np.ones_like(total), where=total > 0)
    return replace(found)


def _rated(found: Slopes, pixels: Pixels) -> Pixels:
    rated = np.isfinite(found.slope[pixels])
    return pixels[0][rated], pixels[1][rated]


def reset_variance(
    found: Slopes,
    ramps: Ramps,
    pattern: ReadPattern,
    noise: PixelNoise,
    *,
    pedestal: NDArray[np.float64] | None = None,
) -> float:
    """Return the variance of the level that the reset leaves pixels at, DN^2; 0 where too few pixels tell.

    Parameters
    ----------
    found : Slopes
        Of one integration, by generalised least squares.
    ramps : tuple of ndarray
        Data in DN and GROUPDQ (ngroup, ny, nx).
    pattern : ReadPattern
        Of the groups.
    noise : PixelNoise
        Of all pixels.
    pedestal : ndarray (ny, nx), optional
        The level that ramps begin at, DN; 0 unless given.

    Returns
    -------
    float
        From the median absolute level of faint pixels: stars and hits that nobody found do not
        matter.
    """
    data, groupdq = ramps
    if len(data) == 1:
        return _variance_beside_neighbours(found, data[0], float(pattern.mean_t[0]))
    pixels = _sample(found)
    if pixels[0].size < FEWEST:
        return 0.0
    group = first_used(groupdq, pixels)
    slope, time = found.slope[pixels].astype(float), float(pattern.mean_t[group])
    level = data[group][pixels].astype(float) - slope * time
    if pedestal is not None:
        level -= pedestal[pixels]
    expected = _level_variance(found, pixels, (groupdq[group], group), pattern, noise)
    known = np.isfinite(level) & np.isfinite(expected)
    if np.count_nonzero(known) < FEWEST:
        return 0.0
    return _excess_variance(level[known], expected[known])


def _excess_variance(level: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Return by how much more than expected levels scatter about 0, DN^2."""
    measured = (SIGMA * float(np.median(np.abs(level)))) ** 2
    return min(max(measured - float(np.median(expected)), 0.0), LARGEST)


def _variance_beside_neighbours(found: Slopes, level: Float32, time: float) -> float:
    """Return the variance, DN^2, of levels (ny, nx) read at a time that faint pixels and neighbours tell.

    That a pixel is faint is said by it and its four neighbours together; no selection at the median changes
    how far they are apart.
    """
    step = int(np.sqrt(level.size / SAMPLE)) | 1
    ny, nx = level.shape
    cross = [
        (slice(1 + dy, max(ny - 1 + dy, 0), step), slice(1 + dx, max(nx - 1 + dx, 0), step))
        for dy, dx in CROSS
    ]
    good = np.logical_and.reduce([(found.dq[part] == 0) & np.isfinite(found.slope[part]) for part in cross])
    if np.count_nonzero(good) < 2 * FEWEST:
        return 0.0
    own, *others = (level[part][good].astype(float) for part in cross)
    beside = np.mean(others, axis=0)
    faint = own + 4 * beside <= np.median(own + 4 * beside)
    noise = np.square(time * found.err[cross[0]][good][faint].astype(float))
    return _excess_variance((own - beside)[faint] / np.sqrt(1.25), noise)


def _sample(found: Slopes) -> Pixels:
    """Return the fainter half of the good pixels, at odd steps so that all readout columns take part."""
    step = int(np.sqrt(found.slope.size / SAMPLE)) | 1
    part = (slice(None, None, step),) * 2
    rows, columns = np.nonzero((found.dq[part] == 0) & (found.ndiff[part] > 0))
    slope = found.slope[part][rows, columns]
    faint = slope <= np.median(slope) if slope.size else np.zeros(0, np.bool_)
    return rows[faint] * step, columns[faint] * step


def _level_variance(
    found: Slopes,
    pixels: Pixels,
    flagged: tuple[NDArray[np.uint8], int],
    pattern: ReadPattern,
    noise: PixelNoise,
) -> NDArray[np.float64]:
    """Return the variance that read and photon noise give to a group less its line, DN^2.

    `flagged` are the flags of the group, which say where the line goes through it, and its number.
    """
    flags, group = flagged
    used = (flags[pixels] & UNUSABLE) == 0
    time, tau, inverse = pattern.table[:, group]
    gain, read = noise.gain[pixels].astype(float), 0.5 * noise.readnoise[pixels].astype(float) ** 2 * inverse
    photons = np.maximum(found.slope[pixels].astype(float), 0) * tau / gain
    # what the group's own read noise does to the slope, as in a line with equal weights
    n = found.ndiff[pixels] + 1.0
    shared = np.where(used, 6 * read / (n * (n + 1) * (pattern.mean_t[1] - pattern.mean_t[0])), 0)
    variance = read + photons + (time * found.err[pixels].astype(float)) ** 2 + 2 * time * shared
    return np.asarray(variance, np.float64)
