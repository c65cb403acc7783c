"""How the noise of drizzled pixels hangs together.

One input pixel feeds several output pixels, so neighbours share noise. Averaged over the phase between the
grids, the covariance of two output pixels at a lag L is the autocorrelation of the drizzle weight function T
at L (Fruchter and Hook 2002, PASP 114, 144, section 7; Casertano et al. 2000, AJ 120, 2747, appendix). For
the square kernel T is the overlap of an output pixel with a drop, the convolution of their two shapes, and
so its autocorrelation is the convolution of theirs, which are triangle functions. An aperture's variance is
then its independent sum times a factor that grows with its size.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_FINE: Final = 16
"""Samples per output pixel for kernels that have no closed form."""


def correlation(kernel: str, pixfrac: float, jacobian: Float64) -> Float64:
    """Return the correlation coefficients of drizzled noise.

    Parameters
    ----------
    kernel : str
        Of drizzle.
    pixfrac : float
        Side of a drop in input pixels.
    jacobian : ndarray (2, 2)
        Derivative of output with respect to input pixel coordinates.

    Returns
    -------
    ndarray (2 m + 1, 2 m + 1)
        By lag in y and x, from -m to m output pixels; 1 in the middle.
    """
    reach = int(np.ceil(1 + max(pixfrac, 1e-9) * np.abs(jacobian).sum(axis=1).max()))
    if kernel == "point" or pixfrac == 0:
        covariance = np.pad(np.ones((1, 1)), 1)
    elif kernel in ("square", "turbo"):
        side = np.sqrt(abs(np.linalg.det(jacobian)))
        drop = pixfrac * (jacobian if kernel == "square" else np.eye(2) * side)
        covariance = _square(drop, reach)
    else:
        covariance = _sampled(kernel, pixfrac, float(np.sqrt(abs(np.linalg.det(jacobian)))))
    middle = covariance.shape[0] // 2
    return np.asarray(covariance / covariance[middle, middle])


def large_aperture_ratio(coefficients: Float64) -> float:
    """Return the noise of a large aperture over that of as many independent pixels."""
    return float(np.sqrt(coefficients.sum()))


def correlated_variance(weight: Float64, variance: Float64, coefficients: Float64) -> float:
    """Return the variance of a weighted sum of an image's pixels.

    Parameters
    ----------
    weight : ndarray (ny, nx)
        Of each pixel in the sum.
    variance : ndarray (ny, nx)
        Of each pixel.
    coefficients : ndarray (2 m + 1, 2 m + 1)
        From `correlation`.

    Returns
    -------
    float
        Sum over all pairs of pixels of their weights times their covariance. That is the coefficient times
        the mean of their variances, since it comes from input pixels between them: in a bright star, whose
        noise is in the middle of an aperture, the sum is larger than where noise is even.
    """
    padded = np.pad(weight, coefficients.shape[0] // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, coefficients.shape)
    return float(np.einsum("yx,yxij,ij->", weight * variance, windows, coefficients, optimize=True))


def aperture_ratio(coefficients: Float64, radius: float) -> float:
    """Return the noise of a circular aperture over that of as many independent pixels.

    Parameters
    ----------
    coefficients : ndarray (2 m + 1, 2 m + 1)
        From `correlation`.
    radius : float
        Output pixels.

    Returns
    -------
    float
        Multiplies ``sqrt(sum(mask**2 * err**2))``.
    """
    mask = _disc(radius)
    return float(np.sqrt(correlated_variance(mask, np.ones_like(mask), coefficients) / np.square(mask).sum()))


def _disc(radius: float) -> Float64:
    from photutils.aperture import CircularAperture

    return np.asarray(CircularAperture((0.0, 0.0), max(radius, 1e-3)).to_mask(method="exact").data, float)


def _square(drop: Float64, reach: int) -> Float64:
    """Return the integral of the pixel's triangle at each lag over the drop's triangle.

    Gauss-Legendre quadrature on the halves of the drop's triangle, where that is smooth.
    """
    u = np.concatenate([(_NODES - 1) / 2, (_NODES + 1) / 2])
    weight = np.concatenate([_WEIGHTS, _WEIGHTS]) / 2 * (1 - np.abs(u))
    uu, vv = np.meshgrid(u, u)
    x = drop[0, 0] * uu + drop[0, 1] * vv
    y = drop[1, 0] * uu + drop[1, 1] * vv
    lags = np.arange(-reach, reach + 1)
    along_x = np.clip(1 - np.abs(x - lags[:, None, None]), 0, None)
    along_y = np.clip(1 - np.abs(y - lags[:, None, None]), 0, None)
    return np.asarray(np.einsum("v,u,avu,bvu->ab", weight, weight, along_y, along_x, optimize=True))


def _sampled(kernel: str, pixfrac: float, scale: float) -> Float64:
    """Return the autocorrelation of a kernel that drizzle evaluates at pixel centres, from fine samples."""
    half = _half_width(kernel, pixfrac) * scale
    reach = int(np.ceil(2 * half))
    axis = np.arange(-int(half * _FINE), int(half * _FINE) + 1) / _FINE
    x, y = np.meshgrid(axis, axis)
    shape = (
        _gaussian(x, y, pixfrac * scale, half)
        if kernel == "gaussian"
        else _lanczos(x, y, int(kernel[-1]), scale)
    )
    size = axis.size
    transform = np.fft.rfft2(shape, s=(2 * size, 2 * size))
    auto = np.fft.irfft2(np.abs(transform) ** 2, s=(2 * size, 2 * size))
    lags = np.arange(-reach, reach + 1) * _FINE
    inside = np.abs(lags) < size
    covariance = np.zeros((lags.size, lags.size))
    covariance[np.ix_(inside, inside)] = auto[np.ix_(lags[inside], lags[inside])]
    return covariance


def _half_width(kernel: str, pixfrac: float) -> float:
    """Return the kernel's half width in input pixels; drizzle cuts the Gaussian at 2.5 sigma."""
    return 2.5 * pixfrac / 2.3548 if kernel == "gaussian" else float(kernel[-1])


def _gaussian(x: Float64, y: Float64, fwhm: float, half: float) -> Float64:
    radius = x**2 + y**2
    return np.where(radius <= half**2, np.exp(-radius * (2.3548 / fwhm) ** 2 / 2), 0.0)


def _lanczos(x: Float64, y: Float64, order: int, scale: float) -> Float64:
    def along(axis: Float64) -> Float64:
        t = axis / scale
        return np.where(np.abs(t) < order, np.sinc(t) * np.sinc(t / order), 0.0)

    return along(x) * along(y)
