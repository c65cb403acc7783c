"""Write products as JWST FITS files, whole or by blocks of integrations.

Headers and tables are made by astropy; arrays are streamed after them, so that no second copy of a long
exposure is ever held. The same product gives the same bytes, however many blocks it is written in.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from schemas import layout as layouts
from schemas.arrays import BZERO, CHUNK, bitpix, to_stored
from schemas.canonical import canonical_json
from schemas.content import PlaneDigest, content_digest_of, file_digest
from schemas.errors import explained
from schemas.layout import Layout, Plane
from schemas.meta import Meta, Provenance
from schemas.products import Product
from schemas.tables import table_to_hdu
from schemas.wcs_extension import NO_WCS, wcs_hdu, wcs_to_bytes
from schemas.whole_files import partial_of

_BLOCK = 2880
_HANDS = 2
"""Threads that hash and write arrays, each whole ones: there are few of them, and disks are shared."""


@dataclass(frozen=True)
class Written:
    """What a product file holds: its content digest, and the SHA-256 of its bytes."""

    content: str
    sha256: str


def write(product: Product, path: str | Path) -> str:
    """Write a product as `write_file` does, and return its content digest."""
    return write_file(product, path).content


def write_file(product: Product, path: str | Path) -> Written:
    """Write a product to a FITS file, at once or not at all.

    Parameters
    ----------
    product : Product
        Of a kind with a layout in :mod:`schemas.layout`.
    path : str or Path
        The file; one that is there is replaced in one move.

    Returns
    -------
    Written
        What was written.

    Raises
    ------
    Retriable
        If the disk is full.
    Unprocessable
        If the folder is not there or cannot be written to.
    """
    target = Path(path)
    partial = partial_of(target)
    nint = product.arrays()["data"].shape[0]
    with ProductWriter(partial, product, nint, filename=target.name) as writer:
        writer.append(product)
        written = Written(writer.finish(product.meta.provenance), writer.sha256)
    try:
        with explained(target, "written"):
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return written


class ProductWriter:
    """A product file being written by blocks of integrations.

    When the block of a ``with`` statement ends by an exception, or before `finish`, the file is removed.

    Parameters
    ----------
    path : str or Path
        The file, which must be nobody else's until `finish` returns.
    template : Product
        The first block: it gives the metadata, and which arrays there are.
    nint : int
        Number of integrations of the whole; not used for images.
    filename : str, optional
        FILENAME in the header, if not the name in `path`.

    Attributes
    ----------
    sha256 : str
        Of the file; known behind `finish`.

    Raises
    ------
    Retriable
        By all of its methods, if the disk is full.
    Unprocessable
        By all of its methods, if the folder is not there or cannot be written to.
    """

    def __init__(self, path: str | Path, template: Product, nint: int, filename: str | None = None) -> None:
        self.path = Path(path)
        self.layout_name = layouts.layout_name(template)
        self.layout: Layout = layouts.BY_NAME[self.layout_name]
        self._blocked = self.layout_name in ("ramp", "cube")
        self._meta = template.meta
        self._filename = filename or self.path.name
        arrays = template.arrays()
        self._planes = [plane for plane in self.layout.planes if plane.attribute in arrays]
        self._nint = nint if self._blocked else arrays["data"].shape[0]
        self._shapes = {p.attribute: self._full_shape(p, arrays[p.attribute]) for p in self._planes}
        self._hashes = {plane.extname: hashlib.sha256() for plane in self._planes}
        self._offsets: dict[str, int] = {}
        self._once: dict[str, np.ndarray] = {}
        self._written = 0
        self._finished = False
        self.sha256 = ""
        with self._explained():
            self._file = open(self.path, "wb", buffering=0)  # noqa: SIM115  closed by __exit__
        try:
            with self._explained():
                self._write_headers()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> ProductWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self._finished:
            self.path.unlink(missing_ok=True)

    def append(self, block: Product) -> None:
        """Write the next block of integrations.

        Raises
        ------
        ValueError
            If its arrays are not those of the template.
        """
        arrays = block.arrays()
        count = arrays["data"].shape[0]
        self._check(arrays, count)
        with self._explained(), ThreadPoolExecutor(_HANDS) as hands:
            streams = []
            for plane in self._planes:
                array = arrays[plane.attribute]
                if plane.per_integration or not self._blocked:
                    done = self._written * math.prod(array.shape[1:]) if self._blocked else 0
                    streams.append(hands.submit(self._stream, plane, array, done))
                elif plane.attribute in self._once and plane.attribute == "pixeldq":
                    self._once[plane.attribute] = self._once[plane.attribute] | array
                else:
                    self._once[plane.attribute] = array
            for stream in streams:
                stream.result()
        self._written += count

    def finish(self, provenance: Provenance) -> str:
        """Write what comes after the arrays, flush to the disk, and return the content digest.

        Parameters
        ----------
        provenance : Provenance
            Goes into the extension CALSTREAM.

        Raises
        ------
        ValueError
            If blocks are missing.
        """
        if self._written != self._nint:
            raise ValueError(f"{self._shown}: {self._written} of {self._nint} integrations were given")
        wcs = wcs_to_bytes(self._meta.wcs) if self._meta.wcs is not None else None
        with self._explained():
            for plane in self._planes:
                if plane.attribute in self._once:
                    self._stream(plane, self._once[plane.attribute], 0)
            digests = {p.extname: self._plane_digest(p) for p in self._planes}
            content = content_digest_of(self.layout_name, digests, self._meta, wcs)
            tail = _tail(self._meta, replace(provenance, content=content), self.layout_name, wcs)
            _write_all(self._file.fileno(), memoryview(tail), self._end)
            with ThreadPoolExecutor(1) as flusher:
                flush = flusher.submit(os.fsync, self._file.fileno())
                self.sha256 = file_digest(self.path)
                flush.result()
        self._finished = True
        return content

    @property
    def _shown(self) -> Path:
        return self.path.with_name(self._filename)

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self._shown, "written")

    def _check(self, arrays: Mapping[str, np.ndarray], count: int) -> None:
        if self._written + count > self._nint:
            raise ValueError(f"{self._shown}: more than {self._nint} integrations were given")
        for plane in self._planes:
            shape = self._shapes[plane.attribute]
            wanted = (count, *shape[1:]) if self._in_blocks(plane) else shape
            got = arrays[plane.attribute].shape if plane.attribute in arrays else None
            if got != wanted:
                raise ValueError(f"{self._shown}: {plane.attribute} has shape {got} where {wanted} is needed")

    def _in_blocks(self, plane: Plane) -> bool:
        return self._blocked and plane.per_integration

    def _full_shape(self, plane: Plane, array: np.ndarray) -> tuple[int, ...]:
        return (self._nint, *array.shape[1:]) if self._in_blocks(plane) else array.shape

    def _plane_digest(self, plane: Plane) -> PlaneDigest:
        return plane.dtype, self._shapes[plane.attribute], self._hashes[plane.extname].hexdigest()

    def _write_headers(self) -> None:
        offset = self._put(_primary_header(self._meta, self.layout, self._filename), 0)
        for plane in self._planes:
            shape = self._shapes[plane.attribute]
            offset = self._put(_plane_header(plane, shape, self._meta), offset)
            self._offsets[plane.extname] = offset
            size = math.prod(shape) * np.dtype(plane.dtype).itemsize
            offset += _padded(size)
        self._end = offset
        self._file.truncate(offset)

    def _put(self, header: fits.Header, offset: int) -> int:
        text = header.tostring().encode("ascii")
        _write_all(self._file.fileno(), memoryview(text), offset)
        return offset + len(text)

    def _stream(self, plane: Plane, array: np.ndarray, first: int) -> None:
        flat = np.ascontiguousarray(array).reshape(-1)
        itemsize = np.dtype(plane.dtype).itemsize
        for begin in range(0, flat.size, CHUNK):
            stored = to_stored(flat[begin : begin + CHUNK], plane.dtype).data
            self._hashes[plane.extname].update(stored)
            _write_all(self._file.fileno(), stored, self._offsets[plane.extname] + (first + begin) * itemsize)


def _write_all(fd: int, content: memoryview, offset: int) -> None:
    view = content.cast("B")
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _primary_header(meta: Meta, layout: Layout, filename: str) -> fits.Header:
    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    header.extend(meta.primary.header(), unique=False, update=False, strip=True)
    header["FILENAME"] = (filename, "Name of the file")
    header["DATAMODL"] = (layout.datamodl, "Type of data model")
    header["TELESCOP"] = (meta.primary.get("TELESCOP", "JWST"), "Telescope used to acquire the data")
    return header


def _plane_header(plane: Plane, shape: tuple[int, ...], meta: Meta) -> fits.Header:
    header = fits.Header([("XTENSION", "IMAGE"), ("BITPIX", bitpix(plane.dtype)), ("NAXIS", len(shape))])
    for axis, size in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = size
    header["PCOUNT"], header["GCOUNT"] = 0, 1
    if plane.dtype in BZERO:
        header["BSCALE"], header["BZERO"] = 1, BZERO[plane.dtype]
    header["EXTNAME"] = plane.extname
    unit = meta.science.get("BUNIT")
    if plane.attribute == "data":
        header.extend(meta.science.header(), unique=False, update=False, strip=True)
    elif unit and plane.unit:
        header["BUNIT"] = unit if plane.unit == "count" else f"({unit})2"
    return header


def _tail(meta: Meta, provenance: Provenance, layout_name: str, wcs: bytes | None) -> bytes:
    hdus: list[Any] = [fits.PrimaryHDU()]
    for name, rows in meta.tables.items():
        hdus.append(table_to_hdu(rows, name))
    hdus.append(wcs_hdu(NO_WCS if wcs is None else wcs))
    tree = {"layout": layout_name, "layout_version": layouts.VERSION, **asdict(provenance)}
    text = np.frombuffer(canonical_json(tree).encode(), np.uint8)
    hdus.append(fits.ImageHDU(text, name="CALSTREAM"))
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer, output_verify="silentfix")
    return buffer.getvalue()[_BLOCK:]
