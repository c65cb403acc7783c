"""Small products of every kind, with the header of a NIRCam exposure."""

from __future__ import annotations

from typing import Any

import astropy.units as u
import gwcs
import numpy as np
from astropy import coordinates
from astropy.modeling.models import Pix2Sky_TAN, Polynomial2D, RotateNative2Celestial, Scale, Shift
from gwcs import coordinate_frames as cf

from schemas.meta import Keywords, Meta, Provenance, StepRecord
from schemas.products import Product, Ramp, Rate, Resampled, Segmentation

LAYOUTS = ("ramp", "image", "cube", "resampled", "segmentation")
NY, NX = 6, 9


def primary(shape: tuple[int, ...], nint: int = 1) -> dict[str, Any]:
    return {
        "TELESCOP": "JWST",
        "FILENAME": "jw01234001001_02101_00001_nrca1_uncal.fits",
        "DATE": "2026-01-02T03:04:05.678",
        "INSTRUME": "NIRCAM",
        "DETECTOR": "NRCA1",
        "MODULE": "A",
        "CHANNEL": "SHORT",
        "FILTER": "F200W",
        "PUPIL": "CLEAR",
        "EXP_TYPE": "NRC_IMAGE",
        "READPATT": "RAPID",
        "NINTS": nint,
        "NGROUPS": shape[1] if len(shape) == 4 else 5,
        "TGROUP": 10.73677,
        "SUBARRAY": "SUB64P",
        "SUBSTRT1": 1,
        "SUBSTRT2": 1,
        "SUBSIZE1": NX,
        "SUBSIZE2": NY,
        "DATE-OBS": "2026-01-02",
        "TIME-OBS": "03:00:00.000",
        "PROGRAM": "01234",
        "CAL_VER": "1.2.3",
        "TARG_RA": 80.48755123456789,
    }


def science() -> dict[str, Any]:
    return {"BUNIT": "DN/s", "RA_REF": 80.48755, "DEC_REF": -69.4976123, "ROLL_REF": 12.25, "V3I_YANG": -0.57}


def meta(shape: tuple[int, ...], nint: int = 1, wcs: Any = None) -> Meta:
    step = StepRecord(step="jump", outcome="complete", options={"rejection_threshold": 4.0})
    columns = [f"int_{when}_{scale}" for scale in ("MJD_UTC", "BJD_TDB") for when in ("start", "mid", "end")]
    times = np.zeros(nint, [("integration_number", "i4"), *((name, "f8") for name in columns)])
    times["integration_number"] = np.arange(1, nint + 1)
    for place, name in enumerate(columns):
        times[name] = 61000.25 + np.arange(nint) + 0.1 * place
    return Meta(
        primary=Keywords(primary(shape, nint)),
        science=Keywords(science()),
        tables={"INT_TIMES": times} if len(shape) > 2 else {},
        wcs=wcs,
        provenance=Provenance(steps=(step,), run={"run_key": "ab" * 32, "recipe": {"name": "optimal"}}),
    )


def make(layout: str, nint: int = 3, seed: int = 0, wcs: Any = None) -> Product:
    """Return a product that is written in `layout`."""
    random = np.random.default_rng(seed)
    if layout == "ramp":
        return _ramp(random, nint, wcs)
    if layout in ("image", "cube"):
        shape = (nint, NY, NX) if layout == "cube" else (NY, NX)
        return _rate(random, shape, nint if layout == "cube" else 1, wcs)
    if layout == "segmentation":
        return Segmentation(meta=meta((NY, NX)), data=random.integers(0, 9, (NY, NX), dtype=np.uint32))
    planes = {name: real(random, (NY, NX)) for name in ("data", "err", "wht", "var_poisson", "var_rnoise")}
    con = random.integers(-(2**31), 2**31 - 1, (2, NY, NX), dtype=np.int32)
    return Resampled(meta=meta((NY, NX), wcs=wcs), con=con, **planes)


def real(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = random.normal(100, 30, shape).astype(np.float32)
    values.flat[random.integers(values.size)] = np.nan
    return values


def _ramp(random: np.random.Generator, nint: int, wcs: Any) -> Ramp:
    shape = (nint, 4, NY, NX)
    return Ramp(
        meta=meta(shape, nint, wcs),
        data=real(random, shape),
        groupdq=random.integers(0, 255, shape, dtype=np.uint8),
        pixeldq=random.integers(0, 2**32 - 1, (NY, NX), dtype=np.uint32),
        zeroframe=real(random, (nint, NY, NX)),
        average_dark_current=real(random, (NY, NX)),
    )


def _rate(random: np.random.Generator, shape: tuple[int, ...], nint: int, wcs: Any) -> Rate:
    planes = (
        "data",
        "err",
        "var_poisson",
        "var_rnoise",
        "var_flat",
        "chisq",
        "probability",
        "pedestal",
        "worst",
    )
    return Rate(
        meta=meta(shape, nint, wcs),
        dq=random.integers(0, 2**32 - 1, shape, dtype=np.uint32),
        area=real(random, shape[-2:]),
        dof=random.integers(0, 9, shape, dtype=np.int32),
        ndiff=random.integers(0, 9, shape, dtype=np.int16),
        worst_group=random.integers(0, 9, shape, dtype=np.int16),
        **{name: real(random, shape) for name in planes},
    )


def sky_wcs(ra: float = 80.48755, scale: float = 0.031) -> gwcs.WCS:
    """Return a gwcs of two steps: distortion and a tangent plane."""
    distorted = cf.Frame2D(name="v2v3", unit=(u.arcsec, u.arcsec))
    pixel = cf.Frame2D(name="detector", unit=(u.pix, u.pix))
    sky = cf.CelestialFrame(name="world", reference_frame=coordinates.ICRS(), unit=(u.deg, u.deg))
    x = Polynomial2D(2, c0_0=1e-3, c1_0=scale, c0_1=1e-5, c2_0=1.2345678901234567e-08)
    y = Polynomial2D(2, c0_0=-2e-3, c1_0=3e-6, c0_1=scale, c1_1=-2.2e-08)
    distortion = (Shift(-4.0) & Shift(-2.5)) | _doubled() | (x & y)
    to_sky = (Scale(1 / 3600) & Scale(1 / 3600)) | Pix2Sky_TAN() | RotateNative2Celestial(ra, -69.4976, 180)
    return gwcs.WCS([(pixel, distortion), (distorted, to_sky), (sky, None)])


def _doubled() -> Any:
    from astropy.modeling.models import Mapping

    return Mapping((0, 1, 0, 1))
