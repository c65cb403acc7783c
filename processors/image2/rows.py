"""Pick the one row of a reference table that fits an exposure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.references import Reference


def text(value: Any) -> str:
    """Return a table's string as CRDS spells it: without padding, in capitals."""
    return (value.decode("ascii") if isinstance(value, bytes) else str(value)).strip().upper()


def selection(meta: Meta, keywords: Sequence[str]) -> dict[str, str]:
    """Return the values by which a row is chosen.

    Parameters
    ----------
    meta : Meta
        Of the exposure.
    keywords : sequence of str
        FITS keywords; in lower case they are the table's columns.
    """
    return {keyword.lower(): text(meta.require(keyword)) for keyword in keywords}


def matching_rows(table: Any, wanted: Mapping[str, str], reference: Reference) -> np.ndarray:
    """Return the indices of the rows whose columns have the wanted values.

    Parameters
    ----------
    table : ndarray or astropy.table.Table
        With columns in lower case.
    wanted : mapping of str to str
        Value for each column.
    reference : Reference
        Whose table it is, for an error's sentence.

    Raises
    ------
    Unprocessable
        If there is no such row, or no such column.
    """
    names = table.dtype.names
    absent = [column for column in wanted if column not in names]
    if absent:
        raise Unprocessable(
            f"{reference.name}: the {reference.reftype} table has no column {absent[0]!r}, only "
            f"{', '.join(names)}; give another file"
        )
    keep = np.ones(len(table), bool)
    for column, value in wanted.items():
        keep &= np.array([text(entry) == value for entry in table[column]], bool)
    if not keep.any():
        said = ", ".join(f"{column} {value}" for column, value in wanted.items())
        raise Unprocessable(
            f"{reference.name}: the {reference.reftype} table has no row for {said}; give a file that has "
            f"one with --set STEP.override_{reference.reftype}=FILE"
        )
    return np.flatnonzero(keep)


def matching_row(table: Any, wanted: Mapping[str, str], reference: Reference) -> int:
    """Return the index of the one row that fits; see `matching_rows`.

    Raises
    ------
    Unprocessable
        If there is none, or several.
    """
    rows = matching_rows(table, wanted, reference)
    if rows.size > 1:
        said = ", ".join(f"{column} {value}" for column, value in wanted.items())
        raise Unprocessable(
            f"{reference.name}: the {reference.reftype} table has {rows.size} rows for {said} where one is "
            "expected; give another file"
        )
    return int(rows[0])
