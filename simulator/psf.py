"""A point-spread function like JWST's: a segmented pupil, a field at several wavelengths, pixels.

The field of each wavelength is a matrix Fourier transform of the pupil (Soummer et al. 2007, Opt. Express 15,
15935), so the focal plane is sampled at a fraction of a detector pixel whatever the wavelength. The sum over
an infinite focal plane is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]

OVERSAMPLE = 5
"""Samples per detector pixel; odd, so that a pixel's integral is centred on a sample."""
PUPIL_SAMPLES = 512
DIAMETER = 6.62
"""Width of the square that holds the pupil, m."""
FLAT_TO_FLAT = 1.32
"""Width of a segment, m."""
PITCH = 1.327
"""Distance between neighbouring segments' centres, m."""
WAVEFRONT_ERROR = 60e-9
"""Root mean square of the segments' tip, tilt, piston and focus, m."""
JITTER = 0.007
"""Line-of-sight jitter, arcsec rms per axis."""


@dataclass(frozen=True)
class PSF:
    """A point-spread function integrated over pixels, sampled `OVERSAMPLE` times per pixel.

    ``samples[k, l]`` is the fraction of a source's light in a detector pixel whose centre is at
    ``((k, l) - centre) / OVERSAMPLE`` pixels from the source; shape ``(n, n)`` with odd ``n``.
    """

    samples: Array
    half: int
    """Stamps reach so many pixels from the source's pixel."""

    @property
    def centre(self) -> int:
        """Index of the source's position in `samples`."""
        return int(self.samples.shape[0] // 2)

    def stamp(self, dx: float, dy: float, half: int | None = None) -> Array:
        """Return a source's image on the pixel grid.

        Parameters
        ----------
        dx, dy : float
            Where the source is from the centre of the stamp's middle pixel, within half a pixel.
        half : int, optional
            Half width of the stamp in pixels; `self.half` unless said.

        Returns
        -------
        ndarray
            Fractions of the light, shape ``(2 half + 1, 2 half + 1)``.
        """
        size = self.half if half is None else half
        rows = self._shift(self.samples, dy, size)
        return self._shift(rows.T, dx, size).T

    def _shift(self, samples: Array, offset: float, half: int) -> Array:
        """Sample the first axis at whole pixels from a source at `offset`, by sinc-like quintic Lagrange
        weights.
        """
        start = self.centre - OVERSAMPLE * (half + offset)
        first = int(np.floor(start))
        weights = _lagrange(start - first)
        count = 2 * half + 1
        result = np.zeros((count, samples.shape[1]))
        for k, weight in enumerate(weights):
            begin = first + k - 2
            result += weight * samples[begin : begin + OVERSAMPLE * count : OVERSAMPLE]
        return result

    def encircled(self, radius: Array) -> Array:
        """Return the fraction of the light that an aperture on a detector's image catches, averaged over
        sub-pixel positions.

        The aperture takes exact fractions of pixels, as if their light were even, so this is the light of a
        source averaged over a pixel once by the detector and once more by the aperture.

        Parameters
        ----------
        radius : ndarray
            Radii in detector pixels.
        """
        from photutils.aperture import CircularAperture

        # Five samples, each even over its own small square, are even over the pixel.
        blurred = _pixel_mean(self.samples)
        centre = (self.centre, self.centre)
        caught = [
            CircularAperture(centre, OVERSAMPLE * r).do_photometry(blurred)[0][0] if r > 0 else 0.0
            for r in np.atleast_1d(radius)
        ]
        return np.array(caught) / OVERSAMPLE**2


def _lagrange(t: float) -> Array:
    nodes = np.arange(-2, 4)
    weights = [float(np.prod([(t - m) / (k - m) for m in nodes if m != k])) for k in nodes]
    return np.array(weights)


def _pixel_mean(samples: Array) -> Array:
    return np.asarray(ndimage.uniform_filter(samples, OVERSAMPLE, mode="constant"))


def segments() -> list[tuple[float, float]]:
    """Return the centres of the 18 segments, m: two rings of hexagons around the missing one."""
    centres = []
    for q in range(-2, 3):
        for r in range(max(-2, -q - 2), min(2, -q + 2) + 1):
            if (q, r) != (0, 0):
                centres.append((PITCH * np.sqrt(3) / 2 * q, PITCH * (r + q / 2)))
    return centres


@lru_cache(maxsize=1)
def pupil() -> tuple[Array, Array]:
    """Return the pupil's transmission and its path difference in m, shape ``(512, 512)``.

    Segments with piston, tip, tilt and focus errors; three struts of the secondary mirror, 0.1 m wide.
    """
    axis = (np.arange(PUPIL_SAMPLES) - PUPIL_SAMPLES / 2 + 0.5) * DIAMETER / PUPIL_SAMPLES
    x, y = np.meshgrid(axis, axis)
    transmission, path = np.zeros_like(x), np.zeros_like(x)
    rng = np.random.default_rng(20211225)
    for cx, cy in segments():
        u, v = (x - cx) / (FLAT_TO_FLAT / 2), (y - cy) / (FLAT_TO_FLAT / 2)
        inside = (
            np.maximum(
                np.abs(v), np.maximum(np.abs(v / 2 + u * np.sqrt(3) / 2), np.abs(v / 2 - u * np.sqrt(3) / 2))
            )
            <= 1
        )
        error = rng.normal(size=4)
        shape = error[0] + error[1] * u + error[2] * v + error[3] * (u * u + v * v - 0.6)
        transmission[inside] = 1
        path[inside] = shape[inside]
    for angle in (90.0, 270.0 - 29.0, 270.0 + 29.0):
        s, c = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
        transmission[(np.abs(x * s - y * c) < 0.05) & (x * c + y * s > 0)] = 0
    clear = transmission > 0
    path = (path - path[clear].mean()) / path[clear].std() * WAVEFRONT_ERROR
    return transmission, path


@lru_cache(maxsize=16)
def psf(pivot: float, width: float, pixel: float, half: int = 96) -> PSF:
    """Return the point-spread function of a bandpass on pixels of a size.

    Parameters
    ----------
    pivot, width : float
        Of the bandpass, micron.
    pixel : float
        Pixel size, arcsec.
    half : int
        Half width of the stamps in pixels. Light farther out is lost, as it is counted in the infinite total.
    """
    n = OVERSAMPLE * (2 * half + 1) + 4 * OVERSAMPLE
    step = pixel / OVERSAMPLE * np.pi / 180 / 3600
    focal = np.asarray((np.arange(n + 1 - n % 2) - n // 2) * step, dtype=np.float64)
    wavelengths = (pivot + width * np.linspace(-0.4, 0.4, 5)) * 1e-6
    intensity = np.mean([_monochromatic(focal, wavelength) for wavelength in wavelengths], axis=0)
    jittered = ndimage.gaussian_filter(intensity, JITTER / (pixel / OVERSAMPLE), mode="constant")
    return PSF(_centred(_pixel_mean(jittered)) * OVERSAMPLE**2, half)


def _centred(samples: Array) -> Array:
    """Return the samples shifted so that the centroid of the core, within 4 pixels, is the source's position.

    Aberrations move it by some hundredths of a pixel, and a distortion calibrated on stars has that in it.
    """
    for _ in range(3):
        n = samples.shape[0] // 2
        reach = 4 * OVERSAMPLE
        core = samples[n - reach : n + reach + 1, n - reach : n + reach + 1]
        axis = np.arange(-reach, reach + 1)
        core = core * (np.hypot(axis[:, None], axis) <= reach)
        offset = (core.sum(axis=1) @ axis / core.sum(), core.sum(axis=0) @ axis / core.sum())
        samples = ndimage.shift(samples, [-o for o in offset], order=5, mode="constant")
    return samples


def _monochromatic(focal: Array, wavelength: float) -> Array:
    """Intensity per sample whose sum over an infinite focal plane is 1 (Parseval)."""
    transmission, path = pupil()
    dx = DIAMETER / PUPIL_SAMPLES
    axis = (np.arange(PUPIL_SAMPLES) - PUPIL_SAMPLES / 2 + 0.5) * dx
    kernel = np.exp(-2j * np.pi / wavelength * np.outer(focal, axis))
    field = kernel @ (transmission * np.exp(2j * np.pi * path / wavelength)) @ kernel.T
    step = focal[1] - focal[0]
    power = np.abs(field) ** 2 * (dx * step / wavelength) ** 2 / np.sum(transmission**2)
    return np.asarray(power, dtype=np.float64)
