"""Read products from FITS files, whole or by blocks of integrations."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from schemas import layout as layouts
from schemas.arrays import read_values
from schemas.errors import Unprocessable
from schemas.layout import Layout, Plane
from schemas.meta import Keywords, Meta, Provenance, StepRecord
from schemas.naming import suffix_of
from schemas.products import Product, Ramp
from schemas.wcs_extension import wcs_from_bytes

STRUCTURAL = ("XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "BSCALE", "BZERO", "EXTNAME", "EXTEND", "SIMPLE")
"""Cards that the file's structure decides, not the product's metadata."""

_AXES = {"raw": 4, "ramp": 4, "cube": 3, "image": 2, "resampled": 2, "segmentation": 2}
_BY_SUFFIX = {"uncal": "raw", "ramp": "ramp", "rateints": "cube", "calints": "cube", "i2d": "resampled", "segm": "segmentation"}


def read(path: str | Path) -> Product:
    """Read a product from a JWST FITS file.

    Parameters
    ----------
    path : str or Path
        A file of a kind that :mod:`schemas.layout` knows, written by us or by anybody else.

    Returns
    -------
    Ramp, Rate, Resampled or Segmentation

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
        self._hdus, self._file_size = _scan(self.path)
        self.layout_name = self._find_layout()
        self.layout: Layout = layouts.BY_NAME[self.layout_name]
        self._check()
        self._fd = os.open(self.path, os.O_RDONLY)
        self.meta = self._meta()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the first plane, SCI."""
        return self._shape(self.layout.planes[0].extname)

    @property
    def nint(self) -> int:
        """Return the number of integrations in the file; 1 for an image."""
        return self.shape[0] if self.layout_name in ("raw", "ramp", "cube") else 1

    def blocks(self, size: int) -> Iterator[Product]:
        """Yield the product in blocks of `size` integrations."""
        for first in range(0, self.nint, size):
            yield self.read(first, min(first + size, self.nint))

    def read(self, first: int = 0, last: int | None = None) -> Product:
        """Read the product, or integrations `first` to `last` (exclusive) of it.

        A raw ramp comes as float32 with its flags all good.
        """
        stop = self.nint if last is None else last
        found = [plane for plane in self.layout.planes if plane.extname in self._hdus]
        arrays = {plane.attribute: self._read_plane(plane, first, stop) for plane in found}
        if self.layout_name == "raw":
            arrays["groupdq"] = np.zeros(arrays["data"].shape, np.uint8)
            arrays["pixeldq"] = np.zeros(arrays["data"].shape[2:], np.uint32)
        meta = self.meta
        if "ASDF" in self._hdus:
            meta = replace(meta, wcs=wcs_from_bytes(self._bytes("ASDF"), str(self.path)))
        first_integration = {"first_integration": first} if self.nint > 1 or self.layout_name == "cube" else {}
        return self.layout.kind(meta=meta, **arrays, **first_integration)

    def _read_plane(self, plane: Plane, first: int, last: int) -> np.ndarray:
        header, offset = self._hdus[plane.extname]
        shape = self._shape(plane.extname)
        start = 0
        if plane.per_integration and self.layout_name in ("raw", "ramp", "cube"):
            start = first * int(np.prod(shape[1:]))
            shape = (last - first, *shape[1:])
        dtype = "f4" if self.layout_name == "raw" else plane.dtype
        out = np.empty(shape, dtype)
        try:
            read_values(self._fd, offset, header, start, out)
        except Unprocessable as error:
            raise Unprocessable(f"{self.path}: extension {plane.extname}: {error}") from None
        return out

    def _shape(self, extname: str) -> tuple[int, ...]:
        header = self._hdus[extname][0]
        return tuple(header[f"NAXIS{axis}"] for axis in range(header["NAXIS"], 0, -1))

    def _bytes(self, extname: str) -> bytes:
        header, offset = self._hdus[extname]
        axes = self._shape(extname)
        return os.pread(self._fd, int(np.prod(axes)) * abs(header["BITPIX"]) // 8, offset)

    def _find_layout(self) -> str:
        if "SCI" not in self._hdus:
            raise Unprocessable(
                f"{self.path}: there is no SCI extension; give a JWST product (_uncal, _ramp, _rate, _cal, _i2d)"
            )
        axes = self._hdus["SCI"][0]["NAXIS"]
        by_suffix = _BY_SUFFIX.get(suffix_of(str(self.path)))
        guess = {4: "ramp" if "GROUPDQ" in self._hdus else "raw", 3: "cube"}.get(axes)
        if axes == 2:
            guess = "resampled" if "CON" in self._hdus else "image"
            guess = by_suffix if by_suffix == "segmentation" else guess
        if guess is None or (by_suffix and _AXES[by_suffix] != axes):
            wanted = f"{_AXES[by_suffix]} axes" if by_suffix else "2, 3 or 4 axes"
            raise Unprocessable(f"{self.path}: SCI has {axes} axes where {wanted} are expected; give a JWST product")
        return guess

    def _check(self) -> None:
        primary = self._hdus["PRIMARY"][0]
        shape = self._shape("SCI")
        said: dict[str, int] = {"SUBSIZE1": shape[-1], "SUBSIZE2": shape[-2]}
        if self.layout_name in ("raw", "ramp"):
            said["NGROUPS"] = shape[1]
            segment = primary.get("INTEND", 0) - primary.get("INTSTART", 1) + 1
            if segment not in (shape[0], 0) or "INTEND" not in primary:
                said["NINTS"] = shape[0]
        if self.layout_name in ("resampled", "segmentation"):
            return
        for keyword, size in said.items():
            value = primary.get(keyword)
            if value is not None and value != size and not self._irs2(keyword, primary):
                raise Unprocessable(
                    f"{self.path}: the header says {keyword} = {value}, the data have {size} (SCI is {shape}); "
                    "mend the header or fetch the file again"
                )
        for plane in self.layout.planes[1:]:
            if plane.extname in self._hdus:
                _check_plane(self.path, self.layout_name, plane, self._shape(plane.extname), shape)

    @staticmethod
    def _irs2(keyword: str, primary: Any) -> bool:
        return keyword == "SUBSIZE2" and "IRS2" in str(primary.get("READPATT", ""))

    def _meta(self) -> Meta:
        primary, science = self._hdus["PRIMARY"][0], self._hdus["SCI"][0]
        provenance = Provenance()
        if "CALSTREAM" in self._hdus:
            provenance = _provenance(json.loads(self._bytes("CALSTREAM").decode()))
        return Meta(
            primary=Keywords(_without_structure(primary)),
            science=Keywords(_without_structure(science)),
            tables=self._tables(),
            provenance=provenance,
        )

    def _tables(self) -> dict[str, np.ndarray]:
        names = [name for name in ("GROUP", "INT_TIMES") if name in self._hdus]
        if not names:
            return {}
        with fits.open(self.path, memmap=False) as opened:
            return {name: np.array(opened[name].data.view(np.ndarray)) for name in names}


def _check_plane(
    path: Path, layout_name: str, plane: Plane, shape: tuple[int, ...], science: tuple[int, ...]
) -> None:
    wanted = science if plane.per_integration else science[-2:]
    if plane.attribute == "zeroframe":
        wanted = (science[0], *science[2:])
    if plane.attribute == "con":
        wanted, shape = science[-2:], shape[-2:]
    if shape != wanted:
        raise Unprocessable(
            f"{path}: {plane.extname} has shape {shape} where SCI has {science}; fetch the file again"
        )


def _scan(path: Path) -> tuple[dict[str, tuple[Any, int]], int]:
    """Read all headers; return for each extension its header and where its data begin."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Unprocessable(f"{path}: {error.strerror or error}; check the path") from None
    if path.is_dir():
        raise Unprocessable(f"{path}: is a folder, not a file")
    if size == 0:
        raise Unprocessable(f"{path}: the file is empty; fetch it again")
    with open(path, "rb") as start:
        if start.read(9) != b"SIMPLE  =":
            raise Unprocessable(f"{path}: this is not a FITS file; give a JWST product")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            hdus, end = _headers(path)
        except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
            raise Unprocessable(f"{path}: its FITS headers cannot be read ({error}); fetch it again") from None
    if end > size:
        raise Unprocessable(
            f"{path}: the file is truncated, {size} bytes where its headers promise {end}; fetch it again"
        )
    return hdus, size


def _headers(path: Path) -> tuple[dict[str, tuple[Any, int]], int]:
    hdus: dict[str, tuple[Any, int]] = {}
    end = 0
    with fits.open(path, memmap=False, lazy_load_hdus=False) as opened:
        for index, hdu in enumerate(opened):
            info = hdu.fileinfo()
            # astropy hides BZERO of unsigned images once data were read; they were not.
            header = fits.Header.fromfile(path.open("rb"), endcard=True) if index == 0 else hdu.header.copy()
            hdus.setdefault("PRIMARY" if index == 0 else hdu.name, (header, info["datLoc"]))
            end = info["datLoc"] + info["datSpan"]
    return hdus, end


def _without_structure(header: Any) -> Any:
    cleaned = header.copy(strip=True)
    for keyword in STRUCTURAL:
        cleaned.remove(keyword, ignore_missing=True)
    return cleaned


def _provenance(tree: dict[str, Any]) -> Provenance:
    steps = tuple(StepRecord(**{k: v for k, v in record.items() if k in StepRecord.__dataclass_fields__}) for record in tree.get("steps", ()))
    return Provenance(steps=steps, run=tree.get("run", {}))


def read_ramp(path: str | Path) -> Ramp:
    """Read a Level-1b or ramp file; see :func:`read`.

    Raises
    ------
    Unprocessable
        If it is another kind of product.
    """
    product = read(path)
    if not isinstance(product, Ramp):
        raise Unprocessable(f"{path}: a {type(product).__name__.lower()}, where a ramp is needed")
    return product
