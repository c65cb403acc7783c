"""Remove drifts of the bias with the reference pixels, which see no light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from processors.detector1 import refpix_miri
from processors.detector1.arrays import writable
from processors.detector1.clipping import clipped_mean
from processors.detector1.headers import fast_axis
from processors.detector1.irs2 import Interleaving
from processors.detector1.irs2_reference import subtract_interleaved
from processors.modes import is_miri
from processors.options import Options, option
from processors.steps import NotApplicable, step
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.products import Ramp
from schemas.references import References, Window
from schemas.stripes import in_stripes

SIZE = 2048
"""Pixels along a side of a near-infrared detector."""
BORDER = 4
"""Rows and columns of reference pixels along each edge."""
AMPLIFIER = 512
"""Columns that one of the four amplifiers reads."""

EDGELESS = ("SUB512", "SUB512S", "SUB32")
"""NIRSpec subarrays away from all edges, whose outermost detector rows stand in for reference pixels."""


class RefpixOptions(Options):
    """Options of the reference pixel correction."""

    odd_even_columns: bool = option(True, doc="treat odd and even columns separately")
    use_side_ref_pixels: bool = option(True, doc="subtract also what the side columns see, row by row")
    side_smoothing_length: int = option(
        11, ge=1, le=2047, unit="rows", doc="height of the running median along the side columns"
    )
    side_gain: float = option(1.0, ge=0, doc="factor for the signal of the side columns")
    odd_even_rows: bool = option(True, doc="treat odd and even rows separately (MIRI)")
    siglimit: float = option(
        3.0, gt=0, unit="sigma", doc="reference pixels farther from their mean are left out"
    )
    ovr_corr_mitigation_ftr: float = option(
        3.0, gt=0, unit="sigma", doc="interleaved reference pixels that stand out more are replaced (IRS2)"
    )


@dataclass(frozen=True)
class Frame:
    """Where the pixels of an exposure lie on the detector as it is read.

    Attributes
    ----------
    slow, fast : int
        Detector row and column of the first pixel, up to reflections, which change nothing here.
    transposed : bool
        Whether the detector's columns run along the first axis of the image.
    """

    slow: int
    fast: int
    transposed: bool

    def view(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return images (..., ny, nx) as (..., row, column) of the detector."""
        return np.swapaxes(images, -1, -2) if self.transposed else images


@step(options=RefpixOptions, optional=("refpix",), status="S_REFPIX")
def refpix(ramp: Ramp, references: References, options: RefpixOptions) -> Ramp:
    """Subtract what the reference pixels of the same frame show.

    With four amplifiers (full frames, and subarrays read by four): for each amplifier, odd and even columns,
    the mean of the reference pixels in the detector's first and last four rows, with outliers clipped; then,
    row by row, the running median of the first and last four columns. With one amplifier: the clipped means
    of all reference pixels in odd and in even columns. Where stripes were read: likewise, for
    each of the four amplifiers. Only reference pixels without DO_NOT_USE count. The zero frame is corrected
    too; its zeros stay. In IRS2 readouts the reference pixels read between the
    others, and the reference output, are filtered in time as the reference says, subtracted and taken out of
    the image; bad ones are found in each integration. MIRI's full frames: for each output, which reads every
    fourth column, odd and even rows, the mean of what its reference pixels on the left and those on the right
    have changed by since the first group; its subarrays are left alone. Follows the JWST documentation of the
    refpix step.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), DN.
    references : References
        ``refpix``, for IRS2 readouts only.
    options : RefpixOptions
        Which reference pixels are used, and how.

    Returns
    -------
    Ramp
        Float32; of an IRS2 readout, the detector's own pixels.

    Raises
    ------
    NotApplicable
        If the exposure has no good reference pixel, or is a subarray of MIRI.
    Unprocessable
        If it reaches beyond the detector, or an IRS2 readout has no fitting reference.
    """
    interleaving = Interleaving.of(ramp)
    if interleaving is not None:
        return subtract_interleaved(ramp, interleaving, references, options.ovr_corr_mitigation_ftr)
    if is_miri(ramp.meta):
        parity = 2 if options.odd_even_rows else 1
        good = refpix_miri.good_pixels(ramp, parity)
        out = writable(ramp, "data")
        refpix_miri.correct(out.data, good, parity, options.siglimit)
        return out
    frame = _frame(ramp)
    one = min(ramp.shape[2:]) < SIZE and int(ramp.meta.get("NOUTPUTS") or 1) != 4
    width = SIZE if one else AMPLIFIER
    by_mark = width if one or in_stripes(ramp.meta.primary) else 0
    groups = _good_pixels(ramp, frame, bool(by_mark), options)
    out = writable(ramp, "data")
    _correct(out.data.reshape(-1, *ramp.shape[2:]), frame, by_mark, groups, options, keep_zero=False)
    if out.zeroframe is not None:
        _correct(out.zeroframe, frame, by_mark, groups, options, keep_zero=True)
    return out


def _frame(ramp: Ramp) -> Frame:
    meta = ramp.meta
    window = Window.of(meta.primary, ramp.shape[2:])
    if min(window.x, window.y) < 0 or window.x + window.nx > SIZE or window.y + window.ny > SIZE:
        raise Unprocessable(
            f"{meta.get('FILENAME', 'the product')}: {window.nx} x {window.ny} pixels from ({window.x + 1}, "
            f"{window.y + 1}) do not lie on a detector of {SIZE} x {SIZE}; mend SUBSTRT1, "
            "SUBSTRT2, SUBSIZE1, SUBSIZE2"
        )
    transposed = fast_axis(meta) == 2
    return Frame(window.x, window.y, True) if transposed else Frame(window.y, window.x, False)


def _good_pixels(ramp: Ramp, frame: Frame, by_mark: bool, options: RefpixOptions) -> NDArray[np.bool_]:
    """Return which pixels (row, column) are good reference pixels: those marked so, or the edges."""
    good = (ramp.pixeldq & np.uint32(DQ.DO_NOT_USE)) == 0
    if by_mark:
        marked = (ramp.pixeldq & np.uint32(DQ.REFERENCE_PIXEL)) != 0
        if ramp.meta.get("SUBARRAY") in EDGELESS:
            marked[:, :BORDER] = marked[:, -BORDER:] = True
        good = frame.view(good & marked)
    else:
        good = frame.view(good)
        row, column = np.arange(good.shape[0]) + frame.slow, np.arange(good.shape[1]) + frame.fast
        rows, columns = _on_border(row), _on_border(column) & options.use_side_ref_pixels
        good = good & (rows[:, np.newaxis] | columns)
    if not good.any():
        raise NotApplicable("the exposure has no good reference pixels")
    return np.ascontiguousarray(good)


def _on_border(index: NDArray[np.integer]) -> NDArray[np.bool_]:
    return (index < BORDER) | (index >= SIZE - BORDER)


def _correct(
    images: NDArray[np.float32],
    frame: Frame,
    by_mark: int,
    good: NDArray[np.bool_],
    options: RefpixOptions,
    keep_zero: bool,
) -> None:
    """Correct images (nimage, ny, nx) in place; `by_mark` columns that an amplifier reads, or the edges."""
    view = frame.view(images)
    columns = np.zeros((len(view), view.shape[2]))
    rows = np.zeros((len(view), view.shape[1]))
    parity = 2 if options.odd_even_columns else 1
    start = np.array([frame.slow, frame.fast])
    if by_mark:
        _marked(view, good, (start[1], by_mark, parity), options.siglimit, columns)
    else:
        _four_amplifiers(view, good, start, parity, options.siglimit, columns)
        if options.use_side_ref_pixels and options.side_gain:
            _sides(view, good, start, options.side_smoothing_length // 2, columns, rows)
            rows *= options.side_gain
    none = np.zeros_like
    if frame.transposed:
        _subtract(images, columns, none(rows), none(columns), rows, keep_zero)
    else:
        _subtract(images, none(rows), columns, rows, none(columns), keep_zero)


@njit(cache=True, parallel=True)
def _marked(images, good, layout, limit, columns):
    """Clipped means of the good pixels of each amplifier, in columns of each parity."""
    nimage, nrow, ncolumn = images.shape
    start, width, parity = layout
    for k in prange(nimage):
        values = np.empty(nrow * min(width, ncolumn))
        means = np.empty(2)
        for amplifier in range(start // width, (start + ncolumn - 1) // width + 1):
            first = max(0, amplifier * width - start)
            last = min(ncolumn, (amplifier + 1) * width - start)
            for p in range(parity):
                n = 0
                for r in range(nrow):
                    for c in range(first + (p - first - start) % parity, last, parity):
                        if good[r, c] and np.isfinite(images[k, r, c]):
                            values[n] = images[k, r, c]
                            n += 1
                means[p] = clipped_mean(values, n, limit)
            if width < SIZE and np.isnan(means[:parity]).any():
                continue  # it is left alone, so that no stripes arise
            for c in range(first, last):
                mean = means[(c + start) % parity]
                columns[k, c] = mean if np.isfinite(mean) else 0.0


@njit(cache=True)
def _edge_mean(image, good, rows, columns, limit, values):
    """Clipped mean of the good pixels in a range of rows, and in a range (first, last, step) of columns."""
    n = 0
    for r in range(rows[0], rows[1]):
        for c in range(columns[0], columns[1], columns[2]):
            if good[r, c] and np.isfinite(image[r, c]):
                values[n] = image[r, c]
                n += 1
    return clipped_mean(values, n, limit)


@njit(cache=True)
def _mean_of_two(a, b):
    """Mean of two values, or the one that is not NaN."""
    if np.isnan(a):
        return b
    return a if np.isnan(b) else 0.5 * (a + b)


@njit(cache=True, parallel=True)
def _four_amplifiers(images, good, start, parity, limit, columns):
    nimage, nrow, ncolumn = images.shape
    low = (0, max(0, min(nrow, BORDER - start[0])))
    high = (max(0, min(nrow, SIZE - BORDER - start[0])), max(0, min(nrow, SIZE - start[0])))
    for k in prange(nimage):
        values = np.empty(BORDER * AMPLIFIER)
        means = np.empty(2)
        for amplifier in range(SIZE // AMPLIFIER):
            first = max(0, amplifier * AMPLIFIER - start[1])
            last = min(ncolumn, (amplifier + 1) * AMPLIFIER - start[1])
            for p in range(parity):
                own = (first + (p - first - start[1]) % parity, last, parity)
                means[p] = _mean_of_two(
                    _edge_mean(images[k], good, high, own, limit, values),
                    _edge_mean(images[k], good, low, own, limit, values),
                )
            # an amplifier without good pixels in one of its column sets is left alone, so that no stripes
            # arise
            if not np.isnan(means[:parity]).any():
                for c in range(first, last):
                    columns[k, c] = means[(c + start[1]) % parity]


@njit(cache=True, parallel=True)
def _sides(images, good, start, half, columns, rows):
    nimage, nrow, ncolumn = images.shape
    left = (0, max(0, min(ncolumn, BORDER - start[1])))
    right = (max(0, min(ncolumn, SIZE - BORDER - start[1])), max(0, min(ncolumn, SIZE - start[1])))
    for k in prange(nimage):
        values = np.empty(BORDER * (2 * half + 1), np.float32)
        for r in range(nrow):
            signal = _mean_of_two(
                _side_median(images[k], good, (r, start[0], half), left, columns[k], values),
                _side_median(images[k], good, (r, start[0], half), right, columns[k], values),
            )
            rows[k, r] = 0.0 if np.isnan(signal) else signal


@njit(cache=True)
def _side_median(image, good, where, side, columns, values):
    """Median over the rows near one, of side columns less their means; the detector's ends reflect."""
    row, start, half = where
    n = 0
    for near in range(row + start - half, row + start + half + 1):
        r = SIZE - 1 - abs(SIZE - 1 - abs(near)) - start
        if r < 0 or r >= image.shape[0]:
            continue
        for c in range(side[0], side[1]):
            if good[r, c] and np.isfinite(image[r, c]):
                value = np.float32(image[r, c] - columns[c])
                i = n
                while i > 0 and values[i - 1] > value:
                    values[i] = values[i - 1]
                    i -= 1
                values[i] = value
                n += 1
    return 0.5 * (np.float64(values[(n - 1) // 2]) + np.float64(values[n // 2])) if n else np.nan


@njit(cache=True, parallel=True)
def _subtract(images, y_first, x_first, y_then, x_then, keep_zero):
    """Subtract vectors along both axes, in two turns because each result is stored in float32; in place."""
    nimage, ny, nx = images.shape
    for y in prange(ny):
        for k in range(nimage):
            for x in range(nx):
                if not (keep_zero and images[k, y, x] == 0):
                    value = np.float32(images[k, y, x] - (y_first[k, y] + x_first[k, x]))
                    images[k, y, x] = np.float32(value - (y_then[k, y] + x_then[k, x]))
