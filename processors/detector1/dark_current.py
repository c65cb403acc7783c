"""Subtract the signal that builds up without light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from processors.detector1.arrays import by_integration, group_of, ramp_reference, writable
from processors.detector1.superbias import subtract
from processors.invalid import all_finite, require_values
from processors.options import Options, option
from processors.steps import step
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.products import Ramp
from schemas.references import RampReference, References


class DarkCurrentOptions(Options):
    """Options of the dark current subtraction."""

    average_dark_current: float | None = option(
        None,
        ge=0,
        unit="electrons per second",
        doc="mean dark current whose noise enters errors; the reference's if None",
    )


@step(options=DarkCurrentOptions, references=("dark",), status="S_DARK")
def dark_current(ramp: Ramp, references: References, options: DarkCurrentOptions) -> Ramp:
    """Subtract the dark reference from each integration, and add its flags to PIXELDQ.

    A dark of single frames is averaged as the exposure's groups were (NFRAMES, GROUPGAP), from the frames
    that are finite in each pixel; beyond its end it is continued with its last difference. Where it has no
    finite value nothing is subtracted, and the pixel is UNRELIABLE_DARK. It is read group by group, so that
    memory does not grow with its length. The zero frame is not corrected. MIRI's darks differ from
    integration to integration; beyond the reference's last one that one is taken. Follows the JWST
    documentation of the dark_current step.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), linearised DN.
    references : References
        ``dark``.
    options : DarkCurrentOptions
        Noise of the dark current.

    Returns
    -------
    Ramp
        Float32.

    Raises
    ------
    Unprocessable
        If the dark's groups cannot be combined to the exposure's, or it has no finite value.
    """
    dark = ramp_reference(references, "dark", ramp)
    source = DarkGroups(dark, ramp.meta)
    out = writable(ramp, "data", "pixeldq")
    np.bitwise_or(out.pixeldq, dark.dq, out=out.pixeldq)
    for index, block in by_integration(ramp, dark.nint):
        for g in range(ramp.shape[1]):
            subtract(out.data[block, g], source.group(g, out.pixeldq, index), False)
    average = options.average_dark_current
    if average is None:
        return replace(out, average_dark_current=_average(dark))
    flat = np.full(ramp.shape[2:], average, np.float32) if average else None
    return replace(out, average_dark_current=flat)


def _average(dark: RampReference) -> NDArray[np.float32] | None:
    average = dark.average_dark_current
    if average is not None and average.shape != dark.dq.shape:
        raise Unprocessable(
            f"{dark.name}: this dark's average dark current has shape {average.shape}, its pixels "
            f"{dark.dq.shape}; give another dark, or a number with dark_current.average_dark_current"
        )
    return average


class DarkGroups:
    """A dark reference as an exposure's groups would have seen it.

    Parameters
    ----------
    dark : RampReference
        The reference.
    meta : Meta
        NFRAMES and GROUPGAP of the exposure.

    Raises
    ------
    Unprocessable
        If its groups cannot be combined to the exposure's.
    """

    def __init__(self, dark: RampReference, meta: Meta) -> None:
        nframes, gap = int(meta.require("NFRAMES")), int(meta.require("GROUPGAP"))
        self._dark = dark
        same = (dark.nframes, dark.groupgap) == (nframes, gap)
        if not same and (dark.nframes, dark.groupgap) != (1, 0):
            raise Unprocessable(
                f"{dark.name}: this dark's groups of {dark.nframes} frames with gaps of {dark.groupgap} "
                f"cannot be combined to the exposure's of {nframes} with gaps of {gap}; give "
                "another dark, or --set dark_current.skip=true"
            )
        self._count, self._stride = (1, 1) if same else (nframes, nframes + gap)

    def group(self, index: int, pixeldq: NDArray[np.uint32], integration: int = 0) -> NDArray[np.float32]:
        """Return group `index` (ny, nx) of an integration in DN, with 0 where it is not finite.

        `pixeldq` gets flags there.
        """
        first = index * self._stride
        total = self._frame(first, integration)
        for frame in range(first + 1, first + self._count):
            total = total + self._frame(frame, integration)
        if self._count > 1:
            total /= np.float32(self._count)
        if all_finite(total):
            return total
        if self._count > 1:
            total = self._mean_of_finite(range(first, first + self._count), integration)
        require_values(self._dark, total)
        bad = ~np.isfinite(total)
        pixeldq[bad] |= np.uint32(DQ.UNRELIABLE_DARK)
        return np.where(bad, np.float32(0), total)

    def _mean_of_finite(self, frames: range, integration: int) -> NDArray[np.float32]:
        """Return the mean of each pixel's finite frames, NaN where there is none."""
        total = np.zeros(self._dark.dq.shape, np.float32)
        number = np.zeros(self._dark.dq.shape, np.float32)
        for index in frames:
            frame = self._frame(index, integration)
            finite = np.isfinite(frame)
            np.add(total, frame, out=total, where=finite)
            number += finite
        with np.errstate(invalid="ignore"):  # none of none
            return np.divide(total, number, out=total)

    def _frame(self, index: int, integration: int) -> NDArray[np.float32]:
        begin, last = integration * self._dark.ngroup, self._dark.ngroup - 1
        if index <= last:
            return group_of(self._dark, begin + index)
        if last == 0:
            raise Unprocessable(
                f"{self._dark.name}: a dark with a single group cannot be continued to the length of the "
                "exposure; give another dark, or --set dark_current.skip=true"
            )
        end = group_of(self._dark, begin + last)
        return end + np.float32(index - last) * (end - group_of(self._dark, begin + last - 1))
