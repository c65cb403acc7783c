"""The fit of a periodic disturbance to ramps: the amplitude and the phase that make them straightest.

The model of sample `g` of a pixel is ``a + b g + c z(phase + g dphase)``: a straight line and the waveform
``z`` at the phase that the readout's clock gives the pixel. With `a` and `b` eliminated, chi-squared summed
over pixels is ``A c^2 + B c`` plus a constant, so its least value and `c` follow from two sums for each phase
of the first pixel. Pixels of equal phase enter by the sum of their ramps, in bins as fine as the waveform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Spline = Callable[[Float64], Float64]

ROWS = 1024
"""Rows of the detector: those outside a subarray are skipped at a clock of their own."""
SKIPPED_ROW = 7.0
"""Ticks that a skipped row takes."""
OUTPUTS = 4
"""Outputs that read neighbouring columns at the same time."""
PHASES = 500
"""Phases at which chi-squared is computed."""
QUIET = 2.0
"""Pixels whose scatter over the groups is below so many times the median are looked at."""
_NORMAL = 1.4826
"""Standard deviation over the median absolute deviation of normal numbers."""
UNSTEADY = (1, 2)
"""Columns of each output, behind its reference pixel, that are left out."""


@dataclass(frozen=True)
class Clock:
    """How a subarray is read, in ticks of the pixel clock.

    Attributes
    ----------
    row, frame : float
        Of a row; of the reset frame between two integrations.
    samples : int
        Of a pixel: 1, or 9 in slow readouts.
    """

    row: float
    frame: float
    samples: int

    def times(self, shape: tuple[int, ...], period: float) -> Times:
        """Return the phases of an integration of shape (ngroup, ny, nx) for a period in ticks."""
        ngroup, ny, nx = shape
        columns = np.arange(nx // OUTPUTS) * self.samples
        pixels = ((np.arange(ny)[:, np.newaxis] * self.row + columns) / period) % 1
        group = ((ny * self.row + (ROWS - ny) * SKIPPED_ROW) / period) % 1
        return Times(np.asarray(pixels, np.float64), group, group * ngroup + self.frame / period, ngroup)


@dataclass(frozen=True)
class Times:
    """When pixels are read, in periods of the disturbance.

    Attributes
    ----------
    pixels : ndarray (ny, nx / 4)
        Of the first group, from the first pixel on, modulo 1.
    group, integration : float
        From one group to the next (modulo 1), and from one integration to the next.
    ngroup : int
        Groups of an integration.
    """

    pixels: Float64
    group: float
    integration: float
    ngroup: int

    def start(self, index: int) -> float:
        """Return the phase at which integration `index` of the exposure begins, the first at 0."""
        return self.integration * index

    def bins(self, count: int) -> tuple[NDArray[np.int64], Float64]:
        """Return in which of `count` bins of phase each pixel is, and the middle of each bin."""
        return (self.pixels * count).astype(np.int64), (np.arange(count) + 0.5) / count

    @staticmethod
    def spline(wave: Float64) -> Spline:
        """Return a function that interpolates a waveform, given at the middles of equal bins of phase."""
        from scipy.interpolate import make_interp_spline

        extended = np.concatenate([wave[-1:], wave, wave[:1]])
        spline = make_interp_spline((np.arange(len(extended)) - 0.5) / len(wave), extended, k=3)
        return lambda phase: np.asarray(spline(phase % 1))


Terms = tuple[Float64, Float64]
"""A and B of chi-squared ``A c^2 + B c`` at each of the phases."""

Sums = tuple[Float64, Float64]
"""Of one integration: the sum of the good pixels' ramps in each bin of phase, and the number of pixels."""


def phase_sums(
    data: NDArray[np.float32], pixeldq: NDArray[np.uint32], times: Times, count: int
) -> Iterator[Sums]:
    """Yield for each integration the sum of the good pixels' ramps in each bin of phase, and their number.

    Parameters
    ----------
    data : ndarray (nint, ngroup, ny, nx)
        DN.
    pixeldq : ndarray (ny, nx)
        Pixels with any flag are left out.
    times : Times
        Phases.
    count : int
        Bins.

    Yields
    ------
    sums : ndarray (count, ngroup)
        DN.
    numbers : ndarray (count,)
        Pixels.
    """
    bins, _ = times.bins(count)
    scatter = np.stack([integration.std(axis=0) for integration in data])
    good = (scatter < QUIET * np.median(scatter)) & (pixeldq == 0)
    for k in UNSTEADY:
        good[:, :, k * OUTPUTS : (k + 1) * OUTPUTS] = False
    for integration, chosen in zip(data, good, strict=True):
        sums = np.zeros((times.ngroup, count))
        numbers = np.zeros(count)
        _add_up(integration, chosen, bins, sums)
        _count(chosen, bins, numbers)
        yield np.ascontiguousarray(sums.T), numbers


@njit(cache=True, parallel=True)
def _add_up(data, good, bins, sums):
    ny, nx = bins.shape
    for g in prange(data.shape[0]):
        for y in range(ny):
            for k in range(nx):
                for x in range(OUTPUTS * k, OUTPUTS * (k + 1)):
                    if good[y, x]:
                        sums[g, bins[y, k]] += data[g, y, x]


@njit(cache=True)
def _count(good, bins, numbers):
    ny, nx = bins.shape
    for y in range(ny):
        for k in range(nx):
            for x in range(OUTPUTS * k, OUTPUTS * (k + 1)):
                numbers[bins[y, k]] += good[y, x]


def noise_variance(data: NDArray[np.float32], pixeldq: NDArray[np.uint32]) -> float:
    """Return the variance of a sample about its ramp, DN^2, from how ramps bend in the middle.

    A disturbance that is there counts as noise too; of one that matters it is a small part.

    Parameters
    ----------
    data : ndarray (nint, ngroup, ny, nx)
        DN; at least 3 groups.
    pixeldq : ndarray (ny, nx)
        Pixels with any flag are left out.
    """
    middle, found = data.shape[1] // 2, []
    for integration in data:
        before, here, after = integration[middle - 1 : middle + 2].astype(np.float64)
        bend = (before - 2 * here + after)[pixeldq == 0]
        found.append(np.median(np.abs(bend - np.median(bend))) ** 2 if bend.size else np.nan)
    return float(np.mean(found)) * _NORMAL**2 / 6


def fit_terms(sums: Sequence[Sums], model: Spline, times: Times) -> list[Terms]:
    """Return A and B of each integration's chi-squared for each phase of its first pixel.

    Parameters
    ----------
    sums : sequence of Sums
        As `phase_sums` yields them.
    model : callable
        The waveform.
    times : Times
        Phases.
    """
    t = np.arange(times.ngroup, dtype=np.float64)
    n, st, stt = float(times.ngroup), t.sum(), (t * t).sum()
    delta = n * stt - st * st
    lines = [(total.sum(axis=1), total @ t) for total, _ in sums]
    _, middles = times.bins(len(sums[0][1]))
    template = (middles[:, np.newaxis] + t * times.group) % 1
    terms = [(np.empty(PHASES), np.empty(PHASES)) for _ in sums]
    for k in range(PHASES):
        z = model(template + k / PHASES)
        sz, stz = z.sum(axis=1), z @ t
        bent = (z * z).sum(axis=1) - (stt * sz * sz - 2 * st * sz * stz + n * stz * stz) / delta
        for (total, numbers), (sy, sty), (quadratic, linear) in zip(sums, lines, terms, strict=True):
            straight = stt * sz * sy - st * (stz * sy + sz * sty) + n * stz * sty
            quadratic[k] = np.sum(numbers * bent)
            linear[k] = 2 * (np.sum(straight) / delta - np.sum(z * total))
    return terms


class Chi2:
    """Chi-squared of integrations that are fitted together.

    Parameters
    ----------
    terms : sequence of Terms
        Of each integration.
    starts : sequence of float
        Phase at which each begins.
    """

    def __init__(self, terms: Sequence[Terms], starts: Sequence[float]) -> None:
        self._terms, self._starts = terms, starts

    def over(self, phases: Float64) -> Float64:
        """Return the least chi-squared at each phase, NaN where the waveform says nothing."""
        found = [self._sums(float(phase)) for phase in phases]
        return np.array([b * _lowest(a, b) / 2 if _tells(a, b) else np.nan for a, b in found])

    def amplitude(self, phase: float) -> float:
        """Return the amplitude that lowers chi-squared most at a phase, 0 where none does."""
        a, b = self._sums(phase)
        return _lowest(a, b) if _tells(a, b) else 0.0

    def significance(self, phase: float, variance: float) -> float:
        """Return the amplitude at a phase in units of its error, for the variance of a sample."""
        a, _ = self._sums(phase)
        if not (_tells(a, 0.0) and variance > 0):
            return 0.0
        return abs(self.amplitude(phase)) * float(np.sqrt(max(a, 0.0) / variance))

    def _sums(self, phase: float) -> tuple[float, float]:
        grid = np.arange(PHASES) / PHASES
        a = b = 0.0
        for (quadratic, linear), start in zip(self._terms, self._starts, strict=True):
            # The phases are so dense that the next one above will do.
            k = int(np.argmin((grid - phase - start) % 1))
            a, b = a + float(quadratic[k]), b + float(linear[k])
        return a, b


def _lowest(a: float, b: float) -> float:
    return -b / (2 * a)


def _tells(a: float, b: float) -> bool:
    return bool(np.isfinite(a) and np.isfinite(b) and abs(a) > 1e-8)


def best_phase(chi2: Float64) -> float:
    """Return the phase of the least of equally spaced values over one period.

    It is the vertex of the parabola through the least value and its neighbours; the first one's are the
    second and the last.
    """
    if not np.isfinite(chi2).any():
        return 0.0
    best = int(np.nanargmin(chi2))
    before, here, after = chi2[best - 1], chi2[best], chi2[(best + 1) % len(chi2)]
    bend = before - 2 * here + after
    shift = (before - after) / (2 * bend) if np.isfinite(bend) and bend > 0 else 0.0
    return float((best + shift) / len(chi2))


def subtract_wave(data: NDArray[np.float32], times: Times, fitted: tuple[Spline, float, float]) -> None:
    """Subtract a waveform from an integration (ngroup, ny, nx), in place.

    Parameters
    ----------
    data : ndarray of float32
        DN.
    times : Times
        Phases.
    fitted : tuple of (callable, float, float)
        The waveform, its amplitude and the phase of the first pixel.
    """
    model, amplitude, phase = fitted
    for g, group in enumerate(data):
        disturbance: Any = amplitude * model(times.pixels + (times.group * g + phase))
        for output in range(OUTPUTS):
            group[:, output::OUTPUTS] -= disturbance[:, : group[:, output::OUTPUTS].shape[1]]
