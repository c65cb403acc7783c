"""Decode reference files as CRDS serves them, cut to the pixels of an exposure."""

from __future__ import annotations

import math
import mmap
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits
from numpy.typing import DTypeLike, NDArray

from schemas.arrays import read_values
from schemas.dq import translate
from schemas.errors import Unprocessable, explained
from schemas.headers import Extension, open_file, scan
from schemas.references import (
    ImageReference,
    ModelReference,
    RampReference,
    Reference,
    TableReference,
    Window,
)

IMAGES: Final = {"mask": "DQ", "linearity": "COEFFS"}
"""Extension that holds the values, for the types where it is not SCI."""

KERNELS: Final = frozenset({"ipc"})
"""Types that may hold one small image for all pixels of whatever window."""
RAMPS: Final = frozenset({"dark", "reset"})
ERRORS: Final = frozenset({"flat"})
"""Types whose errors some step uses; those of the others are not read."""

TABLES: Final = frozenset({"photom", "apcorr", "refpix", "rscd", "trappars"})
MODELS: Final = frozenset({"distortion", "filteroffset", "abvegaoffset", "emicorr"})


def load(path: str | Path, reftype: str, digest: str, window: Window) -> Reference:
    """Decode a reference file.

    Parameters
    ----------
    path : str or Path
        The file.
    reftype : str
        CRDS's name of its type.
    digest : str
        SHA-256 of its bytes.
    window : Window
        Pixels of the exposure; images are cut to it.

    Raises
    ------
    Unprocessable
        If it cannot be read, or does not cover the window.
    """
    file = Path(path)
    if reftype in MODELS:
        return _model(file, reftype, digest)
    extensions = _extensions(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(file, memmap=False) as hdus:
                common: dict[str, Any] = {"reftype": reftype, "name": file.name, "digest": digest}
                common["keywords"] = dict(hdus[0].header)
                if reftype in TABLES:
                    return TableReference(tables=_tables(hdus), **common)
                if reftype in KERNELS and len(shape := extensions["SCI"].shape) == 2:
                    window = Window(0, 0, shape[1], shape[0])
                planes = _Planes(file, extensions, window)
                if reftype in RAMPS:
                    return _ramp(planes, hdus, common)
                return _image(planes, hdus, common)
    except (OSError, KeyError, IndexError, ValueError, TypeError, AttributeError, fits.VerifyError) as error:
        raise _unreadable(file, reftype, error) from error


def _extensions(file: Path) -> dict[str, Extension]:
    """Return a file's extensions; refuse one that is cut off, whose last arrays astropy would leave out."""
    found: dict[str, Extension] = {}
    fd = open_file(file)
    try:
        for extension in scan(fd, file):
            found.setdefault(extension.name, extension)
    finally:
        os.close(fd)
    return found


def _unreadable(file: Path, reftype: str, error: Exception) -> Unprocessable:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return Unprocessable(f"{file}: cannot be read as a {reftype} reference ({reason}); give another file")


def _model(file: Path, reftype: str, digest: str) -> ModelReference:
    import asdf

    with explained(file, "read"):
        file.open("rb").close()
    try:
        with asdf.open(file, lazy_load=False, memmap=False) as opened:
            tree = dict(opened.tree)
    except Exception as error:  # asdf raises whatever its extensions raise
        raise _unreadable(file, reftype, error) from error
    return ModelReference(
        reftype=reftype, name=file.name, digest=digest, keywords=tree.get("meta", {}), tree=tree
    )


def _tables(hdus: Any) -> dict[str, np.ndarray]:
    found = {}
    for hdu in hdus:
        if isinstance(hdu, fits.BinTableHDU) and hdu.name != "ASDF":
            rows = _rows(hdu)
            rows.dtype.names = tuple(name.lower() for name in rows.dtype.names or ())
            found[hdu.name] = rows
    if not found:
        raise KeyError("it has no table")
    return found


def _rows(hdu: Any) -> np.ndarray:
    """Return a table as its columns say, unsigned integers and scaled numbers decoded."""
    raw = np.array(hdu.data)
    decoded = {c.name: hdu.data.field(c.name) for c in hdu.columns if c.bzero or c.bscale}
    if not decoded:
        return raw
    kinds = [
        (name, decoded[name].dtype, decoded[name].shape[1:]) if name in decoded else (name, raw.dtype[name])
        for name in raw.dtype.names or ()
    ]
    rows = np.empty(len(raw), kinds)
    for name, *_ in kinds:
        rows[name] = decoded.get(name, raw[name])
    return rows


@dataclass(frozen=True)
class _Planes:
    """The images of a file, read and cut to the window without a second copy of the whole."""

    file: Path
    extensions: Mapping[str, Extension]
    window: Window

    def has(self, extname: str) -> bool:
        """Tell whether there is an image of this name with pixels."""
        return extname in self.extensions and math.prod(self.extensions[extname].shape) > 0

    def shape(self, extname: str) -> tuple[int, ...]:
        """Return the shape of an image as it will be, two axes at least."""
        shape = self._extension(extname).shape
        return (*shape[:-2], *self._pixels(shape))

    def read(self, extname: str, dtype: DTypeLike) -> NDArray[Any]:
        """Return an image (..., ny, nx)."""
        shape = self.shape(extname)
        out = np.empty((math.prod(shape[:-2]), *shape[-2:]), dtype)
        self._fill(extname, 0, out)
        return out.reshape(shape)

    def plane(self, extname: str, index: int, dtype: DTypeLike) -> NDArray[Any]:
        """Return one plane (ny, nx) of an image of three axes or more."""
        out: NDArray[Any] = np.empty(self._pixels(self._extension(extname).shape), dtype)
        self._fill(extname, index, out[np.newaxis])
        return out

    def _extension(self, extname: str) -> Extension:
        extension = self.extensions[extname]
        if extension.header.get("XTENSION", "IMAGE").strip() != "IMAGE" or len(extension.shape) < 2:
            raise ValueError(f"{extname} is no image")
        return extension

    def _fill(self, extname: str, first: int, out: NDArray[Any]) -> None:
        extension = self._extension(extname)
        ny, nx = extension.shape[-2:]
        x, parts = 0, [(0, out.shape[1])]
        if self._pixels((ny, nx)) != (ny, nx):
            x, parts = _parts(self.file, self.extensions["PRIMARY"].header, (ny, nx), self.window)
        fd = os.open(self.file, os.O_RDONLY)
        try:
            for plane, index in zip(out, range(first, first + len(out)), strict=True):
                done = 0
                for y, length in parts:
                    part = plane[done : done + length]
                    rows = part if nx == plane.shape[1] else np.empty((length, nx), out.dtype)
                    read_values(fd, extension.offset, extension.header, (index * ny + y) * nx, rows)
                    if rows is not part:
                        part[...] = rows[:, x : x + plane.shape[1]]
                    done += length
        except Unprocessable as error:
            raise Unprocessable(f"{self.file}: extension {extname}: {error}") from None
        finally:
            os.close(fd)

    def _pixels(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return how many rows and columns are taken of an image: those of the window.

        References for IRS2 readouts may hold the rows read between the detector's too, which no keyword
        counts: all are taken.
        """
        own = Window.of(self.extensions["PRIMARY"].header, (shape[-2], shape[-1]))
        if own == self.window and shape[-1] == own.nx and shape[-2] > own.ny:
            return shape[-2], shape[-1]
        return self.window.ny, self.window.nx

    def group(self, index: int) -> NDArray[np.float32]:
        """Return one group (ny, nx) of SCI."""
        return self.plane("SCI", index, np.float32)


def _image(planes: _Planes, hdus: Any, common: Mapping[str, Any]) -> ImageReference:
    extname = IMAGES.get(common["reftype"], "SCI")
    shape = planes.shape(extname)[-2:]
    dq = _no_flags(shape)
    if planes.has("DQ"):
        dq = _standard_bits(hdus, planes.read("DQ", np.uint32))
    data: NDArray[np.float32] = np.zeros((0, *shape), np.float32)
    if extname != "DQ":
        data = planes.read(extname, np.float32)
    err = None
    if common["reftype"] in ERRORS and planes.has("ERR"):
        err = planes.read("ERR", np.float32)
    return ImageReference(data=data, dq=dq, err=err, **common)


def _ramp(planes: _Planes, hdus: Any, common: Mapping[str, Any]) -> RampReference:
    *integrations, ngroup, ny, nx = planes.shape("SCI")
    _parts(planes.file, hdus[0].header, planes.extensions["SCI"].shape[-2:], planes.window)
    dq = _no_flags((ny, nx))
    if planes.has("DQ"):
        dq = _standard_bits(hdus, _flags_of_all(planes))
    keywords = common["keywords"]
    return RampReference(
        ngroup=ngroup,
        nframes=int(keywords.get("NFRAMES") or 1),
        groupgap=int(keywords.get("GROUPGAP") or 0),
        dq=dq,
        group=planes.group,
        average_dark_current=_average_dark_current(planes, keywords, (ny, nx)),
        nint=math.prod(integrations),
        **common,
    )


def _flags_of_all(planes: _Planes) -> NDArray[np.uint32]:
    """Return the flags that a pixel has in any integration: each has them in its first plane."""
    *integrations, ngroup, _, _ = (1, 1, *planes.shape("DQ"))
    firsts = range(0, math.prod(integrations) * ngroup, ngroup) if len(integrations) > 2 else (0,)
    dq: NDArray[np.uint32] = planes.plane("DQ", 0, np.uint32)
    for index in firsts[1:]:
        dq |= planes.plane("DQ", index, np.uint32)
    return dq


def _average_dark_current(
    planes: _Planes, keywords: Mapping[str, Any], shape: tuple[int, int]
) -> NDArray[np.float32] | None:
    """Return the extension AVDRKCUR, else an image of the keyword; None where both are 0 or absent."""
    if planes.has("AVDRKCUR") and (image := planes.read("AVDRKCUR", np.float32)).any():
        return image
    value = float(keywords.get("AVDRKCUR") or 0)
    return np.full(shape, value, np.float32) if value else None


def _parts(
    file: Path, primary: Any, shape: tuple[int, ...], window: Window
) -> tuple[int, list[tuple[int, int]]]:
    """Return where the window lies in the reference's images of this shape.

    That is the first column, and of each of its stripes the first row and how many there are.
    """
    ny, nx = shape
    if (ny, nx) == (window.ny, window.nx):
        return 0, [(0, ny)]
    own = Window.of(primary, (ny, nx))
    x = window.x - own.x
    parts = [(first - own.y, rows) for first, rows in window.stripes or ((window.y, window.ny),)]
    inside = all(y >= 0 and y + rows <= ny for y, rows in parts)
    if own.stripes or not inside or x < 0 or x + window.nx > nx:
        what = f"{len(window.stripes)} stripes" if window.stripes else f"{window.nx} x {window.ny}"
        raise Unprocessable(
            f"{file}: its {nx} x {ny} pixels from ({own.x + 1}, {own.y + 1}) do not cover the exposure's "
            f"{what} from ({window.x + 1}, {window.y + 1}); give a reference of this subarray"
        )
    return x, parts


def _standard_bits(hdus: Any, dq: NDArray[np.uint32]) -> NDArray[np.uint32]:
    if not dq.any():
        return _no_flags(dq.shape)
    if "DQ_DEF" not in hdus or hdus["DQ_DEF"].data is None or not len(hdus["DQ_DEF"].data):
        return dq
    rows = hdus["DQ_DEF"].data
    return translate(
        dq, {int(value): str(name).strip() for value, name in zip(rows["VALUE"], rows["NAME"], strict=True)}
    )


def _no_flags(shape: tuple[int, ...]) -> NDArray[np.uint32]:
    """Return flags that are all 0, in pages that take no memory as long as nobody writes to them."""
    pages = mmap.mmap(-1, 4 * math.prod(shape), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # one huge page of zeros instead of 512 small ones to fault in
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint32).reshape(shape)
