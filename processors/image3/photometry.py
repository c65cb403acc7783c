"""Aperture photometry with local background, and errors that know of correlated noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processors.drizzling.correlation import correlated_variance, correlation
from schemas.meta import Meta

Float64 = NDArray[np.float64]

INDEPENDENT = np.pad(np.ones((1, 1)), 1)
"""Coefficients of noise without correlation."""


@dataclass(frozen=True, kw_only=True)
class Photometry:
    """Fluxes of all sources in one aperture, and of the annulus around each.

    Attributes
    ----------
    flux, flux_err : ndarray (nsource,)
        Sum in the aperture less the local background, in the image's unit; NaN where part of the aperture has
        no data.
    """

    flux: Float64
    flux_err: Float64


@dataclass(frozen=True, kw_only=True)
class LocalBackground:
    """Level of the sky around each source.

    Attributes
    ----------
    level, level_err : ndarray (nsource,)
        Sigma-clipped median in the annulus, per pixel, and its standard error.
    """

    level: Float64
    level_err: Float64


def coefficients_of(meta: Meta) -> Float64:
    """Return the correlation coefficients of a mosaic's noise, from its drizzle keywords.

    Files without NOISECOR, and those whose errors already are those of large apertures (NOISECOR = 1), count
    as uncorrelated.
    """
    if abs(float(meta.get("NOISECOR") or 1.0) - 1.0) < 1e-3:
        return INDEPENDENT
    scale = 1.0 / float(meta.get("PXSCLRT") or 1.0)
    kernel = str(meta.get("KERNEL") or "square")
    return correlation(kernel, float(meta.get("PIXFRAC") or 1.0), np.eye(2) * scale)


def median_ratio(coefficients: Float64) -> float:
    """Return the error of a median of many pixels over that of independent ones.

    The median averages signs; those of two normal variables with coefficient r have the correlation
    2/pi arcsin r (Sheppard 1899, Phil. Trans. R. Soc. A 192, 101).
    """
    return float(np.sqrt(max((2 / np.pi * np.arcsin(np.clip(coefficients, -1, 1))).sum(), 0.0)))


def local_background(
    data: Float64, xy: Float64, annulus: tuple[float, float], coefficients: Float64
) -> LocalBackground:
    """Return the sky level around sources.

    Parameters
    ----------
    data : ndarray (ny, nx)
        NaN where there are no data.
    xy : ndarray (nsource, 2)
        Positions in pixels.
    annulus : tuple of float
        Inner and outer radius, pixels.
    coefficients : ndarray
        Of the noise's correlation.
    """
    from photutils.aperture import CircularAnnulus

    masks = CircularAnnulus(xy, *annulus).to_mask(method="center") if len(xy) else []
    found = np.array([_clipped(mask.get_values(data)) for mask in masks]).reshape(-1, 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = median_ratio(coefficients) * found[:, 1] * np.sqrt(np.pi / (2 * found[:, 2]))
    return LocalBackground(level=found[:, 0], level_err=error)


def _clipped(values: Float64, sigma: float = 3.0, rounds: int = 5) -> tuple[float, float, float]:
    """Return median, standard deviation and number of values within `sigma` of the median."""
    kept = np.sort(values[np.isfinite(values)])
    for _ in range(rounds):
        if kept.size == 0:
            break
        middle, width = np.median(kept), kept.std()
        inside = kept[(kept >= middle - sigma * width) & (kept <= middle + sigma * width)]
        if inside.size == kept.size:
            break
        kept = inside
    if kept.size == 0:
        return np.nan, np.nan, 0.0
    return float(np.median(kept)), float(kept.std()), float(kept.size)


def aperture_flux(
    data: Float64, err: Float64, xy: Float64, radius: float, sky: LocalBackground, coefficients: Float64
) -> Photometry:
    """Return the light in a circular aperture around each source.

    Parameters
    ----------
    data, err : ndarray (ny, nx)
        NaN where there are no data.
    xy : ndarray (nsource, 2)
        Positions in pixels.
    radius : float
        Pixels.
    sky : LocalBackground
        Around the same sources.
    coefficients : ndarray
        Of the noise's correlation.

    Returns
    -------
    Photometry
        The error adds the correlated noise in the aperture and the error of the level under it.
    """
    from photutils.aperture import CircularAperture

    aperture = CircularAperture(xy, radius)
    masks = aperture.to_mask(method="exact") if len(xy) else []
    sums = np.array([_sums(mask, data, err, coefficients) for mask in masks]).reshape(-1, 3)
    complete = sums[:, 2] > aperture.area * (1 - 1e-6) if len(xy) else np.zeros(0, bool)
    flux = np.where(complete, sums[:, 0] - sky.level * sums[:, 2], np.nan)
    variance = sums[:, 1]
    if len(xy):
        variance = variance + (aperture.area * sky.level_err) ** 2
    return Photometry(flux=flux, flux_err=np.where(complete, np.sqrt(variance), np.nan))


def corrected(
    light: Photometry, factor: Float64, relative_error: Float64, noise: Float64 | float = 1.0
) -> Photometry:
    """Return fluxes times factors that are uncertain themselves.

    Parameters
    ----------
    light : Photometry
        Of all sources in one aperture.
    factor, relative_error : ndarray (nsource,)
        Of each source's correction.
    noise : ndarray (nsource,) or float
        True over given errors of the sums.
    """
    flux = light.flux * factor
    return Photometry(flux=flux, flux_err=np.hypot(light.flux_err * factor * noise, flux * relative_error))


def _sums(mask: object, data: Float64, err: Float64, coefficients: Float64) -> tuple[float, float, float]:
    """Return the weighted sum, its variance, and the area with data."""
    large, small = mask.get_overlap_slices(data.shape)  # type: ignore[attr-defined]
    if large is None:
        return np.nan, np.nan, 0.0
    weight, values, sigma = mask.data[small], data[large], err[large]  # type: ignore[attr-defined]
    inside = (weight > 0) & np.isfinite(values) & np.isfinite(sigma)
    return (
        float((weight * values)[inside].sum()),
        correlated_variance(
            np.where(inside, weight, 0.0), np.where(inside, np.square(sigma), 0.0), coefficients
        ),
        float(weight[inside].sum()),
    )


def ab_magnitude(flux: Float64, flux_err: Float64) -> tuple[Float64, Float64]:
    """Return AB magnitudes of fluxes in Jy (Oke and Gunn 1983, ApJ 266, 713), NaN for negative ones.

    Errors are those towards brighter values, 2.5 log10(1 + err / flux).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        positive = np.where(flux > 0, flux, np.nan)
        return -2.5 * np.log10(positive) + 8.9, 2.5 * np.log10(1 + flux_err / positive)
