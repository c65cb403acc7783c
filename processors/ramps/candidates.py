"""Which differences of a ramp a cosmic ray has most likely hit: candidates, and what is left without them."""

from __future__ import annotations

from typing import Any

import numpy as np

from processors.ramps.kernels import AP, AR, BR, DT, INV, NSCRATCH, Array, D, L, U, V, kernel

Q, Z, CII, CIJ = range(NSCRATCH, NSCRATCH + 4)
"""More rows of scratch: C^-1 dt, C^-1 times the residual, and diagonal and upper off-diagonal of C^-1."""
NROWS = NSCRATCH + 4
LAST_PAIR = 6.5
"""By how much more two of three differences must lower chi-squared: noise does so in 0.2 % of single hits."""
SIGNIFICANT = 4.5
"""Standard deviations beyond which a difference is more than is usual."""


@kernel
def back_substitute(w: Array, n: int, slope: float) -> None:
    """Write C^-1 dt, C^-1 (d - slope dt) and the elements of C^-1 next to its diagonal, behind `reduce`.

    Parameters
    ----------
    w : ndarray `(NROWS, ngroup)`
        Scratch; rows Q to CIJ are written.
    n : int
        Number of differences.
    slope : float
        DN/s.
    """
    last = n - 1
    w[CII, last] = w[INV, last]
    w[Q, last] = w[V, last] * w[INV, last]
    w[Z, last] = (w[U, last] - slope * w[V, last]) * w[INV, last]
    for i in range(n - 2, -1, -1):
        factor = w[L, i + 1]
        w[CIJ, i] = -factor * w[CII, i + 1]
        w[CII, i] = w[INV, i] - factor * w[CIJ, i]
        w[Q, i] = w[V, i] * w[INV, i] - factor * w[Q, i + 1]
        w[Z, i] = (w[U, i] - slope * w[V, i]) * w[INV, i] - factor * w[Z, i + 1]


@kernel
def best_candidate(w: Array, n: int, slope: float, c: float, cuts: Any) -> tuple[int, int, float]:
    """Find the candidate that is most likely a hit.

    With P = C^-1 - q q / c, z = P d, freeing differences S lowers chi-squared by ``z_S (P_SS)^-1 z_S``, and
    their excess is ``(P_SS)^-1 z_S``. Two are only freed together where they share an averaged group, which a
    hit can split. Where few differences are left, what is hit and what is not explain each other as well; as
    hits add charge, one that takes charge away must lower chi-squared by much more, unless what would be left
    without the others has a rate far below 0. Two of three are only freed if they add charge.

    Parameters
    ----------
    w : ndarray `(NROWS, ngroup)`
        Scratch, behind `back_substitute`.
    n : int
        Number of differences.
    slope, c : float
        DN/s of the line through all, and its inverse variance.
    cuts : tuple of float
        Thresholds.

    Returns
    -------
    first, count : int
        First difference and number of differences (0 for none).
    excess : float
        The decrease of chi-squared.
    """
    first, count, excess, best = -1, 0, 0.0, -np.inf
    for i in range(n):
        pii = w[CII, i] - w[Q, i] ** 2 / c
        gain = w[Z, i] ** 2 / pii
        left = slope - w[Q, i] * w[Z, i] / pii / c
        possible = _possible(left, c - w[Q, i] ** 2 / w[CII, i], cuts[0])
        score = gain - cuts[0] - _penalty(w[Z, i] > 0.0, possible, cuts[0])
        if gain > cuts[0] and score > best:
            first, count, excess, best = i, 1, gain, score
        if n > 2 and i + 1 < n and -1.0 < w[BR, i + 1] < 0.0:
            pjj = w[CII, i + 1] - w[Q, i + 1] ** 2 / c
            pij = w[CIJ, i] - w[Q, i] * w[Q, i + 1] / c
            zi, zj = w[Z, i], w[Z, i + 1]
            one, other = zi * pjj - zj * pij, zj * pii - zi * pij
            determinant = pii * pjj - pij * pij
            gain = (zi * one + zj * other) / determinant
            left = slope - (w[Q, i] * one + w[Q, i + 1] * other) / determinant / c
            adds, possible = one > 0.0 and other > 0.0, _possible(left, _weight_left(w, i, c), cuts[0])
            score = gain - cuts[1] - _penalty(adds, possible, cuts[0]) - (LAST_PAIR if n == 3 else 0.0)
            if gain > cuts[1] and score > best and (n > 3 or (adds and possible)):
                first, count, excess, best = i, 2, gain, score
    return first, count, excess


@kernel
def _penalty(adds: bool, possible: bool, cut: float) -> float:
    """By how much more one must lower chi-squared that takes charge away, or leaves what is no light."""
    return (0.0 if adds else cut) + (0.0 if possible else 2.0 * cut)


@kernel
def _possible(rate: float, weight: float, cut: float) -> bool:
    """Tell whether a rate with an inverse variance is not so far below 0 that no light can have it."""
    return rate > 0.0 or rate * rate * weight < cut


@kernel
def _weight_left(w: Array, i: int, c: float) -> float:
    """Inverse variance of the line through what is left without a difference and the next."""
    qi, qj, ci, cj, cij = w[Q, i], w[Q, i + 1], w[CII, i], w[CII, i + 1], w[CIJ, i]
    return float(c - (qi * qi * cj - 2.0 * qi * qj * cij + qj * qj * ci) / (ci * cj - cij * cij))


@kernel
def suspect(w: Array, hit: int, noise: Any, usual: float) -> bool:
    """Tell whether the other one of two differences has a part of the hit too.

    That can be where both share an averaged group, and nothing else tells the rate. A hit between two frames
    of m that are averaged gives j of m parts to one difference and the rest to the other one. If one of these
    leaves the usual rate, the hit was there rather than on a source that happens to have such a rate.
    """
    other, link = 1 - hit, w[BR, 1]
    if not -1.0 < link < 0.0:
        return False
    gain, read, dark = noise
    rest, excess = w[D, other] - usual * w[DT, other], w[D, hit] - w[D, other] * w[DT, hit] / w[DT, other]
    variance = (usual + dark) / gain * w[AP, other] + read * w[AR, other]
    if rest <= SIGNIFICANT * np.sqrt(variance):
        return False
    frames = round(-1.0 / link)
    for j in range(frames // 2 + 1, frames):
        part = (frames - j) / (2.0 * j - frames)
        # the excess has the noise of both, and what is unusual of the rest too
        off = rest - part * excess
        if off * off < SIGNIFICANT**2 * variance * ((1.0 + part) ** 2 + part * part):
            return True
    return False
