"""Find the extensions of a FITS file: their headers, and where their data are.

A library that mends files hides what is wrong with them (a last extension that is cut off is left out
without a word). A pipeline must refuse such files instead, so the blocks are walked here, strictly, and
astropy parses the cards.
"""

from __future__ import annotations

import math
import os
import re
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from astropy.io import fits

from schemas.arrays import read_bytes
from schemas.errors import Unprocessable, explained

BLOCK: Final = 2880
"""FITS files are made of blocks of so many bytes."""

_LONGEST_HEADER: Final = 4 << 20
_BITPIX: Final = (8, 16, 32, 64, -32, -64)
_UNPRINTABLE = re.compile("[^ -~]")
_END = re.compile(rb"END {77}")
_COMPRESSED: Final = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"PK\x03\x04": "unzip", b"\xfd7zXZ": "unxz"}


@dataclass(frozen=True)
class Extension:
    """One header and data unit of a FITS file.

    Attributes
    ----------
    name : str
        EXTNAME in upper case; ``PRIMARY`` for the first.
    header : astropy.io.fits.Header
        Its cards, all of which can be read.
    begin, offset, size : int
        Where the header begins and where the data begin, and the data's length without padding, in bytes.
    shape : tuple of int
        Axes of the data, slowest first; empty where there are none.
    """

    name: str
    header: Any
    begin: int
    offset: int
    size: int
    shape: tuple[int, ...]


class _Bad(Exception):  # noqa: N818  caught below
    """What is wrong with a header, without the file's name."""


def open_file(path: Path) -> int:
    """Return a descriptor of a FITS file.

    Raises
    ------
    Unprocessable
        If it is not there, is empty, or is no FITS file.
    """
    with explained(path, "read"):
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise Unprocessable(f"{path}: this is a folder, not a file; give the files in it")
        if not stat.S_ISREG(status.st_mode):
            raise Unprocessable(f"{path}: this is not a regular file; give a FITS file")
        fd = os.open(path, os.O_RDONLY)
    try:
        _check_magic(path, read_bytes(fd, 0, min(30, status.st_size)))
    except BaseException:
        os.close(fd)
        raise
    return fd


def scan(fd: int, path: Path) -> list[Extension]:
    """Return the extensions of an open FITS file, the primary one first.

    Raises
    ------
    Unprocessable
        If a header cannot be read, or the file ends before its data do.
    """
    size = os.fstat(fd).st_size
    found: list[Extension] = []
    position = 0
    while position < size:
        try:
            extension = _extension(fd, position, size, len(found))
        except _Bad as error:
            where = f"header {len(found) + 1} of the file" if found else "the first header"
            raise Unprocessable(f"{path}: {where} {error}; fetch the file again") from None
        end = extension.offset + -(-extension.size // BLOCK) * BLOCK
        if end > size:
            raise Unprocessable(
                f"{path}: the file is truncated, {size} bytes where the headers promise {end} by the end of "
                f"{extension.name or 'an extension'}; fetch it again"
            )
        found.append(extension)
        position = end
    return found


def _check_magic(path: Path, start: bytes) -> None:
    if not start:
        raise Unprocessable(f"{path}: the file is empty; fetch it again")
    for magic, tool in _COMPRESSED.items():
        if start.startswith(magic):
            raise Unprocessable(f"{path}: the file is compressed; unpack it first ({tool})")
    if not re.match(rb"SIMPLE  = {20}T", start):
        raise Unprocessable(f"{path}: this is not a FITS file; give a JWST product")


def _extension(fd: int, begin: int, size: int, index: int) -> Extension:
    start = read_bytes(fd, begin, min(11, size - begin))
    if index and not b"XTENSION= '".startswith(start):
        raise _Bad("is not the header of an extension: the file is damaged")
    text = _header_text(fd, begin, size)
    header = _parsed(text)
    shape = _axes(header)
    count = _whole(header, "PCOUNT", 0) + math.prod(shape) if shape else 0
    length = count * _whole(header, "GCOUNT", 1) * abs(header["BITPIX"]) // 8
    name = str(header.get("EXTNAME", "")).strip().upper() if index else "PRIMARY"
    return Extension(name, header, begin, begin + len(text), length, shape)


def _header_text(fd: int, begin: int, size: int) -> str:
    text = b""
    while True:
        position = begin + len(text)
        if position + BLOCK > size:
            raise _Bad("is cut off: the file is truncated")
        if len(text) > _LONGEST_HEADER:
            raise _Bad("has no END card")
        block = read_bytes(fd, position, BLOCK)
        text += block
        if any(match.start() % 80 == 0 for match in _END.finditer(block)):
            return _UNPRINTABLE.sub("?", text.decode("latin-1"))


def _parsed(text: str) -> Any:
    read = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = fits.Header.fromstring(text)
            for card in header.cards:
                card.verify("silentfix+exception")
                read += 1
        except Exception as error:  # astropy raises a dozen kinds for damaged cards
            raise _Bad(
                f"has a card that cannot be read (number {read + 1}, {type(error).__name__})"
            ) from None
    return header


def _axes(header: Any) -> tuple[int, ...]:
    if type(header.get("BITPIX")) is not int or header["BITPIX"] not in _BITPIX:
        raise _Bad(f"says BITPIX = {header.get('BITPIX')!r}, which FITS does not know")
    count = _whole(header, "NAXIS")
    if count > 999:
        raise _Bad(f"says NAXIS = {count}, more than FITS allows")
    return tuple(_whole(header, f"NAXIS{axis}") for axis in range(count, 0, -1))


def _whole(header: Any, keyword: str, default: int | None = None) -> int:
    value = header.get(keyword, default)
    if type(value) is not int or value < 0:
        raise _Bad(f"says {keyword} = {value!r}, where a whole number is needed")
    return value
