"""Read products from FITS files, whole or by blocks of integrations."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from schemas import layout as layouts
from schemas.arrays import read_bytes, read_values
from schemas.errors import Unprocessable, explained
from schemas.headers import Extension, open_file, scan
from schemas.layout import Layout, Plane
from schemas.meta import Keywords, Meta, Provenance, StepRecord
from schemas.naming import suffix_of
from schemas.products import Product, Ramp
from schemas.tables import table_from_bytes
from schemas.wcs_extension import is_canonical, wcs_from_bytes, wcs_to_bytes

STRUCTURAL: Final = (
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "BSCALE", "BZERO", "BLANK", "EXTNAME",
    "EXTVER", "EXTLEVEL", "EXTEND", "NEXTEND", "CHECKSUM", "DATASUM",
)  # fmt: skip
"""Cards that the file's structure decides, not the product's metadata."""

TABLES: Final = (
    "GROUP", "INT_TIMES", "PIXEL_MAPS", "PLANNED REFERENCE STARS", "FLIGHT REFERENCE STARS", "POINTING",
    "FGS CENTROID PACKET", "TRACK SUBARRAY TABLE",
)  # fmt: skip
"""Tables that travel with a product; behind the first three, guiders'."""

_AXES: Final = {"raw": 4, "ramp": 4, "cube": 3, "guider": 3, "image": 2, "resampled": 2, "segmentation": 2}
_BLOCKED: Final = ("raw", "ramp", "cube")
_BY_SUFFIX: Final = {
    "uncal": "raw",
    "ramp": "ramp",
    "rate": "image",
    "rateints": "cube",
    "calints": "cube",
    "i2d": "resampled",
    "segm": "segmentation",
}
_FLAGS: Final = ("groupdq", "pixeldq", "dq")


def read(path: str | Path) -> Product:
    """Read a product from a JWST FITS file.

    Parameters
    ----------
    path : str or Path
        A file of a kind that :mod:`schemas.layout` knows, written by us or by anybody else.

    Returns
    -------
    Ramp, Rate, Guider, Resampled or Segmentation

    Raises
    ------
    Unprocessable
        If the file is not there, is no FITS file, is truncated, or has not the arrays that its kind needs.
    """
    with ProductFile(path) as file:
        return file.read()


class ProductFile:
    """An open product file, from which blocks of integrations are read.

    Parameters
    ----------
    path : str or Path
        The FITS file.

    Attributes
    ----------
    layout_name : str
        Key of :data:`schemas.layout.BY_NAME`.
    meta : Meta
        Without the WCS, which `read` loads.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._fd = open_file(self.path)
        try:
            with explained(self.path, "read"):
                self._hdus = self._index()
                self.layout_name = self._find_layout()
                self.layout: Layout = layouts.BY_NAME[self.layout_name]
                self._check()
                self.meta = self._meta()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the first plane, SCI."""
        return self._hdus["SCI"].shape

    @property
    def nint(self) -> int:
        """Return the number of integrations in the file; 1 for an image."""
        return self.shape[0] if self.layout_name in _BLOCKED else 1

    def has(self, extname: str) -> bool:
        """Tell whether the file has an extension of this name."""
        return extname in self._hdus

    def header_of(self, extname: str) -> Any:
        """Return the header of an extension."""
        return self._hdus[extname].header

    def shape_of(self, extname: str) -> tuple[int, ...]:
        """Return the shape of an extension's data, slowest axis first."""
        return self._hdus[extname].shape

    def offset_of(self, extname: str) -> int:
        """Return where in the file an extension's data begin."""
        return self._hdus[extname].offset

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._fd

    def wcs_bytes(self) -> bytes | None:
        """Return the WCS as :func:`schemas.wcs_extension.wcs_to_bytes` gives it, or None."""
        if not self._has_wcs():
            return None
        content = self._bytes("ASDF")
        if is_canonical(content):
            return content
        wcs = wcs_from_bytes(content, str(self.path))  # others keep more in there
        return None if wcs is None else wcs_to_bytes(wcs)

    def missing_flags(self) -> list[str]:
        """Return the flag arrays that the product needs and the file has not; raw exposures have none."""
        held = {plane.attribute for plane in self.layout.planes if plane.extname in self._hdus}
        return [name for name in _FLAGS if name in self._needed() - held]

    def blocks(self, size: int) -> Iterator[Product]:
        """Yield the product in blocks of `size` integrations."""
        for first in range(0, self.nint, size):
            yield self.read(first, min(first + size, self.nint))

    def read(self, first: int = 0, last: int | None = None) -> Product:
        """Read the product, or integrations `first` to `last` (exclusive) of it.

        A raw ramp comes as float32. Flags that the file does not have come as all good.

        Raises
        ------
        Unprocessable
            If the values cannot be read.
        ValueError
            If there are no such integrations.
        """
        stop = self.nint if last is None else last
        if not 0 <= first < stop <= self.nint:
            raise ValueError(f"{self.path}: there are no integrations {first}:{stop}, it has {self.nint}")
        found = [plane for plane in self.layout.planes if plane.extname in self._hdus]
        with explained(self.path, "read"):
            parts: dict[str, Any] = {p.attribute: self._read_plane(p, first, stop) for p in found}
            meta = self._with_wcs(self.meta)
        for attribute in self.missing_flags():
            whole = attribute == "pixeldq" or self.layout_name == "guider"
            shape = parts["data"].shape[-2:] if whole else parts["data"].shape
            parts[attribute] = np.zeros(shape, np.uint8 if attribute == "groupdq" else np.uint32)
        if self.layout_name in _BLOCKED:
            parts["first_integration"] = first
        return self.layout.kind(meta=meta, **parts)

    def _index(self) -> dict[str, Extension]:
        found: dict[str, Extension] = {}
        for extension in scan(self._fd, self.path):
            if extension.name == "SCI" and "SCI" in found:
                raise Unprocessable(
                    f"{self.path}: there are several SCI extensions; give a product with one of them "
                    "(_uncal, _ramp, _rate, _cal of an image, _i2d)"
                )
            found.setdefault(extension.name, extension)
        return found

    def _read_plane(self, plane: Plane, first: int, last: int) -> np.ndarray:
        extension = self._hdus[plane.extname]
        shape, start = extension.shape, 0
        if plane.per_integration and self.layout_name in _BLOCKED:
            start = first * math.prod(shape[1:])
            shape = (last - first, *shape[1:])
        out = np.empty(shape, "f4" if self.layout_name == "raw" else plane.dtype)
        try:
            read_values(self._fd, extension.offset, extension.header, start, out)
        except Unprocessable as error:
            raise Unprocessable(f"{self.path}: extension {plane.extname}: {error}") from None
        return out[np.newaxis] if plane.attribute == "con" and out.ndim == 2 else out

    def _bytes(self, extname: str, with_header: bool = False) -> bytes:
        extension = self._hdus[extname]
        begin = extension.begin if with_header else extension.offset
        return read_bytes(self._fd, begin, extension.offset + extension.size - begin)

    def _has_wcs(self) -> bool:
        return "ASDF" in self._hdus and self.layout_name != "raw"  # theirs is a copy of the headers

    def _with_wcs(self, meta: Meta) -> Meta:
        if not self._has_wcs():
            return meta
        return replace(meta, wcs=wcs_from_bytes(self._bytes("ASDF"), str(self.path)))

    def _find_layout(self) -> str:
        if "SCI" not in self._hdus:
            raise Unprocessable(
                f"{self.path}: there is no SCI extension; give a JWST product "
                "(_uncal, _ramp, _rate, _cal, _i2d)"
            )
        axes = len(self.shape)
        by_suffix = _BY_SUFFIX.get(suffix_of(str(self.path)))
        guess = {4: "ramp" if "GROUPDQ" in self._hdus else "raw", 3: "cube", 2: "image"}.get(axes)
        if guess == "cube" and self._by_datamodl() == "guider":
            guess = "guider"
        if guess == "image" and "CON" in self._hdus:
            guess = "resampled"
        if guess == "image" and "segmentation" in (by_suffix, self._by_datamodl()):
            guess = "segmentation"
        if guess is None or (by_suffix and _AXES[by_suffix] != axes):
            wanted = f"{_AXES[by_suffix]} axes" if by_suffix else "2, 3 or 4 axes"
            raise Unprocessable(
                f"{self.path}: SCI has {axes} axes where {wanted} are expected; "
                "give a JWST product, named as JWST names it"
            )
        return guess

    def _by_datamodl(self) -> str:
        known = self._hdus["PRIMARY"].header.get("DATAMODL")
        kinds = ("segmentation", "guider")
        return next((name for name in kinds if known == layouts.BY_NAME[name].datamodl), "")

    def _check(self) -> None:
        for plane in self.layout.planes:
            if plane.extname in self._hdus:
                _check_plane(self.path, plane, self._hdus[plane.extname], self.shape)
            elif plane.attribute in self._needed() and plane.attribute not in _FLAGS:
                raise Unprocessable(
                    f"{self.path}: there is no {plane.extname} extension, which a product of this kind "
                    "needs; fetch the file again"
                )
        if self.layout_name not in ("resampled", "segmentation"):
            _check_sizes(self.path, self.layout_name, self._hdus["PRIMARY"].header, self.shape)

    def _needed(self) -> set[str]:
        return {field.name for field in fields(self.layout.kind) if field.default is MISSING}

    def _meta(self) -> Meta:
        provenance = Provenance()
        if "CALSTREAM" in self._hdus:
            provenance = _provenance(self.path, self._bytes("CALSTREAM"))
        return Meta(
            primary=Keywords(_without_structure(self._hdus["PRIMARY"].header)),
            science=Keywords(_without_structure(self._hdus["SCI"].header)),
            tables=self._tables(),
            provenance=provenance,
        )

    def _tables(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for name in TABLES:
            if name in self._hdus:
                try:
                    found[name] = table_from_bytes(self._bytes(name, with_header=True))
                except ValueError as error:
                    raise Unprocessable(f"{self.path}: table {name}: {error}; fetch the file again") from None
        return found


def _check_plane(path: Path, plane: Plane, extension: Extension, science: tuple[int, ...]) -> None:
    shape = extension.shape
    if extension.header.get("XTENSION") != "IMAGE":
        raise Unprocessable(f"{path}: {plane.extname} is not an image; unpack a compressed file with funpack")
    if math.prod(shape) == 0:
        raise Unprocessable(
            f"{path}: {plane.extname} has no pixels, its shape is {shape}; fetch the file again"
        )
    wanted = science if plane.per_integration else science[-2:]
    if plane.attribute == "zeroframe":
        wanted = (science[0], *science[2:])
    if plane.attribute == "con" and len(shape) in (2, 3):
        wanted, shape = science[-2:], shape[-2:]
    if shape != wanted:
        raise Unprocessable(
            f"{path}: {plane.extname} has shape {shape} where SCI has {science}; fetch the file again"
        )


def _check_sizes(path: Path, layout_name: str, primary: Any, shape: tuple[int, ...]) -> None:
    """Compare the sizes that the header tells with those that the data have."""
    said = {"SUBSIZE1": shape[-1], "SUBSIZE2": shape[-2]}
    if "IRS2" in str(primary.get("READPATT", "")):
        del said["SUBSIZE2"]  # tells the rows of the detector, without those of interleaved reference pixels
    if layout_name in ("raw", "ramp"):
        said["NGROUPS"] = shape[1]
    if layout_name in _BLOCKED and _segment(primary) != shape[0]:
        said["NINTS"] = shape[0]
    for keyword, size in said.items():
        value = primary.get(keyword)
        if value is not None and value != size:
            raise Unprocessable(
                f"{path}: the header says {keyword} = {value}, the data have {size} (SCI is {shape}); "
                "mend the header or fetch the file again"
            )


def _segment(primary: Any) -> int | None:
    """Return how many of an exposure's integrations are in this file, where the header tells."""
    first, last = primary.get("INTSTART"), primary.get("INTEND")
    return last - first + 1 if type(first) is int and type(last) is int else None


def _without_structure(header: Any) -> Any:
    cleaned = header.copy(strip=True)
    for keyword in STRUCTURAL:
        cleaned.remove(keyword, ignore_missing=True, remove_all=True)
    return cleaned


def _provenance(path: Path, content: bytes) -> Provenance:
    known = StepRecord.__dataclass_fields__
    try:
        tree = json.loads(content)
        records = [{k: v for k, v in record.items() if k in known} for record in tree.get("steps", ())]
        steps = tuple(StepRecord(**record) for record in records)
        return Provenance(steps=steps, run=tree.get("run", {}), content=str(tree.get("content", "")))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Unprocessable(
            f"{path}: its CALSTREAM extension cannot be read ({type(error).__name__}); fetch the file again"
        ) from None


def read_ramp(path: str | Path) -> Ramp:
    """Read a Level-1b or ramp file; see :func:`read`.

    Raises
    ------
    Unprocessable
        If it is another kind of product.
    """
    product = read(path)
    if not isinstance(product, Ramp):
        raise Unprocessable(
            f"{path}: this is a {type(product).__name__.lower()}; give a ramp (_uncal, _ramp)"
        )
    return product
