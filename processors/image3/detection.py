"""Find sources: background, threshold, segments, blends."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Search:
    """How sources are looked for; see the options of `source_catalog`."""

    snr_threshold: float
    bkg_boxsize: int
    kernel_fwhm: float
    npixels: int
    connectivity: int
    nlevels: int
    contrast: float
    multithresh_mode: str
    deblend: bool


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search found.

    Attributes
    ----------
    data : ndarray (ny, nx)
        The image less its background.
    smoothed : ndarray (ny, nx)
        That, convolved with the detection kernel.
    segments : photutils.segmentation.SegmentationImage, optional
        None where there is no source.
    """

    data: Float64
    smoothed: Float64
    segments: Any


def find_sources(data: Float64, uncovered: NDArray[np.bool_], how: Search) -> Found:
    """Find sources in an image.

    Parameters
    ----------
    data : ndarray (ny, nx)
        Any unit; finite where covered.
    uncovered : ndarray of bool (ny, nx)
        Pixels to leave out.
    how : Search
        Thresholds and sizes.
    """
    from photutils.segmentation import SourceFinder
    from photutils.utils import NoDetectionsWarning

    level, rms = background(data, uncovered, how.bkg_boxsize)
    clean = np.where(uncovered, 0.0, data - level)
    smoothed = smooth(clean, uncovered, how.kernel_fwhm)
    finder = SourceFinder(
        n_pixels=how.npixels, connectivity=how.connectivity, deblend=how.deblend, n_levels=how.nlevels,
        contrast=how.contrast, mode=how.multithresh_mode, progress_bar=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        segments = finder(smoothed, how.snr_threshold * rms, mask=uncovered)
    return Found(data=clean, smoothed=smoothed, segments=segments)


def background(data: Float64, uncovered: NDArray[np.bool_], box: int) -> tuple[Float64, Float64]:
    """Return the background level and its rms: sigma-clipped medians in boxes, filtered and interpolated.

    Where no box has enough covered pixels, one box is laid over the whole image.
    """
    from astropy.stats import SigmaClip
    from astropy.utils.exceptions import AstropyUserWarning
    from photutils.background import Background2D, MedianBackground

    how = {
        "coverage_mask": uncovered,
        "filter_size": (3, 3),
        "bkg_estimator": MedianBackground(),
        "sigma_clip": SigmaClip(3.0, maxiters=5),
    }
    filled = np.where(uncovered, 0.0, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        try:
            found = Background2D(filled, (box, box), **how)
        except ValueError:
            found = Background2D(filled, data.shape, exclude_percentile=100.0, **how)
        return np.asarray(found.background, float), np.asarray(found.background_rms, float)


def smooth(data: Float64, uncovered: NDArray[np.bool_], fwhm: float) -> Float64:
    """Convolve with a Gaussian, filling pixels that are left out from their neighbours."""
    if fwhm <= 0:
        return data
    from astropy.convolution import Gaussian2DKernel, convolve
    from astropy.stats import gaussian_fwhm_to_sigma
    from astropy.utils.exceptions import AstropyUserWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        return np.asarray(
            convolve(data, Gaussian2DKernel(fwhm * gaussian_fwhm_to_sigma), mask=uncovered), float
        )
