"""Arrays as FITS stores them: big-endian, unsigned integers with an offset of half their range."""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np

from schemas.errors import Unprocessable

CHUNK: Final = 1 << 22
"""Elements converted at a time, so that the copy stays in the processor's cache and memory stays flat."""

_BITPIX: Final = {"u1": 8, "i2": 16, "u2": 16, "i4": 32, "u4": 32, "i8": 64, "f4": -32, "f8": -64}
_STORED: Final = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
BZERO: Final = {"u2": 1 << 15, "u4": 1 << 31}


def bitpix(dtype: str) -> int:
    """Return FITS' BITPIX for one of numpy's short type names."""
    return _BITPIX[dtype]


def to_stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return a flat array of `values` as the bytes that a FITS file has for `dtype`."""
    if dtype in BZERO:
        unsigned = values.astype(dtype, copy=False) ^ np.array(BZERO[dtype], dtype)
        return unsigned.astype(">" + dtype)
    return values.astype(_STORED[_BITPIX[dtype]])


def from_stored(stored: np.ndarray, out: np.ndarray, bscale: float, bzero: float) -> None:
    """Convert values as stored in a file into `out`, of any numeric type, in place.

    Parameters
    ----------
    stored : ndarray (n,)
        Big-endian, as read.
    out : ndarray (n,)
        Where the physical values go.
    bscale, bzero : float
        Of the header.
    """
    half = 1 << (8 * stored.dtype.itemsize - 1)
    if bscale == 1 and bzero == 0:
        out[...] = stored
    elif bscale == 1 and stored.dtype.kind == "i" and bzero == half and stored.dtype.itemsize < 8:
        unsigned = np.dtype(f"u{stored.dtype.itemsize}")
        out[...] = stored.astype(stored.dtype.newbyteorder("=")).view(unsigned) ^ unsigned.type(half)
    else:
        out[...] = stored * np.float64(bscale) + bzero


def read_values(fd: int, offset: int, header: Any, first: int, out: np.ndarray) -> None:
    """Fill `out` from an image extension's data, beginning with element `first`.

    Parameters
    ----------
    fd : int
        File descriptor.
    offset : int
        Where the extension's data begin in the file, in bytes.
    header : Header
        Of the extension: BITPIX, BSCALE, BZERO.
    first : int
        First element.
    out : ndarray
        C-contiguous, of the wanted type.
    """
    stored = np.dtype(_STORED[header["BITPIX"]])
    bscale, bzero = header.get("BSCALE", 1), header.get("BZERO", 0)
    flat = out.reshape(-1)
    for begin in range(0, flat.size, CHUNK):
        part = flat[begin : begin + CHUNK]
        raw = os.pread(fd, part.size * stored.itemsize, offset + (first + begin) * stored.itemsize)
        if len(raw) != part.size * stored.itemsize:
            raise Unprocessable("the file ends before its data do; fetch it again")
        from_stored(np.frombuffer(raw, stored), part, bscale, bzero)
