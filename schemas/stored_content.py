"""Content digests of files, from their bytes as they lie on the disk."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from schemas.arrays import BZERO, CHUNK, bitpix
from schemas.content import PlaneDigest, content_digest, content_digest_of
from schemas.errors import Unprocessable
from schemas.layout import Plane
from schemas.reading import ProductFile


def content_digest_of_file(file: ProductFile) -> str:
    """Return the content digest of an open product file.

    Equal to :func:`schemas.content.content_digest` of the product in it, without decoding the arrays where
    the file stores them as our layout does. Only that of a raw exposure differs: it is of the stored counts.
    """
    found = _planes(file)
    if found is None:
        return content_digest(file.read())
    with ThreadPoolExecutor(max_workers=2) as pool:
        digests = list(pool.map(lambda plane: _plane(file, plane), found))
    planes = {plane.extname: digest for plane, digest in zip(found, digests, strict=True)}
    return content_digest_of(file.layout_name, planes, file.meta, file.wcs_bytes())


class PassingContent:
    """Content digest of a product file whose bytes pass by in order, as when it is copied.

    Parameters
    ----------
    file : ProductFile
        Open; it must stay so until the digest is asked for.
    """

    def __init__(self, file: ProductFile) -> None:
        self._file = file
        self._found = _planes(file)
        self._hashes = [hashlib.sha256() for _ in self._found or ()]
        self._spans = [
            (file.offset_of(plane.extname), file.offset_of(plane.extname) + _size(file, plane))
            for plane in self._found or ()
        ]

    def update(self, position: int, chunk: bytes) -> None:
        """Take the bytes that begin at `position` of the file."""
        view = memoryview(chunk)
        for (begin, end), plane in zip(self._spans, self._hashes, strict=True):
            first, last = max(begin - position, 0), min(end - position, len(view))
            if first < last:
                plane.update(view[first:last])

    def digest(self) -> str:
        """Return what :func:`content_digest_of_file` returns, once all bytes have passed.

        A file that stores its arrays in another way than our layout does is read again.
        """
        if self._found is None:
            return content_digest(self._file.read())
        planes = {
            plane.extname: (plane.dtype, self._file.shape_of(plane.extname), total.hexdigest())
            for plane, total in zip(self._found, self._hashes, strict=True)
        }
        return content_digest_of(self._file.layout_name, planes, self._file.meta, self._file.wcs_bytes())


def _planes(file: ProductFile) -> list[Plane] | None:
    """Return the arrays of a file, or None if one is not stored as our layout stores it, or is missing."""
    found = [plane for plane in file.layout.planes if file.has(plane.extname)]
    missing = file.layout_name != "raw" and file.missing_flags()
    if missing or not all(_as_laid_out(file.header_of(plane.extname), plane) for plane in found):
        return None
    return found


def _size(file: ProductFile, plane: Plane) -> int:
    return int(np.prod(file.shape_of(plane.extname))) * np.dtype(plane.dtype).itemsize


def _as_laid_out(header: Any, plane: Plane) -> bool:
    bzero = BZERO.get(plane.dtype, 0)
    return bool(
        header["BITPIX"] == bitpix(plane.dtype)
        and header.get("BSCALE", 1) == 1
        and header.get("BZERO", 0) == bzero
    )


def _plane(file: ProductFile, plane: Plane) -> PlaneDigest:
    shape, offset = file.shape_of(plane.extname), file.offset_of(plane.extname)
    left = _size(file, plane)
    total = hashlib.sha256()
    while left:
        part = os.pread(file.fileno(), min(left, 2 * CHUNK), offset)
        if not part:
            raise Unprocessable(f"{file.path}: the file ends before its data do; fetch it again")
        total.update(part)
        offset, left = offset + len(part), left - len(part)
    return plane.dtype, shape, total.hexdigest()


def digest_of_path(path: str | Path) -> str:
    """Return the content digest of the product file at `path`."""
    with ProductFile(path) as file:
        return content_digest_of_file(file)
