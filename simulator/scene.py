"""The sky: point sources and Sersic galaxies at ICRS positions with known fluxes, and their images.

Pixels here are those of a window, 0-based. Rates are DN/s of an ideal flat detector: what the flat field, the
gain and the ramp do to them comes later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from simulator.psf import OVERSAMPLE, PSF

Array = NDArray[np.float64]
ToPixel = Callable[[Array, Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Scene:
    """Sources on the sky; all arrays have shape ``(nsource,)``."""

    ra: Array
    """Right ascension, deg."""
    dec: Array
    flux: Array
    """Total flux, Jy."""
    radius: Array
    """Effective radius of a galaxy, arcsec; 0 for a point source."""
    index: Array
    """Sersic index."""
    axis_ratio: Array
    angle: Array
    """Position angle of the major axis on the detector, from +x to +y, deg."""
    background: float
    """Surface brightness of the sky, MJy/sr."""

    @property
    def is_star(self) -> NDArray[np.bool_]:
        """Which sources are points."""
        return np.asarray(self.radius == 0)

    @property
    def abmag(self) -> Array:
        """AB magnitudes."""
        return -2.5 * np.log10(self.flux / 3631)


@dataclass(frozen=True)
class Field:
    """A region of the sky to fill with sources, as a rectangle in tangent-plane arcsec about a centre."""

    ra: float
    dec: float
    xi: tuple[float, float]
    eta: tuple[float, float]


@dataclass(frozen=True)
class Population:
    """How sources are drawn."""

    spacing: float = 1.6
    """Mean distance between sources, arcsec: they sit on a jittered grid, so most are isolated."""
    bright: float = 17.0
    """AB magnitude of the brightest stars."""
    span: float = 2.5
    """Range of the stars' magnitudes."""
    galaxies: float = 0.1
    """Fraction of the sources that are galaxies."""
    background: float = 0.25
    """MJy/sr."""
    saturated: int = 1
    """Stars that are 3.5 mag brighter than the brightest."""
    count: int | None = None
    """Number of sources at most."""


def draw(field: Field, population: Population, rng: np.random.Generator) -> Scene:
    """Draw the sources of a field.

    Parameters
    ----------
    field : Field
        Region to fill.
    population : Population
        What to fill it with.
    rng : numpy.random.Generator
        Source of randomness.
    """
    step = population.spacing
    xi, eta = (np.arange(low + step / 2, high, step) for low, high in (field.xi, field.eta))
    x, y = (grid.ravel() for grid in np.meshgrid(xi, eta))
    x, y = (grid + rng.uniform(-0.2, 0.2, grid.size) * step for grid in (x, y))
    if population.count is not None:
        keep = np.sort(rng.permutation(x.size)[: population.count])
        x, y = x[keep], y[keep]
    n = x.size
    galaxy = rng.random(n) < population.galaxies
    magnitude = population.bright + population.span * rng.random(n)
    magnitude[rng.permutation(np.flatnonzero(~galaxy))[: population.saturated]] = population.bright - 3.5
    ra, dec = _deproject(x, y, field)
    return Scene(
        ra,
        dec,
        3631 * 10 ** (-0.4 * magnitude),
        np.where(galaxy, rng.uniform(0.1, 0.25, n), 0.0),
        rng.uniform(0.8, 2.5, n),
        rng.uniform(0.4, 1.0, n),
        rng.uniform(0, 180, n),
        population.background,
    )


def _deproject(xi: Array, eta: Array, field: Field) -> tuple[Array, Array]:
    x, y = np.deg2rad(xi / 3600), np.deg2rad(eta / 3600)
    a0, d0 = np.deg2rad([field.ra, field.dec])
    denominator = np.cos(d0) - y * np.sin(d0)
    ra = a0 + np.arctan2(x, denominator)
    dec = np.arctan2(np.sin(d0) + y * np.cos(d0), np.hypot(x, denominator))
    return np.rad2deg(ra) % 360, np.rad2deg(dec)


@dataclass(frozen=True)
class Camera:
    """What turns the sky into rates on a window."""

    shape: tuple[int, int]
    to_pixel: ToPixel
    """From (ra, dec) to 0-based window pixels (x, y)."""
    psf: PSF
    photmjsr: float
    """MJy/sr per DN/s."""
    pixel_area: float
    """Nominal pixel area, sr (PIXAR_SR)."""
    pixel_scale: float
    """arcsec."""
    relative_area: Array
    """Pixel area over the nominal one, shape ``(ny, nx)``: a uniform sky's response."""


def render(scene: Scene, camera: Camera) -> Array:
    """Return the noiseless rates of a scene, DN/s, shape ``(ny, nx)``."""
    image = scene.background / camera.photmjsr * camera.relative_area
    x, y = camera.to_pixel(scene.ra, scene.dec)
    rate = scene.flux * 1e-6 / camera.pixel_area / camera.photmjsr
    for i in range(len(rate)):
        half = camera.psf.half if scene.is_star[i] else _galaxy_half(scene.radius[i], camera)
        if _misses(x[i], y[i], half, camera.shape):
            continue
        ix, iy = round(float(x[i])), round(float(y[i]))
        dx, dy = float(x[i]) - ix, float(y[i]) - iy
        stamp = camera.psf.stamp(dx, dy) if scene.is_star[i] else _galaxy(scene, i, camera, (dx, dy))
        _add(image, rate[i] * stamp, ix, iy)
    return image


def _misses(x: float, y: float, half: int, shape: tuple[int, int]) -> bool:
    return not (-half - 1 < x < shape[1] + half and -half - 1 < y < shape[0] + half)


def _add(image: Array, stamp: Array, x: int, y: int) -> None:
    half = stamp.shape[0] // 2
    y0, x0 = y - half, x - half
    rows = slice(max(0, -y0), max(0, min(stamp.shape[0], image.shape[0] - y0)))
    columns = slice(max(0, -x0), max(0, min(stamp.shape[1], image.shape[1] - x0)))
    image[rows.start + y0 : rows.stop + y0, columns.start + x0 : columns.stop + x0] += stamp[rows, columns]


def _galaxy_half(radius: float, camera: Camera) -> int:
    return min(camera.psf.half, max(24, int(np.ceil(8 * radius / camera.pixel_scale))))


def _galaxy(scene: Scene, i: int, camera: Camera, offset: tuple[float, float]) -> Array:
    """Return a galaxy's image with a sum of 1, before the light that the PSF throws out of the stamp."""
    half = _galaxy_half(scene.radius[i], camera)
    n = OVERSAMPLE * (2 * half + 1)
    axis = (np.arange(n) - n // 2) / OVERSAMPLE
    profile = _sersic(scene, i, camera.pixel_scale, axis[None, :] - offset[0], axis[:, None] - offset[1])
    profile /= profile.sum()
    c, h = camera.psf.centre, n // 2
    kernel = camera.psf.samples[c - h : c + h + 1, c - h : c + h + 1]
    size = [fft.next_fast_len(2 * n, real=True)] * 2
    product = fft.rfft2(profile, size) * fft.rfft2(kernel, size)
    blurred = fft.irfft2(product, size)[h : h + n, h : h + n]
    return np.asarray(blurred[OVERSAMPLE // 2 :: OVERSAMPLE, OVERSAMPLE // 2 :: OVERSAMPLE])


def _sersic(scene: Scene, i: int, scale: float, x: Array, y: Array) -> Array:
    """Return a Sersic profile (Graham & Driver 2005, PASA 22, 118, eq. 1)."""
    c, s = np.cos(np.deg2rad(scene.angle[i])), np.sin(np.deg2rad(scene.angle[i]))
    u, v = x * c + y * s, (-x * s + y * c) / scene.axis_ratio[i]
    n = scene.index[i]
    b = special.gammaincinv(2 * n, 0.5)
    return np.asarray(np.exp(-b * (np.hypot(u, v) * scale / scene.radius[i]) ** (1 / n)))


def contamination(scene: Scene, psf: PSF, pixel_scale: float) -> Array:
    """Return the light of all neighbours in an aperture of 4 pixels around each source, over the source's own
    light.

    Parameters
    ----------
    scene : Scene
        All sources.
    psf : PSF
        Its azimuthal mean spreads the neighbours' light.
    pixel_scale : float
        arcsec.
    """
    dra = (scene.ra[:, None] - scene.ra + 180) % 360 - 180
    dx = dra * np.cos(np.deg2rad(scene.dec)) * 3600 / pixel_scale
    dy = (scene.dec[:, None] - scene.dec) * 3600 / pixel_scale
    distance = np.hypot(dx, dy)
    radius = np.arange(0, psf.half, 2.0)
    growth = psf.encircled(radius)
    middle, ring = radius[:-1] + 1, np.diff(growth) / (np.pi * np.diff(radius**2))
    brightness = (
        np.interp(distance, middle, ring, right=float(ring[-1]))
        * (middle[-1] / np.maximum(distance, middle[-1])) ** 3
    )
    np.fill_diagonal(brightness, 0)
    own = psf.encircled(np.array([4.0]))[0] * scene.flux
    return np.asarray(np.pi * 4**2 * (brightness @ scene.flux) / own)
