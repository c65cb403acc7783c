"""Subtract from IRS2 readouts the drifts that interleaved reference pixels and the reference output show.

Everything is done in the order in which pixels were read, on series with a place for every pixel time, so
that a filter in frequency is one in time (Rauscher et al. 2017, PASP 129, 105003; JWST documentation, refpix
step).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import convolve1d

from processors.detector1.irs2 import OUTPUTS, Interleaving
from processors.detector1.irs2_bad_pixels import mend
from schemas.errors import Unprocessable
from schemas.products import Ramp
from schemas.references import References, TableReference

ROUNDS = 3
"""How often gaps of the reference output are filled again from its own low and high frequencies."""
EDGE = 4
"""Rows at the begin and at the end of a frame that see no light."""
THREADS = 2
"""Series are transformed side by side; their number changes no byte."""

Series = NDArray[np.float32]


@dataclass(frozen=True)
class Filters:
    """What the reference tells to subtract of each frequency.

    Attributes
    ----------
    alpha, beta : ndarray of complex64 (4, nfrequency)
        Factors for the reference output, and for the interleaved reference pixels, of each output.
    """

    alpha: NDArray[np.complex64]
    beta: NDArray[np.complex64]

    @classmethod
    def of(cls, reference: TableReference, length: int) -> Filters:
        """Return the filters for series of so many pixel times.

        Raises
        ------
        Unprocessable
            If the table has not a real and an imaginary part for each.
        """
        table = reference.tables.get("IRS2")
        columns = [f"{name}_{k}" for name in ("alpha", "beta") for k in range(OUTPUTS - 1)]
        if table is None or len(table) != 2 * length or not set(columns) <= set(table.dtype.names or ()):
            raise Unprocessable(
                f"{reference.name}: this refpix reference has no table IRS2 of {2 * length} rows with "
                f"columns {columns[0]} to {columns[-1]}; give another file"
            )
        halves = np.stack([_one_sided(table[column]) for column in columns])
        return cls(halves[: OUTPUTS - 1], halves[OUTPUTS - 1 :])


def _one_sided(column: NDArray[np.floating]) -> NDArray[np.complex64]:
    """Return factors of the frequencies from 0 to Nyquist's, whose series stay real.

    The table has those of negative frequencies too; only what both have in common changes the real part of a
    filtered series.
    """
    parts = column.astype(np.float32)
    both = parts[0::2] + 1j * parts[1::2]
    half = len(both) // 2 + 1
    mirrored = np.conj(both[-np.arange(half) % len(both)])
    return ((both[:half] + mirrored) / 2).astype(np.complex64)


def subtract_interleaved(ramp: Ramp, layout: Interleaving, references: References, threshold: float) -> Ramp:
    """Return a ramp of the detector's own pixels, corrected by those read between.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, y, nx), DN above the bias.
    layout : Interleaving
        Where its pixels are.
    references : References
        ``refpix``.
    threshold : float
        Reference pixels that scatter, differ or deviate by more standard deviations are replaced.

    Returns
    -------
    Ramp
        (nint, ngroup, 2048, nx), float32. Zeros of the zero frame stay.
    """
    reference = references.table("refpix")
    filters = Filters.of(reference, layout.period * ramp.shape[3])
    nint, ngroup, _, nx = ramp.shape
    ny = int(layout.science.sum())
    data = np.empty((nint, ngroup, ny, nx), np.float32)
    zeroframe = None if ramp.zeroframe is None else np.empty((nint, ny, nx), np.float32)
    for i in range(nint):
        frames = ramp.data[i].astype(np.float32)
        if ramp.zeroframe is not None:
            frames = np.concatenate([frames, ramp.zeroframe[i : i + 1].astype(np.float32)])
        mend(frames, ngroup, ramp.pixeldq, layout, reference, threshold)
        mean = frames[:ngroup].sum(axis=0, dtype=np.float64) / ngroup
        for g, frame in enumerate(frames):
            if g < ngroup:
                data[i, g] = _correct(frame - mean, mean, layout, filters)
            elif zeroframe is not None:
                known = frame != 0
                corrected = _correct(np.where(known, frame - mean, 0), mean, layout, filters)
                zeroframe[i] = corrected * layout.without_references(known)
    return replace(
        ramp,
        data=data,
        groupdq=layout.without_references(ramp.groupdq),
        pixeldq=layout.without_references(ramp.pixeldq),
        zeroframe=zeroframe,
    )


def _correct(
    change: NDArray[np.float64], mean: NDArray[np.float64], layout: Interleaving, filters: Filters
) -> NDArray[np.float32]:
    """Return one frame (2048, nx), given the frames' mean (y, nx) and its difference, 0 for none."""
    series = layout.in_time(change.astype(np.float32))
    filtered = np.where(np.isfinite(series), series, np.float32(0))  # else a NaN would be everywhere
    for k in range(OUTPUTS):
        line = _drift(filtered[k])
        series[k] -= line * (series[k] != 0)
        filtered[k] -= line * (filtered[k] != 0)
    output = fft.rfft(_without_gaps(filtered[0], layout).reshape(-1))
    between = np.stack([_held(one, layout).reshape(-1) for one in filtered[1:]])
    spectra = fft.rfft(between, axis=1, workers=THREADS)
    spectra *= filters.beta
    spectra += filters.alpha * output
    drifts = fft.irfft(spectra, between.shape[1], axis=1, workers=THREADS, overwrite_x=True)
    series[1:] -= drifts.reshape(series[1:].shape)
    made = layout.of_the_sky(series[1:])
    return (made + layout.without_references(mean)).astype(np.float32)


def _drift(series: Series) -> Series:
    """Return the straight line in time through the rows without light, so that frames join without a step."""
    nrow, period = series.shape
    time = np.arange(nrow * period, dtype=np.float64).reshape(nrow, period)
    time -= time.mean()
    edge = np.r_[0:EDGE, nrow - EDGE : nrow]
    read = series[edge] != 0
    x, y = time[edge][read], series[edge][read].astype(np.float64)
    if len(x) < 2:
        return np.zeros_like(series)
    slope = np.mean((x - x.mean()) * (y - y.mean())) / np.mean((x - x.mean()) ** 2)
    return (y.mean() + slope * (time - x.mean())).astype(np.float32)


def _without_gaps(series: Series, layout: Interleaving) -> Series:
    """Return the reference output with values also where nothing, or another pixel, was read.

    First means of the neighbours, weighted by a half wave of a sine; then, repeatedly, only the lowest and
    the highest frequencies of what is known and what was filled in.
    """
    weights = np.sin(np.arange(1, 32, dtype=np.float32) / np.float32(32) * np.float32(np.pi))
    flat = series.reshape(-1)
    known = (flat != 0).astype(np.float32)
    total = convolve1d(known, weights, mode="wrap")
    near = convolve1d(flat, weights, mode="wrap")
    filled = flat + np.divide(near, total, out=np.zeros_like(near), where=total != 0) * (1 - known)
    held = np.zeros(series.shape, np.bool_)
    held[:, layout.slots[layout.reads]] = True
    keep, passed = held.reshape(-1), _passed(layout, len(series))
    made = filled.copy()
    for _ in range(ROUNDS):
        spectrum = fft.rfft(made)
        spectrum *= passed
        made = fft.irfft(spectrum, len(made), overwrite_x=True)
        made[keep] = filled[keep]
    return made.reshape(series.shape)


@lru_cache(maxsize=2)
def _passed(layout: Interleaving, nrow: int) -> NDArray[np.float32]:
    """Return the filter from frequency 0 to Nyquist's: open, a cosine down, closed, a cosine up, open."""
    block = layout.normal + layout.reference + 2
    edge = 110000 * nrow // (2048 * block)
    width = max(0, layout.period // block * nrow // 2 - edge // 2)
    half = layout.period * nrow // 2
    down = (np.cos(np.arange(edge) * np.pi / edge) + 1) / 2
    closed = np.zeros(half - 2 * (width + edge))
    open_ = np.ones(width)
    return np.concatenate([open_, down, closed, down[::-1], open_, [1.0]]).astype(np.float32)


def _held(series: Series, layout: Interleaving) -> Series:
    """Return the interleaved reference pixels, each told twice so that they fill what is around their jump.

    Those of a jump are reads of two pixels; each two pixel times show one and the other.
    """
    count = layout.reference
    block = layout.normal + count + 2
    first = layout.normal // 2 + 1
    pairs = np.arange(count).reshape(2, count // 2).T
    sources = np.concatenate([pairs, pairs], axis=1).reshape(-1)
    if count % 4 == 2:
        sources = sources.reshape(-1, 2)[:, ::-1].reshape(-1)
    held = np.zeros_like(series)
    end = block * (series.shape[1] // block)  # the rest of a row is the way to the next
    blocks, view = (s[:, :end].reshape(len(s), -1, block) for s in (series, held))
    view[:, :, first - count // 2 : first + count + count // 2] = blocks[:, :, first + sources]
    return held
