"""Where a detector's pixels are on the sky: the SIAF's distortion, subarrays, pointing and attitude.

Coordinates ``x, y`` are 0-based pixels of the full frame in DMS orientation; V2 and V3 are in arcsec. The
attitude is the usual sequence of rotations (Cox & Lallo 2017, JWST-STScI-001550).
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval2d
from numpy.typing import NDArray

from schemas.errors import UsageError
from simulator.instruments import Detector

Array = NDArray[np.float64]
ARCSEC = np.pi / 180 / 3600


@lru_cache(maxsize=8)
def siaf(instrument: str) -> Any:
    """Return the instrument's SIAF as ``pysiaf`` reads it, without its remarks on the terminal."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import pysiaf

        names = {"NIRCAM": "NIRCam", "NIRISS": "NIRISS", "NIRSPEC": "NIRSpec", "FGS": "FGS", "MIRI": "MIRI"}
        return pysiaf.Siaf(names[instrument])


@dataclass(frozen=True)
class Distortion:
    """Polynomial distortion of a full frame about its reference pixel, and its fitted inverse.

    ``forward_x[i, j]`` multiplies ``dx**i dy**j`` (1-based pixels from the reference pixel) and gives the
    ideal coordinate, arcsec; ``inverse_x`` goes from ideal coordinates to pixels.
    """

    reference: tuple[float, float]
    """Reference pixel, 1-based."""
    v2v3: tuple[float, float]
    parity: int
    angle: float
    """V3IdlYAngle, deg."""
    forward_x: Array
    forward_y: Array
    inverse_x: Array
    inverse_y: Array

    @property
    def rotation(self) -> Array:
        """Matrix from ideal coordinates to offsets in (V2, V3), with the parity in it."""
        c, s = np.cos(np.deg2rad(self.angle)), np.sin(np.deg2rad(self.angle))
        return np.array([[self.parity * c, s], [-self.parity * s, c]])

    def to_v2v3(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return (V2, V3) of full-frame pixels."""
        dx, dy = np.asarray(x) + 1 - self.reference[0], np.asarray(y) + 1 - self.reference[1]
        ideal = _polynomial(dx, dy, self.forward_x), _polynomial(dx, dy, self.forward_y)
        m = self.rotation
        v2 = self.v2v3[0] + m[0, 0] * ideal[0] + m[0, 1] * ideal[1]
        v3 = self.v2v3[1] + m[1, 0] * ideal[0] + m[1, 1] * ideal[1]
        return v2, v3

    def to_pixel(self, v2: Array, v3: Array) -> tuple[Array, Array]:
        """Return full-frame pixels of (V2, V3): the fitted inverse, then Newton steps on the forward
        polynomial.
        """
        m = np.linalg.inv(self.rotation)
        a, b = np.asarray(v2) - self.v2v3[0], np.asarray(v3) - self.v2v3[1]
        ideal = m[0, 0] * a + m[0, 1] * b, m[1, 0] * a + m[1, 1] * b
        dx, dy = _polynomial(*ideal, self.inverse_x), _polynomial(*ideal, self.inverse_y)
        for _ in range(2):
            dx, dy = self._newton(dx, dy, ideal)
        return dx + self.reference[0] - 1, dy + self.reference[1] - 1

    def _newton(self, dx: Array, dy: Array, ideal: tuple[Array, Array]) -> tuple[Array, Array]:
        fx = _polynomial(dx, dy, self.forward_x) - ideal[0]
        fy = _polynomial(dx, dy, self.forward_y) - ideal[1]
        a, b, c, d = self._jacobian(dx, dy)
        determinant = a * d - b * c
        return dx - (d * fx - b * fy) / determinant, dy - (a * fy - c * fx) / determinant

    def _jacobian(self, dx: Array, dy: Array) -> tuple[Array, Array, Array, Array]:
        """Return d(ideal x, ideal y)/d(x, y) as the elements a, b, c, d of its matrix."""
        return (
            _polynomial(dx, dy, polyder(self.forward_x, axis=0)),
            _polynomial(dx, dy, polyder(self.forward_x, axis=1)),
            _polynomial(dx, dy, polyder(self.forward_y, axis=0)),
            _polynomial(dx, dy, polyder(self.forward_y, axis=1)),
        )

    def pixel_area(self, x: Array, y: Array) -> Array:
        """Return the solid angle of pixels, sr."""
        a, b, c, d = self._jacobian(
            np.asarray(x) + 1 - self.reference[0], np.asarray(y) + 1 - self.reference[1]
        )
        return np.abs(a * d - b * c) * ARCSEC**2

    @property
    def nominal_area(self) -> float:
        """Solid angle of the reference pixel, sr: what PIXAR_SR says."""
        x, y = np.array(self.reference) - 1
        return float(self.pixel_area(x, y))


def _polynomial(x: Array, y: Array, coefficients: NDArray[np.floating[Any]]) -> Array:
    return np.asarray(polyval2d(x, y, coefficients), dtype=np.float64)


@lru_cache(maxsize=32)
def distortion(detector: Detector) -> Distortion:
    """Return the distortion of a detector's full frame from the SIAF, with an inverse fitted to it.

    The inverse is a polynomial of degree 7 fitted by least squares over the frame and a margin of 100 pixels.
    """
    aperture = siaf(detector.instrument).apertures[detector.aperture]
    x, y = (_coefficients(aperture, f"Sci2Idl{axis}") for axis in "XY")
    ny, nx = detector.shape
    rows, columns = np.linspace(-100, ny + 100, 60), np.linspace(-100, nx + 100, 60)
    dx, dy = np.meshgrid(columns - aperture.XSciRef, rows - aperture.YSciRef)
    ideal = _polynomial(dx, dy, x), _polynomial(dx, dy, y)
    return Distortion(
        (aperture.XSciRef, aperture.YSciRef),
        (aperture.V2Ref, aperture.V3Ref),
        aperture.VIdlParity,
        aperture.V3IdlYAngle,
        x,
        y,
        _fit(*ideal, dx, 7),
        _fit(*ideal, dy, 7),
    )


def _coefficients(aperture: Any, prefix: str) -> Array:
    degree = int(aperture.Sci2IdlDeg)
    result = np.zeros((degree + 1, degree + 1))
    for i in range(degree + 1):
        for j in range(i + 1):
            result[i - j, j] = getattr(aperture, f"{prefix}{i}{j}")
    return result


def _fit(x: Array, y: Array, values: Array, degree: int) -> Array:
    scale = max(np.abs(x).max(), np.abs(y).max())
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    design = np.stack([(x / scale).ravel() ** i * (y / scale).ravel() ** j for i, j in powers], axis=1)
    solution = np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
    result = np.zeros((degree + 1, degree + 1))
    for (i, j), value in zip(powers, solution, strict=True):
        result[i, j] = value / scale ** (i + j)
    return result


@dataclass(frozen=True)
class Window:
    """A (sub)array: where it is on the detector, and its reference point."""

    name: str
    aperture: str
    xstart: int
    """First column, 1-based."""
    ystart: int
    nx: int
    ny: int
    reference: tuple[float, float]
    """Reference pixel in the window, 1-based (XREF_SCI, YREF_SCI)."""
    v2v3: tuple[float, float]
    parity: int
    angle: float

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)``."""
        return self.ny, self.nx

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices that cut the window out of a full frame."""
        return (
            slice(self.ystart - 1, self.ystart - 1 + self.ny),
            slice(self.xstart - 1, self.xstart - 1 + self.nx),
        )


def window(detector: Detector, subarray: str) -> Window:
    """Return a detector's subarray as the SIAF knows it.

    Raises
    ------
    UsageError
        If the SIAF knows no such subarray of that detector.
    """
    name = subarray.upper()
    aperture = _aperture(detector, name)
    full = siaf(detector.instrument).apertures[detector.aperture]
    # The window's corner in the full frame's science coordinates.
    x, y = full.det_to_sci(*aperture.sci_to_det(1.0, 1.0))
    return Window(
        name,
        aperture.AperName,
        round(float(x)),
        round(float(y)),
        int(aperture.XSciSize),
        int(aperture.YSciSize),
        (float(aperture.XSciRef), float(aperture.YSciRef)),
        (float(aperture.V2Ref), float(aperture.V3Ref)),
        int(aperture.VIdlParity),
        float(aperture.V3IdlYAngle),
    )


def _aperture(detector: Detector, name: str) -> Any:
    apertures = siaf(detector.instrument).apertures
    prefix = detector.aperture.removesuffix("_FULL")
    if f"{prefix}_{name}" not in apertures:
        known = sorted(
            {n.removeprefix(f"{prefix}_") for n in apertures if n.startswith(f"{prefix}_SUB")} | {"FULL"}
        )
        raise UsageError(f"{detector.name} has no subarray {name}; choose from {', '.join(known)}")
    return apertures[f"{prefix}_{name}"]


@dataclass(frozen=True)
class Pointing:
    """Attitude of the observatory as the header of one exposure gives it."""

    ra_ref: float
    dec_ref: float
    roll_ref: float
    v2v3: tuple[float, float]
    """Reference point (V2_REF, V3_REF), arcsec."""
    va_scale: float = 1.0
    """Differential velocity aberration: apparent over true angular distances from the reference point."""

    @property
    def matrix(self) -> Array:
        """Rotation from unit vectors in (V2, V3) to unit vectors in (RA, Dec)."""
        v2, v3 = np.array(self.v2v3) * ARCSEC
        ra, dec, roll = np.deg2rad([self.ra_ref, self.dec_ref, self.roll_ref])
        return _rz(ra) @ _ry(-dec) @ _rx(-roll) @ _ry(v3) @ _rz(-v2)

    def to_sky(self, v2: Array, v3: Array) -> tuple[Array, Array]:
        """Return right ascension and declination, deg."""
        a = self.v2v3[0] + (np.asarray(v2) - self.v2v3[0]) * self.va_scale
        b = self.v2v3[1] + (np.asarray(v3) - self.v2v3[1]) * self.va_scale
        lon, lat = _angles(self.matrix @ _vector(a * ARCSEC, b * ARCSEC))
        return np.rad2deg(lon) % 360, np.rad2deg(lat)

    def to_v2v3(self, ra: Array, dec: Array) -> tuple[Array, Array]:
        """Return (V2, V3) of sky positions, arcsec."""
        lon, lat = _angles(self.matrix.T @ _vector(np.deg2rad(ra), np.deg2rad(dec)))
        v2 = self.v2v3[0] + (lon / ARCSEC - self.v2v3[0]) / self.va_scale
        v3 = self.v2v3[1] + (lat / ARCSEC - self.v2v3[1]) / self.va_scale
        return v2, v3

    def at(self, v2v3: tuple[float, float]) -> Pointing:
        """Return the same attitude with another reference point, (0, 0) for V1."""
        ra, dec = self.to_sky(np.array(v2v3[0]), np.array(v2v3[1]))
        v2, v3 = np.array(v2v3) * ARCSEC
        north = self.matrix @ np.array([-np.cos(v2) * np.sin(v3), -np.sin(v2) * np.sin(v3), np.cos(v3)])
        a, d = np.deg2rad(ra), np.deg2rad(dec)
        east = np.array([-np.sin(a), np.cos(a), 0.0])
        pole = np.array([-np.cos(a) * np.sin(d), -np.sin(a) * np.sin(d), np.cos(d)])
        roll = np.rad2deg(np.arctan2(north @ east, north @ pole)) % 360
        return Pointing(float(ra), float(dec), float(roll), v2v3, self.va_scale)


def _vector(lon: Array, lat: Array) -> Array:
    shape = np.broadcast(lon, lat).shape
    vector = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat) * np.ones_like(lon)])
    return vector.reshape(3, *shape) if len(shape) < 2 else vector.reshape(3, -1)


def _angles(vector: Array) -> tuple[Array, Array]:
    return np.arctan2(vector[1], vector[0]), np.arcsin(np.clip(vector[2], -1, 1))


def _rx(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _ry(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _rz(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
