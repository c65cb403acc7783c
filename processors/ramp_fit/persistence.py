"""Flag what persists from the exposures before, and subtract it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from processors.invalid import demand_columns
from processors.options import Options, option
from processors.ramps.histories import DAY, group_ends, starts
from processors.ramps.traps import Families, filled, released
from processors.steps import NotApplicable, off, step
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.keywords import MJD_UNIX, cadence, exposure_began
from schemas.meta import Meta
from schemas.products import PersistenceHistory, Ramp
from schemas.references import References, Window

SATURATED = np.uint8(DQ.SATURATED)
TRAPS = ("trapdensity", "trappars", "persat")
"""References without which persistence can be flagged and not subtracted."""


class PersistenceOptions(Options):
    """Options of the persistence step."""

    persistence_time: float = option(
        2000.0, gt=0, unit="s", doc="how long a pixel is flagged, from when it first was saturated or bright"
    )
    dn_threshold: float | None = option(
        None, gt=0, unit="DN", doc="signal of the exposure itself from which on it is flagged (flag_own)"
    )
    flag_own: bool = option(
        False, doc="whether what the exposure's own integrations saturate is flagged too, in them and after"
    )
    persistence_dnu: bool = option(False, doc="whether flagged groups are DO_NOT_USE as well")
    subtract: bool = option(True, doc="whether persistence is subtracted where there are trap references")


@dataclass
class _Carry:
    """From block to block: until when pixels are flagged (s since 1970, 0 for not), what is in traps."""

    until: NDArray[np.float64] | None = None
    traps: _Traps | None = None


@dataclass(frozen=True)
class _Traps:
    """Charge in traps: pixels `(npixel,)`, DN `(nfamily, npixel)`, known at some MJD."""

    y: NDArray[np.intp]
    x: NDArray[np.intp]
    charge: NDArray[np.float64]
    decay: NDArray[np.float64]
    moment: float


@off
@step(options=PersistenceOptions, optional=TRAPS, status="S_PERSIS", carries=_Carry)
def persistence(
    ramp: Ramp, references: References, options: PersistenceOptions, carry: _Carry
) -> tuple[Ramp, _Carry]:
    """Flag PERSISTENCE where exposures before left charge that comes out now, and subtract that charge.

    The exposures before are the histories that come with the ramp. A pixel is flagged for some time after it
    was saturated or bright. Where the context has trap references, what its traps let go of in each group is
    subtracted (Smith et al. 2008, Proc. SPIE 7021, 70210J; Leisenring et al. 2016, Proc. SPIE 9915, 99152N);
    the flags stay. Zero frame values of 0 mean that there is none, and stay.

    The segments of a time series are one exposure: what an earlier one left is flagged where the exposure's
    own is asked for (flag_own), and is not subtracted, as what its own integrations left is not. So the
    result does not depend on where the exposure was cut, and a light curve has no steps there.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), linearised DN, with histories of the same detector.
    references : References
        ``trapdensity`` (DN that the traps of a pixel's whole well hold), ``trappars`` (how they capture and
        let go) and ``persat`` (full well, DN), where there are such.
    options : PersistenceOptions
        How long, and what is done.
    carry : _Carry
        From the block before.

    Returns
    -------
    Ramp, _Carry

    Raises
    ------
    NotApplicable
        If no history of an exposure before is there, and the exposure's own is not asked for.
    Unprocessable
        If a reference has other pixels, or nothing tells when the exposure began.
    """
    if not options.flag_own and not _sorted_out(ramp)[0]:
        raise NotApplicable("no history of an exposure before it is there")
    begins = starts(ramp.meta, ramp.first_integration, ramp.shape[0])
    if carry.until is None:
        carry = _begin(ramp, references, options, float(begins[0]))
    assert carry.until is not None
    out = ramp.edit("data", "groupdq", "zeroframe")
    bits = np.uint8(DQ.PERSISTENCE | (DQ.DO_NOT_USE if options.persistence_dnu else 0))
    limit = np.inf if options.dn_threshold is None else options.dn_threshold
    for i, begin in enumerate(begins):
        if carry.traps is not None:
            _subtract(out, i, float(begin), carry.traps)
        times = (float(begin) - MJD_UNIX) * DAY, float(ramp.meta.require("TGROUP")), options.persistence_time
        _flag(out.data[i], out.groupdq[i], carry.until, times, (options.flag_own, limit), bits)
    return out, carry


def _begin(ramp: Ramp, references: References, options: PersistenceOptions, begin: float) -> _Carry:
    """Return what the exposures before have left when the exposure begins."""
    shape = ramp.shape[2:]
    until = np.zeros(shape)
    before, own = _sorted_out(ramp)
    counted = [*before, *(_as_flagged(history, options) for history in own if options.flag_own)]
    for history, (y, x), rows in _seen(ramp, counted):
        end = (history.pixels["time"][rows] - MJD_UNIX) * DAY + options.persistence_time
        until[y, x] = np.maximum(until[y, x], end)
    wanted = before and options.subtract and all(reftype in references for reftype in TRAPS)
    return _Carry(until, _traps(ramp, before, references, begin) if wanted else None)


def _sorted_out(ramp: Ramp) -> tuple[list[PersistenceHistory], list[PersistenceHistory]]:
    """Return the histories of the exposures before, and those of earlier segments of the same one."""
    keywords = {**dict(ramp.meta.science), **dict(ramp.meta.primary)}
    start = exposure_began(keywords)
    if start is None or int(ramp.meta.get("INTSTART") or 1) <= 1:
        return list(ramp.histories), []
    # A detector's exposures do not overlap; half an integration is for clocks that differ a little.
    start += 0.5 * (cadence(keywords) or 0.0) / DAY
    before = [h for h in ramp.histories if not len(h.integrations) or h.integrations[:, 1].max() <= start]
    return before, [history for history in ramp.histories if not any(history is one for one in before)]


def _as_flagged(history: PersistenceHistory, options: PersistenceOptions) -> PersistenceHistory:
    """Return that part of a segment's history for which its own integrations were flagged."""
    limit = np.inf if options.dn_threshold is None else options.dn_threshold
    counts = history.pixels["saturated"] | (history.pixels["fluence"] > limit)
    return replace(history, pixels=history.pixels[counts])


def _seen(
    ramp: Ramp, histories: Iterable[PersistenceHistory]
) -> Iterator[tuple[PersistenceHistory, tuple[Any, Any], Any]]:
    """Yield each history with those of its pixels that the exposure sees, and which rows they are."""
    window = Window.of(ramp.meta.primary, ramp.shape[2:])
    places = window.places
    last = places.shape[1] - 1
    for history in histories:
        y, x = history.pixels["y"].astype(np.intp), history.pixels["x"].astype(np.intp) - window.x
        near = (y <= last) & (x >= 0) & (x < window.nx)
        image_rows = np.where(near, places[:, np.minimum(y, last)], -1)
        turn, rows = np.nonzero(image_rows >= 0)
        yield history, (image_rows[turn, rows], x[rows]), rows


def _traps(
    ramp: Ramp, before: Iterable[PersistenceHistory], references: References, moment: float
) -> _Traps | None:
    density, well = (_image(references, reftype, ramp.shape[2:]) for reftype in ("trapdensity", "persat"))
    families = _families(references)
    places, charges = [], []
    for history, (y, x), rows in _seen(ramp, before):
        full = well[y, x].astype(float)
        use = (full > 0) & np.isfinite(full) & np.isfinite(density[y, x])
        left = filled(history, rows[use], full[use], families, moment)
        places.append(y[use] * ramp.shape[3] + x[use])
        charges.append(left * density[y[use], x[use]])
    where, index = np.unique(np.concatenate(places), return_inverse=True)
    charge = np.zeros((families.decay.size, where.size))
    for k, left in enumerate(np.concatenate(charges, axis=1)):
        charge[k] = np.bincount(index, weights=left, minlength=where.size)
    y, x = np.divmod(where, ramp.shape[3])
    return _Traps(y, x, charge, families.decay, moment)


def _image(references: References, reftype: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    found = references.image(reftype)
    if found.data.shape != shape:
        raise Unprocessable(
            f"{found.name}: this {reftype} reference has shape {found.data.shape}, the exposure {shape}; "
            "give one of the exposure's subarray"
        )
    return found.data


def _families(references: References) -> Families:
    reference = references.table("trappars")
    rows = reference.table()
    names = ("capture0", "capture1", "capture2", "decay_param")
    remedy = "a trappars reference with --set persistence.override_trappars=FILE"
    demand_columns(reference, rows, names, remedy, numbers=True)
    if not len(rows):
        raise Unprocessable(f"{reference.name}: it has no family of traps; give {remedy}")
    columns = [np.asarray(rows[name], float) for name in names]
    if not ((columns[1] < 0) & (columns[3] < 0)).all():
        raise Unprocessable(
            f"{reference.name}: capture1 and decay_param must be negative, 1/s; give a trappars reference"
        )
    return Families(*columns)


def _subtract(ramp: Ramp, index: int, begin: float, traps: _Traps) -> None:
    """Subtract from one integration, whose beginning is given as MJD, what comes out of traps."""
    elapsed = (begin - traps.moment) * DAY
    shares = released(traps.decay, elapsed, _frame_times(ramp.meta, ramp.shape[1]))
    for data, share in zip(ramp.data[index], shares.T, strict=True):
        data[traps.y, traps.x] -= (share @ traps.charge).astype(np.float32)
    if ramp.zeroframe is not None:
        (share,) = released(traps.decay, elapsed, np.full((1, 1), float(ramp.meta.require("TFRAME")))).T
        frame, place = ramp.zeroframe[index], (traps.y, traps.x)
        before = frame[place]
        # 0 means that there is no value
        frame[place] = np.where(before == 0, before, before - (share @ traps.charge).astype(np.float32))


def _frame_times(meta: Meta, ngroup: int) -> NDArray[np.float64]:
    nframes, time = int(meta.require("NFRAMES")), float(meta.require("TFRAME"))
    return group_ends(meta, ngroup)[:, None] - np.arange(nframes)[::-1] * time


@njit(cache=True, parallel=True)
def _flag(data, groupdq, until, times, own, bits):
    """Flag the groups of one integration, and bring forward until when pixels are flagged."""
    ngroup, ny, nx = data.shape
    start, step, window = times
    flag_own, limit = own
    for y in prange(ny):
        for x in range(nx):
            end, now, saturated = until[y, x], start, 0
            for g in range(ngroup):
                now += step
                if end < now:
                    end = 0.0
                if flag_own:
                    if groupdq[g, y, x] & SATURATED:
                        saturated += 1
                    if saturated == 1 or (end == 0.0 and data[g, y, x] > limit):
                        end = now + window
                if end > now + window:  # of an exposure after this one
                    end = 0.0
                if end > 0.0:
                    groupdq[g, y, x] |= bits
            until[y, x] = end
