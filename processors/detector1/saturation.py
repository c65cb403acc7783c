"""Flag samples beyond the range in which the detector's response can be corrected."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from processors.detector1.arrays import detector_image, image
from processors.detector1.irs2 import Interleaving
from processors.detector1.readout import read_pattern
from processors.invalid import require_values
from processors.options import Options, option
from processors.steps import step
from schemas.dq import DQ
from schemas.products import Ramp
from schemas.references import ImageReference, References

ATOD_LIMIT = np.float32(65535)
"""Largest value of the 16-bit converter, DN."""

DO_NOT_USE = np.uint8(DQ.DO_NOT_USE)
SATURATED = np.uint8(DQ.SATURATED)
UNUSABLE = np.uint8(DQ.DO_NOT_USE | DQ.SATURATED)
FLOOR = np.uint8(DQ.AD_FLOOR | DQ.DO_NOT_USE)


class SaturationOptions(Options):
    """Options of the saturation step."""

    n_pix_grow_sat: int = option(
        1, ge=0, le=100, unit="pixels", doc="layers of neighbours that are flagged too"
    )
    use_readpatt: bool = option(
        True, doc="flag groups before, where only some of the averaged frames saturated"
    )
    last_group: bool = option(
        True, doc="flag the last group too, where only some of its averaged frames saturated"
    )


@step(options=SaturationOptions, references=("saturation",), optional=("superbias",), status="S_SATURA")
def saturation(ramp: Ramp, references: References, options: SaturationOptions) -> Ramp:
    """Flag SATURATED from the first group that reaches the reference's limit, and AD_FLOOR at 0 DN.

    Neighbours of saturated pixels are flagged too, because charge spills over. In a group that averages
    several frames the last frames may have saturated below the limit; such a group, just before the first
    saturated one, gets DO_NOT_USE: where it exceeds the limit diluted as a steady signal would dilute it, or,
    for the second group, where its rise is more than a hit in its last frame needs to saturate. No other
    group tells that of the last: it is SATURATED where steady light, continued to its last frame, exceeds the
    limit (``last_group``, which the standard pipeline has not). Values of the zero frame
    that are saturated or at the floor become 0. Of IRS2 readouts only the detector's own pixels are looked
    at. Follows the JWST documentation of the saturation step.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), DN as read.
    references : References
        ``saturation`` (DN); ``superbias``, taken as 0 where there is none.
    options : SaturationOptions
        Growth; whether averaged groups are looked at.

    Returns
    -------
    Ramp
        With other flags.

    Raises
    ------
    Unprocessable
        If no limit is finite, or a keyword is missing.
    """
    interleaving = Interleaving.of(ramp)
    rows = slice(None) if interleaving is None else np.flatnonzero(interleaving.science)
    limit, dq = _limits(detector_image(references, "saturation", ramp, interleaving))
    bias = np.broadcast_to(np.float32(0), limit.shape)
    if "superbias" in references:
        bias = image(references, "superbias", ramp).data[rows]
    out = ramp.edit("groupdq", "pixeldq", "zeroframe")
    out.pixeldq[rows] |= dq
    nframes = int(ramp.meta.require("NFRAMES")) if options.use_readpatt else 1
    diluted = _diluted(ramp, limit, bias) if nframes > 1 and options.last_group else None
    for data, groupdq in zip(out.data, out.groupdq, strict=True):
        flags = groupdq[:, rows]
        flag_integration(data[:, rows], flags, limit, bias, nframes, options.n_pix_grow_sat)
        if diluted is not None:
            _flag_last(data[-1, rows], flags, diluted, options.n_pix_grow_sat)
        if interleaving is not None:
            groupdq[:, rows] = flags
    for frame in () if out.zeroframe is None else out.zeroframe:
        plane = frame[rows]
        _clear_zeroframe(plane, limit, options.n_pix_grow_sat)
        if interleaving is not None:
            frame[rows] = plane
    return out


def _limits(reference: ImageReference) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Return limits that no value can reach where there is none, and the flags that go with them."""
    require_values(reference, reference.data)
    dq = reference.dq | np.where(np.isnan(reference.data), np.uint32(DQ.NO_SAT_CHECK), np.uint32(0))
    unchecked = (dq & np.uint32(DQ.NO_SAT_CHECK)) != 0
    return np.where(unchecked, ATOD_LIMIT + 1, reference.data), dq


def _diluted(ramp: Ramp, limit: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the level (ny, nx) of the last group from which on steady light saturates its last frame, DN."""
    pattern = read_pattern(ramp.meta, ramp.shape[1])
    part = np.float32(pattern.mean_t[-1] / pattern.read_times[-1][-1])
    begin = np.nan_to_num(bias)
    return np.where(limit > ATOD_LIMIT, limit, begin + part * (limit - begin))


def _flag_last(
    level: NDArray[Any], groupdq: NDArray[np.uint8], diluted: NDArray[np.float32], reach: int
) -> None:
    """Flag the last group SATURATED where its level (ny, nx) says so, and next to it, in place."""
    ngroup = len(groupdq)
    full = (level >= diluted) & ((groupdq[-1] & UNUSABLE) == 0)
    first = np.where(full, ngroup - 1, ngroup).astype(np.int16)
    _flag_from(groupdq, first, reach, np.empty_like(first))


def flag_integration(
    data: NDArray[Any],
    groupdq: NDArray[np.uint8],
    limit: NDArray[np.float32],
    bias: NDArray[np.float32],
    nframes: int,
    reach: int,
) -> None:
    """Flag one integration, in place.

    Parameters
    ----------
    data : ndarray (ngroup, ny, nx)
        DN as read.
    groupdq : ndarray of uint8 (ngroup, ny, nx)
        Changed.
    limit, bias : ndarray of float32 (ny, nx)
        Saturation limit (above 65535 where there is none) and superbias, DN.
    nframes : int
        Frames averaged in a group.
    reach : int
        Layers of neighbours flagged too.
    """
    first = np.empty(limit.shape, np.int16)
    grown = np.empty(limit.shape, np.int16)
    _find_first(data, groupdq, limit, first)
    _flag_from(groupdq, first, reach, grown)
    if nframes > 1:
        cycles = np.arange(data.shape[0]) * nframes
        dilution = (cycles + (nframes + 1) / 2) / (cycles + nframes)
        _find_partial(data, groupdq, limit, dilution, grown, first)
        _flag_partial(groupdq, first, reach)
        if data.shape[0] > 2:
            _flag_second(data, groupdq, limit, bias, nframes, grown)


@njit(cache=True, parallel=True)
def _find_first(data, groupdq, limit, first):
    """Find each pixel's first saturated group (ngroup for none), and flag samples at the floor."""
    ngroup, ny, nx = data.shape
    for y in prange(ny):
        first[y] = ngroup
        earliest, top = first[y], limit[y]
        for g in range(ngroup - 1, -1, -1):
            frame, flags, this = data[g, y], groupdq[g, y], np.int16(g)
            for x in range(nx):
                full = (frame[x] >= top[x]) | ((flags[x] & SATURATED) != 0)
                earliest[x] = this if full else earliest[x]
                flags[x] |= FLOOR if frame[x] <= 0 else np.uint8(0)


@njit(cache=True, parallel=True)
def _flag_from(groupdq, first, reach, grown):
    """Flag all groups from the first saturated in the pixel or in a neighbour; `grown` gets that one."""
    ngroup, ny, nx = groupdq.shape
    for y in prange(ny):
        column, found = first[y].copy(), grown[y]
        for near in range(max(0, y - reach), min(ny, y + reach + 1)):
            _take_smaller(column, first[near])
        found[:] = column
        for shift in range(1, min(reach, nx - 1) + 1):
            _take_smaller(found[shift:], column[: nx - shift])
            _take_smaller(found[: nx - shift], column[shift:])
        if found.min() == ngroup:
            continue
        for x in range(nx):
            for g in range(found[x], ngroup):
                groupdq[g, y, x] |= SATURATED


@njit(cache=True)
def _take_smaller(values, others):
    for k in range(values.size):
        values[k] = values[k] if values[k] < others[k] else others[k]


@njit(cache=True, parallel=True)
def _find_partial(data, groupdq, limit, dilution, grown, partial):
    """Find groups just before saturation beyond the diluted limit; `partial` gets them, or -1."""
    ngroup, ny, nx = data.shape
    for y in prange(ny):
        for x in range(nx):
            partial[y, x] = -1
            g = grown[y, x] - 1
            if g < 0 or g == ngroup - 1 or limit[y, x] > ATOD_LIMIT or groupdq[g, y, x] & UNUSABLE:
                continue
            if data[g, y, x] >= np.float64(limit[y, x]) * dilution[g]:
                partial[y, x] = g


@njit(cache=True, parallel=True)
def _flag_partial(groupdq, partial, reach):
    """Set DO_NOT_USE on the groups of `partial`, in the pixel and in its neighbours."""
    _, ny, nx = groupdq.shape
    for y in prange(ny):
        for near in range(max(0, y - reach), min(ny, y + reach + 1)):
            for x in range(nx):
                if partial[near, x] >= 0:
                    for k in range(max(0, x - reach), min(nx, x + reach + 1)):
                        groupdq[partial[near, x], y, k] |= DO_NOT_USE


@njit(cache=True, parallel=True)
def _flag_second(data, groupdq, limit, bias, nframes, grown):
    """Set DO_NOT_USE on second groups that rise as if their last frame had saturated."""
    _, ny, nx = data.shape
    for y in prange(ny):
        for x in range(nx):
            if grown[y, x] != 2:
                continue
            start, top = np.float64(data[0, y, x]), np.float64(limit[y, x])
            steady = (start - bias[y, x]) / (0.5 * (nframes + 1)) * (3 * nframes) + bias[y, x]
            rise = np.float64(data[1, y, x]) - start
            if steady < top and rise > (top - start) / nframes:
                groupdq[1, y, x] |= DO_NOT_USE


def _clear_zeroframe(frame: NDArray[Any], limit: NDArray[np.float32], reach: int) -> None:
    """Set values (ny, nx) of the zero frame to 0 that are saturated, next to such, or at the floor."""
    flags = np.zeros((1, *frame.shape), np.uint8)
    flag_integration(frame[np.newaxis], flags, limit, limit, 1, reach)
    frame[flags[0] != 0] = 0
