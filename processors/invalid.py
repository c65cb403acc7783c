"""The one place that decides how NaN and data quality flags go together.

The rules:

1. A reference value that is not finite corrects nothing: a neutral value takes its place, and the pixel gets
   the flag that says so (:func:`neutral`).
2. A reference without any finite value is no reference: the exposure is refused (:func:`require_values`).
3. A sample that is not finite counts as DO_NOT_USE, also when nobody flagged it (the kernels of
   ``processors.ramps``).
4. In images a pixel is DO_NOT_USE if and only if its value is NaN (:func:`settle`), so that those who look at
   the flags and those who look at the values see the same pixels.
5. Saturated samples are left as they were read; they are never NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.products import Rate
from schemas.references import ImageReference, Reference, TableReference

DO_NOT_USE = np.uint32(DQ.DO_NOT_USE)
INFINITE = np.float32(np.inf)
"""What kernels compare single-precision values with: a module's name, as numba needs it."""


def require_values(reference: Reference, values: NDArray[np.floating], *, positive: bool = False) -> None:
    """Refuse a reference that has no usable value at all.

    Parameters
    ----------
    reference : Reference
        Named in the error.
    values : ndarray
        Its values, any shape.
    positive : bool
        Whether only values above 0 are usable.

    Raises
    ------
    Unprocessable
        If no value is finite (and positive).
    """
    if not _any_usable(values.reshape(-1), positive):
        what = "finite and positive" if positive else "finite"
        raise Unprocessable(
            f"{reference.name}: none of the {values.size} values of this {reference.reftype} reference in "
            f"the exposure's window is {what}; give another file with "
            f"--set STEP.override_{reference.reftype}=FILE"
        )


def demand_columns(
    reference: TableReference,
    rows: NDArray[Any],
    names: Sequence[str],
    remedy: str,
    *,
    numbers: bool = False,
) -> None:
    """Refuse a reference whose table lacks columns.

    Parameters
    ----------
    reference : TableReference
        Named in the error.
    rows : structured ndarray
        One of its tables.
    names : sequence of str
        Columns that must be there.
    remedy : str
        What to give instead.
    numbers : bool
        Whether all their values must be finite numbers.

    Raises
    ------
    Unprocessable
        If one is not.
    """
    this = f"{reference.name}: this {reference.reftype} reference"
    if missing := [name for name in names if name not in (rows.dtype.names or ())]:
        raise Unprocessable(f"{this} has no column {', '.join(missing)}; give {remedy}")
    for name in names if numbers else ():
        if rows[name].dtype.kind not in "iufb" or not np.isfinite(rows[name]).all():
            raise Unprocessable(f"{this} has values in column {name} that are no numbers; give {remedy}")


def neutral(
    reference: ImageReference, flag: DQ, fill: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Return a reference's values with `fill` where they are not finite, and its flags with `flag` there.

    Parameters
    ----------
    reference : ImageReference
        With data of shape (ny, nx).
    flag : DQ
        Says of a pixel that its correction is missing.
    fill : float
        The value that corrects nothing.

    Returns
    -------
    values : ndarray of float32 (ny, nx)
        The reference's own array where nothing had to be replaced.
    dq : ndarray of uint32 (ny, nx)
        Likewise.

    Raises
    ------
    Unprocessable
        If no value is finite.
    """
    require_values(reference, reference.data)
    if all_finite(reference.data):
        return reference.data, reference.dq
    bad = ~np.isfinite(reference.data)
    values = np.where(bad, np.float32(fill), reference.data)
    return values, reference.dq | np.where(bad, np.uint32(flag), np.uint32(0))


def all_finite(values: NDArray[np.float32]) -> bool:
    """Tell whether no value of an array, of any shape, is NaN or infinite."""
    rows = values.reshape(-1, values.shape[-1])
    known = np.empty(len(rows), np.bool_)
    _finite_rows(rows, known)
    return bool(known.all())


def settle(rate: Rate) -> Rate:
    """Return a rate in which a pixel is DO_NOT_USE if and only if its value is NaN.

    Value, error and variances of such pixels become NaN. The arrays are changed in place: call it on what the
    caller has just made.

    Parameters
    ----------
    rate : Rate
        Images (ny, nx) or (nint, ny, nx).
    """
    planes = tuple(plane.reshape(-1, rate.data.shape[-1]) for plane in _planes(rate))
    dq = rate.dq.reshape(-1, rate.data.shape[-1])
    for plane in planes:
        _join(plane, dq)
    for plane in planes:
        _blank(plane, dq)
    return replace(rate)


def _planes(rate: Rate) -> list[NDArray[np.float32]]:
    planes = [rate.data, rate.err, rate.var_poisson, rate.var_rnoise]
    return planes + [plane for plane in (rate.var_flat,) if plane is not None]


@njit(cache=True)
def _any_usable(values, positive):
    for value in values:  # noqa: SIM110  stops at the first, as a kernel
        if np.isfinite(value) and (value > 0 or not positive):
            return True
    return False


@njit(cache=True, parallel=True)
def _finite_rows(rows, known):
    for y in prange(rows.shape[0]):
        unknown = 0
        for value in rows[y]:
            unknown += not abs(value) < INFINITE
        known[y] = unknown == 0


@njit(cache=True, parallel=True)
def _join(plane, dq):
    for y in prange(plane.shape[0]):
        for x in range(plane.shape[1]):
            if not np.isfinite(plane[y, x]):
                dq[y, x] |= DO_NOT_USE


@njit(cache=True, parallel=True)
def _blank(plane, dq):
    for y in prange(plane.shape[0]):
        for x in range(plane.shape[1]):
            if dq[y, x] & DO_NOT_USE:
                plane[y, x] = np.nan
