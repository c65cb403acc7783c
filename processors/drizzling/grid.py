"""The grid of a mosaic: a tangent plane that covers all inputs.

Scale, orientation, origin and size follow JWST's own mosaics, so that ours lie on the same pixels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import Unprocessable
from schemas.meta import Meta

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class GridChoice:
    """What the user wants of a grid; None leaves it to the data.

    Attributes
    ----------
    pixel_scale_ratio : float
        Output over input pixel scale.
    pixel_scale : float, optional
        Output pixel scale in arcsec, instead of the ratio.
    rotation : float, optional
        Position angle of the y axis, degrees; by default the first input's.
    crpix, crval : pair of float, optional
        Reference pixel (0-indexed x, y) and its right ascension and declination, degrees.
    shape : pair of int, optional
        (ny, nx).
    """

    pixel_scale_ratio: float = 1.0
    pixel_scale: float | None = None
    rotation: float | None = None
    crpix: tuple[float, float] | None = None
    crval: tuple[float, float] | None = None
    shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class Grid:
    """A grid on the sky.

    Attributes
    ----------
    wcs : gwcs.WCS
        Tangent plane, pixels to ICRS.
    shape : tuple of int
        (ny, nx).
    scale : float
        Side of a pixel, arcsec.
    ratio : float
        That over the side of an input pixel.
    """

    wcs: Any
    shape: tuple[int, int]
    scale: float
    ratio: float

    @property
    def area(self) -> float:
        """Return the area of a pixel in steradians."""
        return float(np.deg2rad(self.scale / 3600) ** 2)


def build_grid(footprints: Sequence[Float64], wcs: Any, meta: Meta, choice: GridChoice | None = None) -> Grid:
    """Return the tangent plane that covers all inputs.

    Parameters
    ----------
    footprints : sequence of ndarray (n, 2)
        Corners of the inputs, right ascension and declination in degrees.
    wcs : gwcs.WCS
        Of the first input: it gives pixel scale and frames.
    meta : Meta
        Of the first input: RA_REF, DEC_REF, ROLL_REF, V3I_YANG, VPARITY.
    choice : GridChoice, optional
        What the user wants.
    """
    wanted = choice or GridChoice()
    corners = np.concatenate([np.asarray(corner, float) for corner in footprints])
    crval = wanted.crval or centre(corners)
    own = pixel_scale(wcs, (float(meta.require("RA_REF")), float(meta.require("DEC_REF"))))
    scale = wanted.pixel_scale or own * wanted.pixel_scale_ratio
    pc = rotation_matrix(meta, wanted.rotation)
    crpix, shape = _place(corners, crval, scale / 3600, pc, wanted)
    if min(shape) < 2:
        raise Unprocessable(
            f"the mosaic would have {shape[1]} x {shape[0]} pixels; choose a smaller pixel_scale or "
            "pixel_scale_ratio"
        )
    return Grid(_tangent_plane(wcs, crpix, crval, scale / 3600, pc, shape), shape, scale, scale / own)


def parse_s_region(region: str) -> list[Float64]:
    """Return the polygons of an S_REGION, each as ndarray (n, 2) of degrees."""
    polygons = []
    for part in re.split(r"POLYGON", region, flags=re.IGNORECASE)[1:]:
        numbers = np.array(re.sub(r"[A-Za-z]+", " ", part).split(), float)
        if numbers.size >= 6 and numbers.size % 2 == 0:
            polygons.append(numbers.reshape(-1, 2))
    return polygons


def centre(corners: Float64) -> tuple[float, float]:
    """Return the middle of the box around points on the sphere, in degrees; poles and 0 hours do no harm."""
    lon, lat = np.deg2rad(corners).T
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    x, y, z = (points.max(axis=1) + points.min(axis=1)) / 2
    return float(np.rad2deg(np.arctan2(y, x)) % 360), float(np.rad2deg(np.arctan2(z, np.hypot(x, y))))


def pixel_scale(wcs: Any, at: tuple[float, float]) -> float:
    """Return the side of a pixel in arcsec: the geometric mean of steps along x and y from a position."""
    from astropy.coordinates import angular_separation

    x, y = wcs.invert(*at, with_bounding_box=False)
    ra, dec = np.deg2rad(wcs(np.array([x, x + 1, x]), np.array([y, y, y + 1]), with_bounding_box=False))
    steps = angular_separation(ra[0], dec[0], ra[1:], dec[1:])
    return float(np.rad2deg(np.sqrt(steps[0] * steps[1])) * 3600)


def rotation_matrix(meta: Meta, rotation: float | None = None) -> Float64:
    """Return the PC matrix of the aperture's own orientation, or of a y axis at position angle `rotation`.

    Parameters
    ----------
    meta : Meta
        ROLL_REF and V3I_YANG in degrees, VPARITY.
    rotation : float, optional
        Degrees.
    """
    parity = int(meta.get("VPARITY") or -1)
    angle = np.deg2rad(
        rotation
        if rotation is not None
        else float(meta.require("ROLL_REF")) - parity * float(meta.require("V3I_YANG"))
    )
    return np.array([[parity * np.cos(angle), np.sin(angle)], [-parity * np.sin(angle), np.cos(angle)]])


def _place(
    corners: Float64, crval: tuple[float, float], scale: float, pc: Float64, wanted: GridChoice
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Return the reference pixel and the shape of a grid just large enough."""
    from astropy.modeling.models import AffineTransformation2D, Pix2Sky_TAN, RotateNative2Celestial, Scale

    plane = AffineTransformation2D(matrix=pc) | Scale(scale) & Scale(scale) | Pix2Sky_TAN()
    sky = plane | RotateNative2Celestial(crval[0], crval[1], 180)
    x, y = sky.inverse(*corners.T)
    crpix = wanted.crpix or (float(-x.min()), float(-y.min()))
    shape = wanted.shape or (int(y.max() + crpix[1] + 0.5), int(x.max() + crpix[0] + 0.5))
    return crpix, shape


def _tangent_plane(
    wcs: Any,
    crpix: tuple[float, float],
    crval: tuple[float, float],
    scale: float,
    pc: Float64,
    shape: tuple[int, int],
) -> Any:
    import gwcs
    from astropy.modeling.models import Pix2Sky_TAN
    from gwcs.fitswcs import FITSImagingWCSTransform

    transform = FITSImagingWCSTransform(Pix2Sky_TAN(), crpix=crpix, crval=crval, cdelt=(scale, scale), pc=pc)
    plane = gwcs.WCS([gwcs.Step(wcs.input_frame, transform), gwcs.Step(wcs.output_frame, None)])
    plane.bounding_box = ((-0.5, shape[1] - 0.5), (-0.5, shape[0] - 0.5))
    plane.pixel_shape = shape[::-1]
    return plane


def fits_cards(grid: Grid) -> dict[str, Any]:
    """Return the FITS WCS keywords of a grid."""
    transform = grid.wcs.forward_transform
    crpix, crval, cdelt, pc = (
        np.asarray(getattr(transform, name).value) for name in ("crpix", "crval", "cdelt", "pc")
    )
    cards: dict[str, Any] = {"WCSAXES": 2, "RADESYS": "ICRS", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    for axis in (1, 2):
        cards[f"CRPIX{axis}"] = float(crpix.flat[axis - 1]) + 1
        cards[f"CRVAL{axis}"] = float(crval.flat[axis - 1])
        cards[f"CDELT{axis}"] = float(cdelt.flat[axis - 1])
        cards[f"CUNIT{axis}"] = "deg"
        for other in (1, 2):
            cards[f"PC{axis}_{other}"] = float(pc.reshape(2, 2)[axis - 1, other - 1])
    return cards
