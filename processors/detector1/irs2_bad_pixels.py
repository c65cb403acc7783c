"""Replace interleaved reference pixels of IRS2 readouts that cannot be trusted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processors.detector1.irs2 import OUTPUTS, Interleaving
from processors.invalid import demand_columns
from schemas.dq import DQ
from schemas.references import TableReference

BAD = np.uint32(DQ.BAD_REF_PIXEL)
CLIPS = 5
"""How often outliers are clipped before the mean and the scatter of what is left are taken."""


def mend(
    frames: NDArray[np.float32],
    ngroup: int,
    pixeldq: NDArray[np.uint32],
    layout: Interleaving,
    reference: TableReference,
    threshold: float,
) -> None:
    """Replace bad interleaved reference pixels of one integration, in place.

    Bad are those that PIXELDQ says are BAD_REF_PIXEL, those that stand out among their output's in this
    integration (by their mean, their scatter, or the difference of their two reads), and those that the
    reference's table DQ names. Each becomes the mean of its like in the jumps before and after; one of them
    if the other is bad; the other pixel of its own jump; or 0, which means that nothing was read.

    Parameters
    ----------
    frames : ndarray of float32 (nframe, y, nx)
        DN; changed.
    ngroup : int
        Number of frames, from the first, that are judged.
    pixeldq : ndarray of uint32 (y, nx)
        Flags.
    layout : Interleaving
        Where the pixels are.
    reference : TableReference
        The ``refpix`` reference.
    threshold : float
        In standard deviations.
    """
    rows = np.flatnonzero(layout.interleaved)
    bad = np.zeros(layout.rows, np.bool_)
    bad[rows] = (pixeldq[rows] & BAD).any(axis=1)
    _find_outliers(frames[:ngroup], bad, rows.reshape(OUTPUTS, -1), threshold)
    for row in np.flatnonzero(bad).tolist():
        _replace(frames, row, bad, layout)
    for named in _named(reference, layout):
        new = [row for row in named if not bad[row]]
        bad[new] = True
        for row in new:
            _replace(frames, row, bad, layout)


def _find_outliers(
    frames: NDArray[np.float32], bad: NDArray[np.bool_], outputs: NDArray[np.intp], threshold: float
) -> None:
    """Mark pairs of reads (two rows of an image) that stand out among those of their output."""
    for rows in outputs:
        pairs = rows.reshape(-1, 2)
        pairs = pairs[~bad[pairs].any(axis=1)]
        if not len(pairs):
            continue
        values = np.array([_of_pair(frames[:, first : first + 2]) for first in pairs[:, 0]])
        for column in values.T:
            mean, scatter = _clipped(column, threshold)
            bad[pairs[column - mean > threshold * scatter]] = True


def _of_pair(reads: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return difference, mean and scatter of two reads (nframe, 2, nx)."""
    both = reads.astype(np.float64)
    return float(np.mean(np.abs(both[:, 1] - both[:, 0]))), float(both.mean()), float(both.std())


def _clipped(values: NDArray[np.float64], threshold: float) -> tuple[float, float]:
    """Return mean and standard deviation of what is near the median."""
    kept = values[np.isfinite(values)]
    if not len(kept):
        return np.nan, np.nan
    for _ in range(CLIPS):
        near = np.abs(kept - np.median(kept)) <= threshold * kept.std()
        if near.all():
            break
        kept = kept[near]
    return float(kept.mean()), float(kept.std())


def _replace(frames: NDArray[np.float32], row: int, bad: NDArray[np.bool_], layout: Interleaving) -> None:
    output = row // layout.length
    low, high = output * layout.length, (output + 1) * layout.length
    period = layout.normal + layout.reference
    likes = [r for r in (row - period, row + period) if low <= r < high and not bad[r]]
    others = [r for r in (row - 2, row + 2) if low <= r < high and layout.interleaved[r] and not bad[r]]
    if likes:
        frames[:, row] = frames[:, likes].mean(axis=1)
    else:
        frames[:, row] = frames[:, others[0]] if others else 0


def _named(reference: TableReference, layout: Interleaving) -> list[list[int]]:
    """Return the rows (y) that each line of the reference's table DQ says are bad.

    A line has the number of an output, 1 for its odd and 2 for its even reference pixels, and a bit for each
    jump, from the detector's left to its right; each pixel is read twice.
    """
    found: list[list[int]] = []
    table = reference.tables.get("DQ")
    if table is None:
        return found
    names = ["output", "odd_even", "mask"]
    demand_columns(reference, table, names, "another file with --set refpix.override_refpix=FILE")
    for output, parity, mask in zip(*(table[name].astype(int).tolist() for name in names), strict=True):
        if not 1 <= output < OUTPUTS:
            continue
        second = parity == (1 if output % 2 == 0 else 2)  # even outputs are read from right to left
        first = output * layout.length + layout.normal // 2 + layout.reference // 2 * int(second)
        jumps = [j for j in range(32) if mask >> j & 1]
        rows = [first + j * (layout.normal + layout.reference) + i for j in jumps for i in range(2)]
        found.append([layout.rows - 1 - row if layout.turned else row for row in rows])
    return found
