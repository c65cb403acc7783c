"""Arrays as FITS stores them: big-endian, unsigned integers with an offset of half their range."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np

from schemas.errors import Unprocessable

CHUNK: Final = 1 << 18
"""Elements converted at a time, so that the copy stays in the processor's cache and memory stays flat."""
_HANDS: Final = 2
"""Threads that read an array of many chunks, each a part of it."""

_BITPIX: Final = {"u1": 8, "i2": 16, "u2": 16, "i4": 32, "u4": 32, "i8": 64, "f4": -32, "f8": -64}
_STORED: Final = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
BZERO: Final = {"u2": 1 << 15, "u4": 1 << 31}


def bitpix(dtype: str) -> int:
    """Return FITS' BITPIX for one of numpy's short type names."""
    return _BITPIX[dtype]


def to_stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return a flat array of `values` as the bytes that a FITS file has for `dtype`."""
    if dtype in BZERO:
        unsigned: np.ndarray = values.astype(dtype, copy=False) ^ np.array(BZERO[dtype], dtype)
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
    elif out.dtype.kind in "iu":
        out[...] = stored.astype(np.int64) + int(bzero)
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

    Raises
    ------
    Unprocessable
        If the values cannot be those of `out`, or the file ends before they do.
    """
    stored = np.dtype(_STORED[header["BITPIX"]])
    bscale, bzero = _scaling(header, out.dtype)
    flat = out.reshape(-1)

    def read(start: int, stop: int) -> None:
        raw = np.empty(min(CHUNK, stop - start), stored)
        for begin in range(start, stop, CHUNK):
            part = flat[begin : min(begin + CHUNK, stop)]
            _fill(fd, offset + (first + begin) * stored.itemsize, raw[: part.size])
            with np.errstate(over="ignore", invalid="ignore"):  # float64 beyond float32 is infinite
                from_stored(raw[: part.size], part, bscale, bzero)

    if flat.size < 2 * _HANDS * CHUNK:
        read(0, flat.size)
        return
    share = -(-flat.size // (_HANDS * CHUNK)) * CHUNK
    with ThreadPoolExecutor(_HANDS) as hands:
        starts = range(0, flat.size, share)
        list(hands.map(read, starts, [min(start + share, flat.size) for start in starts]))


def read_bytes(fd: int, offset: int, size: int) -> bytes:
    """Return `size` bytes of a file from `offset` on.

    Raises
    ------
    Unprocessable
        If the file ends before.
    """
    content = np.empty(size, np.uint8)
    _fill(fd, offset, content)
    return content.tobytes()


def _scaling(header: Any, wanted: np.dtype[Any]) -> tuple[float, float]:
    scaling = header.get("BSCALE", 1), header.get("BZERO", 0)
    if any(isinstance(x, bool) or not isinstance(x, int | float) or not math.isfinite(x) for x in scaling):
        raise Unprocessable(f"its BSCALE and BZERO are {scaling}, not numbers; fetch the file again")
    whole = header["BITPIX"] > 0 and scaling[0] == 1 and scaling[1] % 1 == 0 and abs(scaling[1]) < 1 << 62
    if wanted.kind in "iu" and not whole:
        raise Unprocessable("it holds floating-point numbers where flags are needed; fetch the file again")
    return scaling


def _fill(fd: int, offset: int, out: np.ndarray) -> None:
    view = out.view(np.uint8).data
    while view:
        got = os.preadv(fd, [view], offset)
        if not got:
            raise Unprocessable("the file ends before its data do; fetch it again")
        view, offset = view[got:], offset + got
