"""From pixels to the sky: the distortion, the pointing, and what the telescope's motion does to angles.

Frames and pointing angles follow Cox and Lallo, "Description and Use of the JWST Science Instrument Aperture
File" (JWST-STScI-001550).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from processors.image2.fits_wcs import fits_cards
from processors.image2.rows import text
from processors.options import Options
from processors.steps import step
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.products import Rate
from schemas.references import ModelReference, References, Window

if TYPE_CHECKING:  # astropy's models and coordinates take long to load, and stage 1 does without
    from astropy.modeling import Model

FILTER_KEYS = {"NIRCAM": ("FILTER", "PUPIL"), "NIRISS": ("FILTER", "PUPIL"), "MIRI": ("FILTER",)}
"""Keywords that select a row of ``filteroffset``, by instrument."""


@step(
    references=("distortion",), optional=("filteroffset",), options=Options, status="S_WCS", repeatable=True
)
def assign_wcs(rate: Rate, references: References, options: Options) -> Rate:
    """Attach the world coordinate system of an image.

    Frames: ``detector`` (0-indexed pixels of the exposure), ``v2v3`` (arcsec), ``v2v3vacorr`` (the same
    without velocity aberration), ``world`` (ICRS, degrees).

    Parameters
    ----------
    rate : Rate
        With the pointing keywords RA_REF, DEC_REF, V2_REF, V3_REF and ROLL_REF.
    references : References
        ``distortion`` (pixels of the full frame to V2, V3) and ``filteroffset`` (pixels; where there is none,
        as for FGS, nothing is shifted).
    options : Options
        None.

    Returns
    -------
    Rate
        With the gwcs in `meta.wcs`, the footprint in S_REGION, and in the FITS WCS keywords the gwcs as SIP
        polynomials say it.
    """
    wcs = imaging_wcs(rate.meta, rate.data.shape[-2:], references)
    cards: dict[str, Any] = {
        **fits_cards(wcs, rate.meta),
        "RADESYS": ("ICRS", "Name of the coordinate reference frame"),
        "S_REGION": (s_region(wcs), "spatial extent of the observation"),
    }
    meta = rate.meta.with_science(**cards)
    return replace(rate, meta=replace(meta, wcs=wcs))


def imaging_wcs(meta: Meta, shape: tuple[int, ...], references: References) -> Any:
    """Return the gwcs of an imaging exposure.

    Parameters
    ----------
    meta : Meta
        Of the exposure.
    shape : tuple of int
        (ny, nx) of its image.
    references : References
        ``distortion``, and ``filteroffset`` where there is one.

    Returns
    -------
    gwcs.WCS
        With its bounding box.
    """
    import gwcs
    from astropy import coordinates, units
    from gwcs import coordinate_frames as cf

    pixels = cf.Frame2D(name="detector", axes_order=(0, 1), unit=(units.pix, units.pix))
    arcsec = {"axes_order": (0, 1), "axes_names": ("v2", "v3"), "unit": (units.arcsec, units.arcsec)}
    world = cf.CelestialFrame(reference_frame=coordinates.ICRS(), name="world")
    reference = references.model("distortion")
    offsets = references.model("filteroffset") if "filteroffset" in references else None
    wcs = gwcs.WCS(
        [
            (pixels, detector_to_v2v3(meta, reference, offsets)),
            (cf.Frame2D(name="v2v3", **arcsec), aberration(meta)),
            (cf.Frame2D(name="v2v3vacorr", **arcsec), v2v3_to_sky(meta)),
            (world, None),
        ]
    )
    wcs.bounding_box = _bounding_box(meta, shape, reference)
    return wcs


def detector_to_v2v3(meta: Meta, reference: ModelReference, offsets: ModelReference | None) -> Model:
    """Return the transform from pixels of the exposure (0-indexed) to V2, V3 in arcsec.

    Parameters
    ----------
    meta : Meta
        Of the exposure: subarray, filter and pupil.
    reference : ModelReference
        ``distortion``.
    offsets : ModelReference, optional
        ``filteroffset``; its offsets are added to the pixels.
    """
    from astropy.modeling.models import Shift

    transform = _distortion(reference)
    shift = filter_offset(meta, offsets) if offsets is not None else None
    if shift is not None:
        transform = Shift(shift[0]) & Shift(shift[1]) | transform
    window = Window.of(meta.primary)
    if (window.x, window.y) != (0, 0):
        transform = Shift(float(window.x)) & Shift(float(window.y)) | transform
    return transform


def _distortion(reference: ModelReference) -> Model:
    from astropy.modeling import Model

    model = reference.tree.get("model")
    if not isinstance(model, Model):
        raise Unprocessable(
            f"{reference.name}: the file has no transform under 'model'; give another distortion file"
        )
    return model.copy()


def filter_offset(meta: Meta, reference: ModelReference) -> tuple[float, float] | None:
    """Return the shift in pixels (column, row) of the exposure's filter, None where the file tells none."""
    keys = FILTER_KEYS.get(text(meta.require("INSTRUME")), ())
    wanted = {key.lower(): text(meta.require(key)) for key in keys}
    rows = [
        row
        for row in reference.tree.get("filters", ())
        if all(text(row.get(key, "N/A")) == value for key, value in wanted.items())
    ]
    if not rows or not wanted:
        return None
    if len(rows) > 1:
        raise Unprocessable(
            f"{reference.name}: {len(rows)} offsets for {wanted} where one is expected; give another file"
        )
    column, row = rows[0].get("column_offset", "N/A"), rows[0].get("row_offset", "N/A")
    return None if "N/A" in (column, row) else (float(column), float(row))


def aberration(meta: Meta) -> Model:
    """Return the transform that undoes velocity aberration: a scaling about the reference point."""
    from astropy.modeling.models import Identity, Scale, Shift

    scale = meta.get("VA_SCALE")
    if scale is None or scale == 1:
        return Identity(2)
    if not scale > 0:
        raise Unprocessable(
            f"{meta.get('FILENAME', 'the product')}: VA_SCALE = {scale} must be positive; mend the header"
        )
    v2, v3 = (float(meta.get(keyword) or 0.0) for keyword in ("V2_REF", "V3_REF"))
    transform = Scale(scale, name="dva_scale_v2") & Scale(scale, name="dva_scale_v3") | Shift(
        (1 - scale) * v2, name="dva_v2_shift"
    ) & Shift((1 - scale) * v3, name="dva_v3_shift")
    transform.name = "DVA_Correction"
    return transform


def v2v3_to_sky(meta: Meta) -> Model:
    """Return the rotation from V2, V3 (arcsec) to right ascension and declination (degrees)."""
    from astropy.modeling.models import RotationSequence3D, Scale
    from gwcs.geometry import CartesianToSpherical, SphericalToCartesian

    v2, v3, roll, ra, dec = (
        float(meta.require(keyword)) for keyword in ("V2_REF", "V3_REF", "ROLL_REF", "RA_REF", "DEC_REF")
    )
    rotation = RotationSequence3D(np.array([v2 / 3600, -v3 / 3600, roll, dec, -ra]), axes_order="zyxyz")
    transform = (
        (Scale(1 / 3600) & Scale(1 / 3600))
        | SphericalToCartesian(wrap_lon_at=180)
        | rotation
        | CartesianToSpherical(wrap_lon_at=360)
    )
    transform.name = "v23tosky"
    return transform


def _bounding_box(
    meta: Meta, shape: tuple[int, ...], reference: ModelReference
) -> tuple[tuple[float, float], ...]:
    """Return ((xmin, xmax), (ymin, ymax)).

    That of the reference for a full frame, where it has one; else the edges of the image.
    """
    window = Window.of(meta.primary, (shape[0], shape[1]))
    if (window.x, window.y) == (0, 0):
        try:
            box = _distortion(reference).bounding_box.bounding_box(order="F")
        except NotImplementedError:
            pass
        else:
            return tuple(
                (max(float(low), -0.5), min(float(high), n - 0.5))
                for (low, high), n in zip(box, shape[::-1], strict=True)
            )
    return (-0.5, shape[1] - 0.5), (-0.5, shape[0] - 0.5)


def footprint(wcs: Any) -> np.ndarray:
    """Return the corners of the bounding box on the sky, ndarray (4, 2) of degrees."""
    (x0, x1), (y0, y1) = wcs.bounding_box.bounding_box(order="F")
    ra, dec = wcs(np.array([x0, x0, x1, x1]), np.array([y0, y1, y1, y0]), with_bounding_box=False)
    return np.stack([np.mod(ra, 360), dec], axis=1)


def s_region(wcs: Any) -> str:
    """Return S_REGION, the footprint as an STC-S polygon."""
    return polygon(footprint(wcs))


def polygon(corners: Sequence[Sequence[float]] | np.ndarray) -> str:
    """Return corners on the sky as an STC-S polygon."""
    return "POLYGON ICRS  " + " ".join(f"{ra:.9f} {dec:.9f}" for ra, dec in corners)
