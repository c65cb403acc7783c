"""A point source's light on a detector, from the few encircled energies of an ``apcorr`` reference.

The azimuthal mean of the point-spread function is taken as a sum, with weights that are not negative, of
diffraction patterns of several sizes (a band has many wavelengths, and aberrations spread light) and of wide
Gaussians. JWST's pupil is taken as a disc with a central hole, whose pattern's transform is its
autocorrelation (O'Neill 1956, J. Opt. Soc. Am. 46, 285). All is done on the transform, where averaging over a
pixel is a product: the light in a circle of radius R is the integral over frequencies k of
``transform(k) 2 pi R J1(2 pi k R)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processors.image3.apertures import EnergyCurve
from schemas.errors import Unprocessable

Float64 = NDArray[np.float64]

HOLE: Final = 0.2
"""Width of the missing middle segment over that of the pupil: 1.3 m of 6.6 m."""
FEWEST: Final = 3
"""Encircled energies from which a shape can be told."""
WORST: Final = 0.05
"""Largest difference from the reference's encircled energies with which the shape is still of use."""

_CUTOFFS: Final = np.geomspace(0.08, 2.5, 42)
"""Of the diffraction patterns: diameter over wavelength, in cycles per detector pixel."""
_SIGMAS: Final = np.geomspace(0.7, 40, 14)
"""Of the Gaussians, detector pixels."""
_FREQUENCIES: Final = np.linspace(5e-4, 3.0, 6000)
_OVERSAMPLE: Final = 8
_SUBSTANTIAL: Final = 0.05
"""Part of the light that makes a diffraction pattern count."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PointSource:
    """A round point source.

    Attributes
    ----------
    weights : ndarray (ncomponent,)
        Of the diffraction patterns and the Gaussians.
    samples : ndarray (n, n)
        Spline coefficients of the light in a detector pixel, 8 samples per pixel, the source in the middle.
    """

    weights: Float64
    samples: Float64

    def encircled(self, radius: float) -> float:
        """Return the light in a circle on the detector's image, radius in pixels, the mean of phases."""
        return float(self.weights @ _caught(np.array([radius]))[0])

    def pixels(self, dx: float, dy: float, half: int) -> Float64:
        """Return a source's light in detector pixels.

        Parameters
        ----------
        dx, dy : float
            Where the source is from the centre of the middle pixel.
        half : int
            Pixels on each side of the middle one.

        Returns
        -------
        ndarray (2 half + 1, 2 half + 1)
            Fractions of the source's light.
        """
        from scipy import ndimage

        steps = np.arange(-half, half + 1)
        middle = self.samples.shape[0] // 2
        at = np.meshgrid(
            middle + _OVERSAMPLE * (steps - dy), middle + _OVERSAMPLE * (steps - dx), indexing="ij"
        )
        return np.asarray(ndimage.map_coordinates(self.samples, at, order=3, mode="nearest", prefilter=False))

    @property
    def resolution(self) -> float:
        """Return wavelength over diameter in detector pixels, of the finest pattern; infinite without any."""
        patterns = np.flatnonzero(self.weights[: _CUTOFFS.size] >= _SUBSTANTIAL)
        return float(1 / _CUTOFFS[patterns[-1]]) if patterns.size else np.inf


def point_source(curve: EnergyCurve, reach: float) -> PointSource:
    """Return the source that has given encircled energies.

    Parameters
    ----------
    curve : EnergyCurve
        From the reference.
    reach : float
        Pixels from the source within which its image will be wanted.

    Raises
    ------
    Unprocessable
        If the energies are too few, or of no point source.
    """
    from scipy.optimize import nnls

    hint = "give another apcorr file, or do without: --set source_catalog.drizzled_light=false"
    if len(curve.radii) < FEWEST:
        raise Unprocessable(
            f"{curve.name}: {len(curve.radii)} encircled energies of this filter do not tell the shape of a "
            f"point source, {FEWEST} are needed; {hint}"
        )
    caught = _caught(np.array([*curve.radii, *curve.annulus]))
    system = np.vstack([caught[:-2], caught[-1] - caught[-2]])
    wanted = np.array([*curve.energies, curve.ring])
    weights, _ = nnls(system, wanted)
    worst = float(np.abs(system @ weights - wanted).max())
    if worst > WORST:
        raise Unprocessable(
            f"{curve.name}: its encircled energies are off by up to {100 * worst:.0f} % of the light from "
            f"those of any point source; {hint}"
        )
    return PointSource(weights=weights, samples=_image(weights, reach))


def _image(weights: Float64, reach: float) -> Float64:
    """Return the light in a pixel, sampled finely; large enough that its periodic wings are far away."""
    from scipy import fft, ndimage

    size = _OVERSAMPLE * 2 * fft.next_fast_len(int(np.ceil(max(2 * reach, 24))))
    kx, ky = np.fft.rfftfreq(size, 1 / _OVERSAMPLE), np.fft.fftfreq(size, 1 / _OVERSAMPLE)
    table = np.linspace(0, _OVERSAMPLE, 8 * size)
    radial = np.interp(np.hypot(kx, ky[:, None]), table, weights @ _transforms(table))
    transform = radial * np.sinc(kx) * np.sinc(ky)[:, None]
    samples = np.fft.fftshift(np.fft.irfft2(transform, (size, size))) * _OVERSAMPLE**2
    return np.asarray(ndimage.spline_filter(samples, order=3, mode="nearest"))


def _caught(radii: Float64) -> Float64:
    """Return the light of each component in circles on pixels, (nradius, ncomponent)."""
    from scipy.special import j1

    step = _FREQUENCIES[1] - _FREQUENCIES[0]
    circles = 2 * np.pi * radii[:, None] * j1(2 * np.pi * radii[:, None] * _FREQUENCIES)
    return np.asarray(circles @ _on_pixels().T * step)


@lru_cache(maxsize=1)
def _on_pixels() -> Float64:
    """Return each component's transform, averaged over a pixel twice: by the detector and by the circle."""
    angle = (np.arange(32) + 0.5) / 32 * np.pi / 2
    along = _FREQUENCIES[:, None] * np.stack([np.cos(angle), np.sin(angle)])[:, None]
    pixel = np.square(np.sinc(along[0]) * np.sinc(along[1])).mean(axis=1)
    return _transforms(_FREQUENCIES) * pixel


def _transforms(frequencies: Float64) -> Float64:
    """Return each component's transform, (ncomponent, nfrequency)."""
    patterns = [_pupil_transform(frequencies / cutoff) for cutoff in _CUTOFFS]
    gaussians = [np.exp(-2 * (np.pi * sigma * frequencies) ** 2) for sigma in _SIGMAS]
    return np.array(patterns + gaussians)


def _pupil_transform(frequency: Float64) -> Float64:
    """Return the transform of the pattern of a disc with a hole, at frequencies over the cutoff."""
    shift = 2 * frequency
    overlap = _lens(shift, 1, 1) - 2 * _lens(shift, 1, HOLE) + _lens(shift, HOLE, HOLE)
    return np.asarray(overlap / (np.pi * (1 - HOLE**2)))


def _lens(distance: Float64, large: float, small: float) -> Float64:
    """Return the area that two discs share."""
    out = np.where(distance <= large - small, np.pi * small**2, 0.0)
    cut = (distance > large - small) & (distance < large + small)
    d = distance[cut]
    total = 0.0
    for one, other in ((small, large), (large, small)):
        angle = np.arccos(np.clip((d**2 + one**2 - other**2) / (2 * d * one), -1, 1))
        total = total + one**2 * (angle - np.sin(2 * angle) / 2)
    out[cut] = total
    return out
