"""How each kind of product is laid out in a FITS file: told here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.products import Guider, Product, Ramp, Rate, Resampled, Segmentation

VERSION: Final = 1
"""Grows when a layout changes in a way that a reader must know of."""


@dataclass(frozen=True)
class Plane:
    """One array of a product and the extension that holds it.

    Attributes
    ----------
    attribute, extname : str
        Name in Python and in the file.
    dtype : str
        Type in memory; FITS stores it big-endian, unsigned integers with BZERO.
    per_integration : bool
        Whether its first axis counts integrations, so that it is read and written in blocks of them.
    unit : str
        ``count`` for the product's own unit, ``square`` for that squared, or empty.
    """

    attribute: str
    extname: str
    dtype: str
    per_integration: bool = True
    unit: str = ""


@dataclass(frozen=True)
class Layout:
    """The extensions of one kind of product.

    Attributes
    ----------
    kind : type
        Class of the product.
    datamodl : str
        JWST's name of the data model, written as DATAMODL.
    planes : tuple of Plane
        In the order of the file; the first must be there.
    """

    kind: type[Product]
    datamodl: str
    planes: tuple[Plane, ...]


_RATE_PLANES = (
    Plane("data", "SCI", "f4", unit="count"),
    Plane("err", "ERR", "f4", unit="count"),
    Plane("dq", "DQ", "u4"),
    Plane("var_poisson", "VAR_POISSON", "f4", unit="square"),
    Plane("var_rnoise", "VAR_RNOISE", "f4", unit="square"),
    Plane("var_flat", "VAR_FLAT", "f4", unit="square"),
    Plane("area", "AREA", "f4", per_integration=False),
    Plane("chisq", "CHISQ", "f4"),
    Plane("dof", "DOF", "i4"),
    Plane("probability", "PROBABILITY", "f4"),
    Plane("pedestal", "PEDESTAL", "f4"),
    Plane("ndiff", "NDIFF", "i2"),
    Plane("worst", "WORST", "f4"),
    Plane("worst_group", "WORSTGROUP", "i2"),
)

RAW: Final = Layout(Ramp, "Level1bModel", (Plane("data", "SCI", "u2"), Plane("zeroframe", "ZEROFRAME", "u2")))
RAMP: Final = Layout(
    Ramp,
    "RampModel",
    (
        Plane("data", "SCI", "f4", unit="count"),
        Plane("pixeldq", "PIXELDQ", "u4", per_integration=False),
        Plane("groupdq", "GROUPDQ", "u1"),
        Plane("zeroframe", "ZEROFRAME", "f4", unit="count"),
        Plane("average_dark_current", "AVDRKCUR", "f4", per_integration=False),
    ),
)
IMAGE: Final = Layout(Rate, "ImageModel", _RATE_PLANES)
CUBE: Final = Layout(Rate, "CubeModel", _RATE_PLANES)
GUIDER: Final = Layout(
    Guider,
    "GuiderCalModel",
    (
        Plane("data", "SCI", "f4", unit="count"),
        Plane("err", "ERR", "f4", unit="count"),
        Plane("dq", "DQ", "u4", per_integration=False),
    ),
)
RESAMPLED: Final = Layout(
    Resampled,
    "ImageModel",
    (
        Plane("data", "SCI", "f4", unit="count"),
        Plane("err", "ERR", "f4", unit="count"),
        Plane("con", "CON", "i4"),
        Plane("wht", "WHT", "f4"),
        Plane("var_poisson", "VAR_POISSON", "f4", unit="square"),
        Plane("var_rnoise", "VAR_RNOISE", "f4", unit="square"),
        Plane("var_flat", "VAR_FLAT", "f4", unit="square"),
    ),
)
SEGMENTATION: Final = Layout(Segmentation, "SegmentationMapModel", (Plane("data", "SCI", "u4"),))

BY_NAME: Final = {
    "raw": RAW,
    "ramp": RAMP,
    "image": IMAGE,
    "cube": CUBE,
    "guider": GUIDER,
    "resampled": RESAMPLED,
    "segmentation": SEGMENTATION,
}


def layout_name(product: Product) -> str:
    """Return the name, a key of `BY_NAME`, of the layout that `product` is written in."""
    if isinstance(product, Rate):
        return "cube" if product.data.ndim == 3 else "image"
    for name, layout in BY_NAME.items():
        if name != "raw" and type(product) is layout.kind:
            return name
    raise TypeError(f"{type(product).__name__} has no FITS layout")
