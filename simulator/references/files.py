"""How a reference file is written: CRDS's keywords, and the standard data quality bits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asdf
import numpy as np
from astropy.io import fits

from schemas.dq import DQ
from simulator.instruments import Detector

AUTHOR = "CALSTREAM simulator"
USEAFTER = "2015-01-01T00:00:00"


@dataclass(frozen=True)
class About:
    """What a reference file says about itself."""

    reftype: str
    model: str
    """Class of ``stdatamodels.jwst.datamodels`` that opens it."""
    instrument: str
    description: str
    detector: Detector | None = None
    keywords: dict[str, Any] = field(default_factory=dict)
    """Further FITS keywords."""


def write_fits(path: Path, about: About, extensions: Iterable[fits.hdu.base.ExtensionHDU]) -> None:
    """Write a FITS reference file."""
    primary = fits.PrimaryHDU()
    for key, value in _keywords(about, path).items():
        primary.header[key] = value
    hdus = fits.HDUList([primary, *extensions])
    temporary = path.with_suffix(".tmp")
    hdus.writeto(temporary, overwrite=True)
    temporary.replace(path)


def _keywords(about: About, path: Path) -> dict[str, Any]:
    result = {
        "FILENAME": path.name,
        "TELESCOP": "JWST",
        "DATE": USEAFTER,
        "ORIGIN": AUTHOR,
        "AUTHOR": AUTHOR,
        "DATAMODL": about.model,
        "REFTYPE": about.reftype.upper(),
        "PEDIGREE": "SIMULATION",
        "DESCRIP": about.description,
        "USEAFTER": USEAFTER,
        "INSTRUME": about.instrument,
    }
    if about.detector is not None:
        result["DETECTOR"] = about.detector.name
        if about.instrument == "NIRCAM":
            result |= {"CHANNEL": about.detector.channel, "MODULE": about.detector.module}
    return result | about.keywords


def frame_keywords(detector: Detector) -> dict[str, Any]:
    """Return the subarray keywords of a full-frame reference, which the pipeline cuts to any subarray."""
    ny, nx = detector.shape
    return {
        "SUBARRAY": "GENERIC",
        "SUBSTRT1": 1,
        "SUBSTRT2": 1,
        "SUBSIZE1": nx,
        "SUBSIZE2": ny,
        "FASTAXIS": detector.fast_axis,
        "SLOWAXIS": detector.slow_axis,
    }


def image(name: str, data: np.ndarray[Any, Any]) -> fits.ImageHDU:
    """Return an image extension."""
    return fits.ImageHDU(np.asarray(data), name=name)


def definitions() -> fits.BinTableHDU:
    """Return the DQ_DEF table that says: the bits in this file are JWST's standard ones."""
    rows = [(i, 1 << i, flag.name or "", flag.name or "") for i, flag in enumerate(f for f in DQ if f)]
    columns = np.array(rows, dtype=[("BIT", "i4"), ("VALUE", "u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")])
    return fits.BinTableHDU(columns, name="DQ_DEF")


def write_asdf(path: Path, about: About, tree: dict[str, Any], meta: dict[str, Any] | None = None) -> None:
    """Write an ASDF reference file."""
    instrument: dict[str, Any] = {"name": about.instrument}
    if about.detector is not None:
        instrument["detector"] = about.detector.name
        if about.instrument == "NIRCAM":
            instrument |= {"channel": about.detector.channel, "module": about.detector.module}
    head = {
        "telescope": "JWST",
        "instrument": instrument,
        "reftype": about.reftype,
        "author": AUTHOR,
        "origin": AUTHOR,
        "pedigree": "SIMULATION",
        "description": about.description,
        "useafter": USEAFTER,
        "date": USEAFTER,
        "model_type": about.model,
        "filename": path.name,
    }
    instrument |= (meta or {}).pop("instrument", {})
    temporary = path.with_suffix(".tmp")
    asdf.AsdfFile({"meta": head | (meta or {}), **tree}).write_to(temporary)
    temporary.replace(path)
