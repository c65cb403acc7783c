"""Where the pixels of NIRSpec's IRS2 readouts are: reference pixels are read between the others.

Each of four outputs reads so many pixels of its row (NRS_NORM), jumps to so many reference pixels (NRS_REF),
and jumps back; a fifth, the reference output, is read along with them. All that is read lies in the raw image
(Moseley et al. 2010, Proc. SPIE 7742, 77421B; Rauscher et al. 2017, PASP 129, 105003).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import Unprocessable
from schemas.products import Ramp

OUTPUTS = 5
"""The reference output, then the four of the detector."""
AMPLIFIER = 512
"""Pixels of a row that one output reads."""
NEW_ROW = 8
"""Pixel times that pass between two rows."""


@dataclass(frozen=True)
class Interleaving:
    """How an IRS2 image is laid out: outputs follow each other along its rows' axis (y).

    Attributes
    ----------
    normal, reference : int
        Pixels of the row read in a go, and reference pixels read between two such goes.
    turned : bool
        Whether both axes of the image run against those of the detector (NRS2).
    """

    normal: int = 16
    reference: int = 4
    turned: bool = False

    @classmethod
    def of(cls, ramp: Ramp) -> Interleaving | None:
        """Return the layout of a ramp; None if there are no interleaved reference pixels in it (any more).

        Raises
        ------
        Unprocessable
            If the header says IRS2, and the image has another number of rows than that has.
        """
        meta, ny = ramp.meta, ramp.shape[2]
        if "IRS2" not in str(meta.get("READPATT", "")):
            return None
        normal, reference = int(meta.get("NRS_NORM") or 16), int(meta.get("NRS_REF") or 4)
        layout = cls(normal, reference, meta.get("DETECTOR") == "NRS2")
        known = normal > 0 and AMPLIFIER % normal == 0 and reference > 0 and reference % 2 == 0
        if known and ny == layout.rows:
            return layout
        if ny == (OUTPUTS - 1) * AMPLIFIER:
            return None
        raise Unprocessable(
            f"{meta.get('FILENAME', 'the product')}: READPATT = {meta.get('READPATT')} with NRS_NORM = "
            f"{normal} and NRS_REF = {reference} does not go with images of {ny} rows; mend the header"
        )

    @property
    def length(self) -> int:
        """Return the number of pixels that one output reads in a row, with the reference pixels."""
        return AMPLIFIER + AMPLIFIER // self.normal * self.reference

    @property
    def rows(self) -> int:
        """Return the number of rows of the image."""
        return OUTPUTS * self.length

    @cached_property
    def reads(self) -> NDArray[np.bool_]:
        """Return which of the pixels that an output reads in a row, in the order of time, see the sky."""
        place = np.arange(self.length) % (self.normal + self.reference)
        return (place < self.normal // 2) | (place >= self.normal // 2 + self.reference)

    @cached_property
    def slots(self) -> NDArray[np.intp]:
        """Return when each of those is read, in pixel times from the row's begin: each jump takes one."""
        jumps = np.concatenate([[0], np.cumsum(np.diff(self.reads.astype(np.int8)) != 0)])
        return np.arange(self.length) + jumps

    @property
    def period(self) -> int:
        """Return the pixel times from the begin of a row to that of the next."""
        return (self.normal + self.reference + 2) * (AMPLIFIER // self.normal) + NEW_ROW

    @cached_property
    def science(self) -> NDArray[np.bool_]:
        """Return which rows (y) of the image are rows of the detector."""
        along = np.zeros((OUTPUTS, self.length), np.bool_)
        for k in range(1, OUTPUTS):
            along[k] = self.reads[::-1] if k % 2 == 0 else self.reads
        return along.reshape(-1)[::-1] if self.turned else along.reshape(-1)

    @cached_property
    def interleaved(self) -> NDArray[np.bool_]:
        """Return which rows (y) are reads between; for the reference output those read at the same time."""
        along = np.concatenate([~self.reads[::-1] if k % 2 == 0 else ~self.reads for k in range(OUTPUTS)])
        return along[::-1] if self.turned else along

    def in_time(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return an image (y, x) as (output, row, pixel time): zero where nothing was read."""
        native = image.T[::-1, ::-1] if self.turned else image.T
        outputs = native.reshape(len(native), OUTPUTS, self.length)
        series = np.zeros((OUTPUTS, len(native), self.period), image.dtype)
        for k in range(OUTPUTS):
            series[k][:, self.slots] = outputs[:, k, ::-1] if k % 2 == 0 else outputs[:, k]
        return series

    def of_the_sky(self, series: NDArray[Any]) -> NDArray[Any]:
        """Return the image (2048, x) of the detector's four outputs (output, row, pixel time)."""
        slots = self.slots[self.reads]
        outputs = [s[:, slots[::-1] if k % 2 else slots] for k, s in enumerate(series)]
        native = np.concatenate(outputs, axis=1)
        return np.ascontiguousarray((native[::-1, ::-1] if self.turned else native).T)

    def without_references(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the detector's pixels (..., 2048, nx) of images (..., y, nx), as a copy."""
        return np.ascontiguousarray(array[..., self.science, :])
