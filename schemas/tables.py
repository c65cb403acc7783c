"""FITS tables that travel with a product (GROUP, INT_TIMES), as structured arrays."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import numpy as np
from astropy.io import fits


def table_from_bytes(content: bytes) -> np.ndarray:
    """Return the rows of a binary table extension: physical values in the machine's byte order.

    Parameters
    ----------
    content : bytes
        The whole extension, header and data.

    Raises
    ------
    ValueError
        If they are no table of numbers, strings and truth values.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = fits.BinTableHDU.fromstring(content).data
            columns = {name: _native(np.asarray(data[name])) for name in data.dtype.names}
        except Exception as error:  # astropy raises a dozen kinds for damaged tables
            raise ValueError(f"its columns cannot be read ({type(error).__name__})") from None
    kinds = {name: column.dtype.kind for name, column in columns.items()}
    if strange := [name for name, kind in kinds.items() if kind not in "biufSU"]:
        raise ValueError(f"its column {strange[0]} is of a type that is not supported")
    rows = np.empty(len(data), [(n, column.dtype, column.shape[1:]) for n, column in columns.items()])
    for name, column in columns.items():
        rows[name] = column
    return rows


def table_to_hdu(rows: np.ndarray, name: str) -> Any:
    """Return the extension that holds `rows`."""
    return fits.BinTableHDU(np.array(rows), name=name)


def table_digest(rows: np.ndarray) -> str:
    """Return the SHA-256 of a table's names and values, whatever the byte order and padding of strings."""
    total = hashlib.sha256()
    for name in rows.dtype.names or ():
        column = _native(rows[name])
        total.update(f"{name}:{column.dtype.kind}{column.shape}:".encode())
        total.update(_content(column))
    return total.hexdigest()


def _content(column: np.ndarray) -> bytes:
    if column.dtype.kind == "U":
        return repr([str(text).rstrip() for text in column.reshape(-1)]).encode()
    return np.ascontiguousarray(column.astype(column.dtype.newbyteorder(">"))).tobytes()


def _native(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "S":
        return np.char.decode(column, "ascii", "replace")
    return column.astype(column.dtype.newbyteorder("="))
