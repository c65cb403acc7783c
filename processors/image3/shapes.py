"""Shape statistics of sources: sharpness and roundness of DAOFIND, and neighbours.

Sources: Stetson 1987, PASP 99, 191 (the lowered Gaussian and the two statistics).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_FWHM_TO_SIGMA = 1 / (2 * np.sqrt(2 * np.log(2)))


def sharpness_roundness(data: Float64, xy: Float64, fwhm: float) -> tuple[Float64, Float64]:
    """Return DAOFIND's sharpness and roundness of sources.

    Parameters
    ----------
    data : ndarray (ny, nx)
        Finite.
    xy : ndarray (nsource, 2)
        Positions in pixels; NaN gives NaN.
    fwhm : float
        Of the Gaussian, pixels.
    """
    from scipy import ndimage

    kernel, inside = lowered_gaussian(fwhm)
    half = kernel.shape[0] // 2
    density = ndimage.convolve(data, kernel, mode="constant", cval=0.0)
    pixels, heights = (_cutouts(array, xy, half) for array in (data, density))
    peak, height = pixels[:, half, half], heights[:, half, half]
    around = (pixels * inside).sum(axis=(1, 2)) - peak
    with np.errstate(divide="ignore", invalid="ignore"):
        sharp = (peak - around / (inside.sum() - 1)) / height
    return sharp, _roundness(heights, half)


def lowered_gaussian(fwhm: float) -> tuple[Float64, NDArray[np.int64]]:
    """Return Stetson's kernel, whose sum is zero, and where it is defined."""
    sigma = fwhm * _FWHM_TO_SIGMA
    reach = max(2.0, 1.5 * sigma)
    half = int(reach)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    inside = (np.hypot(x, y) <= reach).astype(np.int64)
    gaussian = np.exp(-(x**2 + y**2) / (2 * sigma**2)) * inside
    count = inside.sum()
    denominator = (gaussian**2).sum() - gaussian.sum() ** 2 / count
    return (gaussian - gaussian.sum() / count) / denominator * inside, inside


def _cutouts(data: Float64, xy: Float64, half: int) -> Float64:
    """Return squares around sources, 0 beyond the edge, NaN for positions that are not known."""
    padded = np.pad(data, half)
    out = np.full((len(xy), 2 * half + 1, 2 * half + 1), np.nan)
    for index, (x, y) in enumerate(xy):
        if np.isfinite(x) and np.isfinite(y):
            i, j = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
            if 0 <= i < data.shape[1] and 0 <= j < data.shape[0]:
                out[index] = padded[j : j + 2 * half + 1, i : i + 2 * half + 1]
    return out


def _roundness(heights: Float64, half: int) -> Float64:
    """Return twice the difference between opposite quadrants and their neighbours over the sum of all."""
    cut = heights.copy()
    cut[:, half, half] = 0
    quadrants = (
        cut[:, : half + 1, half + 1 :],
        cut[:, :half, : half + 1],
        cut[:, half:, :half],
        cut[:, half + 1 :, half:],
    )
    signed = sum(sign * part.sum(axis=(1, 2)) for sign, part in zip((-1, 1, -1, 1), quadrants, strict=True))
    total = np.abs(cut).sum(axis=(1, 2))
    return np.asarray(np.divide(2.0 * signed, total, out=np.full(len(cut), np.nan), where=total > 0))


def nearest_neighbours(labels: NDArray[np.integer], xy: Float64) -> tuple[NDArray[np.int32], Float64]:
    """Return label and distance in pixels of each source's nearest neighbour, -1 and NaN without one."""
    from scipy.spatial import KDTree

    label, distance = np.full(len(xy), -1, np.int32), np.full(len(xy), np.nan)
    known = np.flatnonzero(np.isfinite(xy).all(axis=1))
    if known.size > 1:
        near, index = KDTree(xy[known]).query(xy[known], k=2)
        distance[known] = near[:, 1]
        label[known] = labels[known[index[:, 1]]]
    return label, distance
