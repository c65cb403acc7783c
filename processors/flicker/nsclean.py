"""NSClean: a background of low frequencies, fitted to the pixels of NIRSpec's images that see no light.

Rauscher (2024, PASP 136, 015001). A line of pixels is a time series of which light has taken parts away. The
few Fourier coefficients that the noise has are fitted to what is left, each sample weighted by the reciprocal
of the local density of samples. With B the incomplete Fourier matrix and P the weights, they are the solution
of ``(B* P^2 B) b = B* P^2 d``. All elements of that matrix are values of the Fourier transform of the squared
weights at differences of two frequencies, so that neither B nor its inverse is ever formed, and the lines of
an image are solved together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.flicker.clipping import Image, Usable
from processors.flicker.stripes import Lines

SIZE = 2048
"""Pixels of a full frame along each side."""
CUTOFF = 1 / 256
"""Frequency of half power of full frames, cycles per pixel."""
ROLL_OFF = 1 / 1024
"""Width of the filter's edge, cycles per pixel."""
DENSITY = 32.0
"""Standard deviation over which the density of samples is taken, pixels."""
ACROSS = 1.5
"""Standard deviation with which the model of full frames is smoothed across lines."""
BORDER = 4
"""Lines of reference pixels."""
STRIP = 256
"""Lines that are solved together: their matrices bound the memory."""
SINGULAR = 1e-8
"""Least ratio of eigenvalues with which a line's equations have a solution that means something."""
REJECTED = 3.0
REJECTED_SUBARRAY = 4.0

OVERHEAD = 12
"""Ticks of the pixel clock between two lines of a subarray."""
TICK = 10e-6
SAMPLES = 512
"""Usable pixels that are fitted together, in subarrays."""
LEAST = 0.05
"""Fraction of usable pixels below which a piece of a subarray is left alone."""
EDGES = (1061.0, 1211.0, 49943.0, 49957.0)
EDGES_ALLSLITS = (150.0, 200.0, 49943.0, 49957.0)
"""Frequencies, Hz, between which the filter rolls off, and from which it rolls on again for alternating
pixels."""


@dataclass(frozen=True)
class Reading:
    """In which order the pixels of an image are read.

    Attributes
    ----------
    flipped : bool
        Whether columns are read from the last to the first, as NRS2's are.
    edges : tuple of float
        The filter of subarrays.
    """

    flipped: bool = False
    edges: tuple[float, float, float, float] = EDGES

    @classmethod
    def of(cls, detector: str, subarray: str) -> Reading:
        """Return that of a NIRSpec detector and subarray."""
        return cls(detector.upper() != "NRS1", EDGES_ALLSLITS if subarray.upper() == "ALLSLITS" else EDGES)


def fitted_noise(image: Image, usable: Usable, reading: Reading) -> Image:
    """Return the noise (ny, nx) of an image without its background level.

    Parameters
    ----------
    image : ndarray of float32 (ny, nx)
        Values; finite everywhere.
    usable : ndarray of bool (ny, nx)
        Pixels that see no light.
    reading : Reading
        Of the detector.
    """
    step = -1 if reading.flipped else 1
    lines = np.ascontiguousarray(image.T[::step])
    mask = np.ascontiguousarray(usable.T[::step])
    full = image.shape == (SIZE, SIZE)
    model = full_frame_noise(lines, mask) if full else subarray_noise(lines, mask, reading.edges)
    return np.ascontiguousarray(model[::step].T)


def full_frame_noise(lines: Image, usable: Usable) -> Image:
    """Return the noise of a full frame (nline, n), line by line, smoothed across the lines.

    Outliers of a line, by its median absolute deviation, count as its median.

    Parameters
    ----------
    lines : ndarray of float32 (nline, n)
        In the order in which they are read.
    usable : ndarray of bool (nline, n)
        Which samples count.
    """
    from scipy.ndimage import gaussian_filter1d

    nline, n = lines.shape
    gain = _low_pass(np.arange(n // 2 + 1) / n)
    count = int((gain > 0).sum())
    values = _without_outliers(lines, usable)
    density = _density_kernel(n)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(count)) / n)
    model = np.zeros(lines.shape, np.float32)
    for first in range(BORDER, nline - BORDER, STRIP):
        part = slice(first, min(first + STRIP, nline - BORDER))
        weight = _weights(usable[part], density) ** 2
        found = _solutions(weight @ waves, (weight * values[part]) @ waves, usable[part].sum(axis=1))
        found *= gain[:count]
        found[:, 1:] *= 2  # what negative frequencies add
        model[part] = (found @ waves.conj().T).real
    return np.asarray(gaussian_filter1d(model, ACROSS, axis=0, mode="wrap"))


def subarray_noise(lines: Image, usable: Usable, edges: tuple[float, float, float, float]) -> Image:
    """Return the noise of a subarray (nline, n), fitted to pieces of several lines that overlap by half.

    Parameters
    ----------
    lines : ndarray of float32 (nline, n)
        In the order in which they are read.
    usable : ndarray of bool (nline, n)
        Which samples count.
    edges : tuple of float
        The filter's, Hz.
    """
    mask = _without_neighbours_of_outliers(lines, usable)
    model, total = np.zeros(lines.shape), np.zeros((len(lines), 1))
    for part in _pieces(mask.sum(axis=1)):
        weight = 1.001 - np.abs(np.linspace(-1, 1, part.stop - part.start))[:, np.newaxis]
        total[part] += weight
        if mask[part].mean() > LEAST:
            model[part] += weight * _piece(lines[part], mask[part], edges)
    return np.asarray(np.divide(model, total, out=model, where=total > 0), np.float32)


def _low_pass(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gain of full frames' filter: 1, then half a cosine's period, then 0."""
    phase = np.clip((frequency - CUTOFF) / ROLL_OFF, -0.5, 0.5)
    gain = 0.5 * (1 - np.sin(np.pi * phase))
    return np.where(frequency <= CUTOFF + ROLL_OFF / 2, gain, 0.0)


def _band_pass(frequency: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.float64]:
    low, lower, high, higher = edges
    off = np.clip((frequency - low) / (lower - low), 0, 1)
    on = np.clip((frequency - high) / (higher - high), 0, 1)
    return 0.5 * (np.cos(np.pi * off) + 1) + 0.5 * (1 - np.cos(np.pi * on))


def _density_kernel(n: int, sigma: float = DENSITY, centre: int = 0) -> NDArray[np.complex128]:
    """Return the Fourier transform of a normalised Gaussian around a sample of a circle of n."""
    distance = np.minimum((np.arange(n) - centre) % n, (centre - np.arange(n)) % n)
    gaussian = np.exp(-0.5 * (distance / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    return np.fft.rfft(gaussian)


def _weights(usable: Usable, density: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return for each usable sample (..., n) the reciprocal of the density of such, 0 for the others."""
    local = np.fft.irfft(np.fft.rfft(usable.astype(np.float64)) * density, usable.shape[-1])
    return np.divide(1.0, local, out=np.zeros(usable.shape), where=usable & (local > 0))


def _solutions(
    spectrum: NDArray[np.complex128], right: NDArray[np.complex128], samples: NDArray[Any]
) -> NDArray[np.complex128]:
    """Return the coefficients (nline, count) of successive frequencies from 0 on; 0 for lines that have none.

    Parameters
    ----------
    spectrum, right : ndarray of complex128 (nline, count)
        Fourier transforms of the squared weights, and of the samples times those.
    samples : ndarray of int (nline,)
        Number of samples of each line.
    """
    count = spectrum.shape[1]
    apart = np.subtract.outer(np.arange(count), np.arange(count))
    matrices = np.where(apart >= 0, spectrum[:, np.abs(apart)], spectrum[:, np.abs(apart)].conj())
    found = np.zeros_like(right)
    _solve(matrices, right, found, samples >= 2 * count)
    return found


def _solve(matrices: Any, right: Any, found: Any, worth: NDArray[np.bool_]) -> None:
    """Solve those of many equations that are not singular, into `found`."""
    worth = worth & np.isfinite(matrices).all(axis=(1, 2))
    values = np.linalg.eigvalsh(matrices[worth])
    worth[worth] = values[:, 0] > SINGULAR * values[:, -1]
    found[worth] = np.linalg.solve(matrices[worth], right[worth][..., np.newaxis])[..., 0]


def _without_outliers(lines: Image, usable: Usable) -> Image:
    along = Lines(1)
    middle = along.medians(lines, usable)
    distance = np.abs(lines - middle.astype(np.float32))
    reach = (REJECTED * 1.4826) * along.medians(distance, usable)
    return np.where(distance <= reach.astype(np.float32), lines, middle.astype(np.float32))


def _without_neighbours_of_outliers(lines: Image, usable: Usable) -> Usable:
    """Return the mask without outliers of the whole image and what touches them."""
    from scipy.ndimage import binary_dilation

    values = lines[usable]
    if not values.size:
        return usable
    middle = np.median(values)
    width = 1.4826 * np.median(np.abs(values - middle))
    outliers = usable & (np.abs(lines - middle) > REJECTED_SUBARRAY * width)
    return np.asarray(usable & ~binary_dilation(outliers))


def _pieces(usable: NDArray[np.int64]) -> list[slice]:
    """Divide lines into pieces of enough usable samples, each beginning half way through the one before.

    Parameters
    ----------
    usable : ndarray of int (nline,)
        Usable samples of each line.
    """
    lit = np.flatnonzero(usable)
    if not lit.size:
        return []
    before = np.concatenate([[0], np.cumsum(usable)])
    first, end = int(lit[0]), int(lit[-1]) + 1
    pieces = []
    while first < end:
        stop = end
        if before[-1] - before[first] > 1.5 * SAMPLES:
            stop = min(int(np.searchsorted(before, before[first] + SAMPLES, side="right")), end)
        pieces.append(slice(first, stop))
        if stop == end:
            break
        first += max(int(np.round((stop - first) / 2)), 1)
    return pieces


def _piece(lines: Image, usable: Usable, edges: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Return the noise of some lines, as one time series with gaps between the lines."""
    nline, length = lines.shape
    n = nline * (length + OVERHEAD)
    gain = _band_pass(np.arange(n // 2 + 1) / (n * TICK), edges)
    which = np.flatnonzero(gain > 0)
    sigma = 1 / (4 * (edges[0] + edges[1]) * TICK)
    gaps = ((0, 0), (0, OVERHEAD))
    # one sample late, as in the code that came with the paper: as good, and the same numbers as others have
    density = _density_kernel(n, sigma, centre=1)
    weight = _weights(np.pad(usable, gaps).ravel(), density) ** 2
    spectrum = np.fft.fft(weight)
    matrix = spectrum[np.subtract.outer(which, which) % n]
    right = np.fft.fft(weight * np.pad(lines, gaps).ravel())[which]
    found = np.zeros((1, which.size), complex)
    _solve(matrix[np.newaxis], right[np.newaxis], found, np.array([usable.sum() >= 2 * which.size]))
    coefficients = np.zeros(n // 2 + 1, complex)
    coefficients[which] = found[0] * gain[which] * n
    return np.fft.irfft(coefficients, n).reshape(nline, -1)[:, :length]
