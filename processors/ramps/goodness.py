"""How probable the chi-squared of a fit is, and which ramps no straight line fits.

The probability that noise alone gives a larger chi-squared is the regularised incomplete gamma function
``Q(dof / 2, chi2 / 2)``; for whole degrees of freedom it is a finite sum of positive terms (Abramowitz and
Stegun 1964, eqs. 26.4.4 and 26.4.5), exact and far cheaper than the general function.
"""

from __future__ import annotations

from dataclasses import replace
from math import erfc, lgamma
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.ramps.covariance import Float32
from processors.ramps.gls import Slopes
from processors.ramps.kernels import Array, kernel, parallel_kernel
from schemas.dq import DQ

POOR = np.uint32(DQ.UNRELIABLE_SLOPE)
STEP = 0.05
"""Between nodes of the table, in half of chi-squared."""
LARGE = 600.0
"""From here on ``exp(-chi2 / 2)`` nears the smallest double, and the sum is scaled."""


def judged(slopes: Slopes, threshold: float) -> Slopes:
    """Return slopes with the probability of chi-squared, and UNRELIABLE_SLOPE where it is below a threshold.

    Parameters
    ----------
    slopes : Slopes
        By generalised least squares; its flags are changed in place.
    threshold : float
        Probability; the part of clean ramps that are flagged. 0 flags none.
    """
    found = probability(slopes.chi2, slopes.ndof)
    _flag(found, float(np.float32(threshold)), slopes.dq)
    return replace(slopes, probability=found)


def probability(chi2: Float32, ndof: NDArray[np.integer]) -> Float32:
    """Return the probability that noise alone gives a larger chi-squared.

    Parameters
    ----------
    chi2 : ndarray (ny, nx), float32
        Chi-squared.
    ndof : ndarray (ny, nx), integer
        Degrees of freedom.

    Returns
    -------
    ndarray (ny, nx), float32
        NaN where there are no degrees of freedom, or chi-squared is NaN: nothing was tested.
    """
    out = np.empty(chi2.shape, np.float32)
    usual = int(ndof.max(initial=0))
    _probabilities(chi2, ndof, (usual, *_table(usual)), out)
    return out


@kernel
def _table(n: int) -> tuple[float, Array]:
    """Tabulate the probability for the degrees of freedom that most pixels have.

    Returns
    -------
    begin : float
        Half of chi-squared at the first node; from there on the function is smooth enough for `_between`.
    nodes : ndarray `(node, 2)`
        The probability at steps of `STEP`, and what it changes by in a step, by its slope there.
    """
    mean, width = 0.5 * n, 10.0 * np.sqrt(0.5 * n)
    begin = max(1.0, mean - width)
    nodes = np.empty((int((mean + width + 30.0 - begin) / STEP), 2))
    for i in range(nodes.shape[0]):
        half = begin + i * STEP
        density = np.exp((mean - 1.0) * np.log(half) - half - lgamma(mean)) if n else 0.0
        nodes[i, 0], nodes[i, 1] = _exact(n, half), -density * STEP
    return begin, nodes


@parallel_kernel
def _probabilities(chi2: Array, ndof: Array, usual: Any, out: Array) -> None:
    dof, begin, nodes = usual
    end = begin + (nodes.shape[0] - 1) * STEP
    for y in prange(chi2.shape[0]):
        for x in range(chi2.shape[1]):
            n, half = ndof[y, x], 0.5 * np.float64(chi2[y, x])
            if n < 1 or not half >= 0.0:
                out[y, x] = np.nan
            elif n == dof and half >= begin and half < end:
                out[y, x] = _between(nodes, (half - begin) / STEP)
            else:
                out[y, x] = _exact(n, half)


@kernel
def _between(nodes: Array, place: float) -> float:
    """Interpolate by a cubic with the function's values and slopes; its error is below single precision."""
    i = int(place)
    t = place - i
    low, high = nodes[i, 0], nodes[i + 1, 0]
    a = nodes[i, 1] - (high - low)
    b = (high - low) - nodes[i + 1, 1]
    return float((1.0 - t) * low + t * high + t * (1.0 - t) * ((1.0 - t) * a + t * b))


@kernel
def _exact(n: int, half: float) -> float:
    return _far(n, half) if half > LARGE else _near(n, half)


@kernel
def _near(n: int, half: float) -> float:
    """Probability for `n` degrees of freedom and half of chi-squared, where no term of the sum overflows."""
    if n % 2:
        root = np.sqrt(half)
        total, term, first = erfc(root), 2.0 * root * np.exp(-half) / np.sqrt(np.pi), 1.5
    else:
        total, term, first = 0.0, np.exp(-half), 1.0
    for k in range(n // 2):
        total += term
        term *= half / (first + k)
    return min(total, 1.0)


@kernel
def _far(n: int, half: float) -> float:
    """The same for a large chi-squared: terms are kept in bounds, and their scale apart."""
    if np.isinf(half):
        return 0.0
    total, term, scale, first = 0.0, 1.0, -half, 1.0
    if n % 2:
        term, first = 2.0 * np.sqrt(half / np.pi), 1.5  # erfc is below the smallest double here
    for k in range(n // 2):
        total += term
        term *= half / (first + k)
        if term > 1e200:
            total, term, scale = total * 1e-200, term * 1e-200, scale + 200.0 * np.log(10.0)
    if total == 0.0:
        return 0.0
    return min(np.exp(scale + np.log(total)), 1.0)


@parallel_kernel
def _flag(probability: Array, threshold: float, dq: Array) -> None:
    for y in prange(dq.shape[0]):
        for x in range(dq.shape[1]):
            if probability[y, x] < threshold:
                dq[y, x] |= POOR
