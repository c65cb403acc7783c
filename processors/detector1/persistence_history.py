"""Note which pixels an exposure leaves charge in, for the exposures after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from processors.options import Options, option
from processors.ramps.histories import DAY, bright_pixels, group_ends, joined, starts
from processors.steps import off, step
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.products import HISTORY_COLUMNS, PersistenceHistory, Ramp
from schemas.references import References


class HistoryOptions(Options):
    """Options of the persistence history."""

    dn_threshold: float = option(
        20000.0, gt=0, unit="DN", doc="signal from which a pixel counts as bright, saturated or not"
    )


class HistoryMaker:
    """The history of an exposure, as its integrations come: memory does not grow with their number.

    Parameters
    ----------
    options : HistoryOptions, optional
        From what signal on a pixel is noted.
    """

    def __init__(self, options: Options | None = None) -> None:
        chosen = options if isinstance(options, HistoryOptions) else HistoryOptions()
        self._threshold = chosen.dn_threshold
        self._pixels = np.zeros(0, list(HISTORY_COLUMNS))
        self._times: list[tuple[float, float]] = []
        self._meta: Meta | None = None

    def add(self, block: Ramp) -> None:
        """Add a block of integrations, in their order; any division gives the same history."""
        self._meta = self._meta or block.meta
        length = group_ends(block.meta, block.shape[1])[-1]
        for i, start in enumerate(starts(block.meta, block.first_integration, block.shape[0])):
            self._pixels = joined(self._pixels, bright_pixels(block, i, self._threshold, float(start)))
            self._times.append((float(start), float(start) + length / DAY))

    def watching(self, blocks: Iterator[Ramp]) -> Iterator[Ramp]:
        """Yield blocks on their way, and add each."""
        for block in blocks:
            self.add(block)
            held = [block]
            del block  # a generator that waits holds its variables, and a block is large
            yield held.pop()

    def history(self) -> PersistenceHistory:
        """Return the history of what was added.

        Raises
        ------
        Unprocessable
            If nothing was.
        """
        if self._meta is None:
            raise Unprocessable("there are no integrations to note; give a ramp of at least one")
        return PersistenceHistory(
            meta=replace(self._meta, tables={}, wcs=None, quality={}),
            pixels=self._pixels,
            integrations=np.array(self._times),
        )


@off
@step(options=HistoryOptions, scope="exposure", repeatable=True)
def persistence_history(ramp: Ramp, references: References, options: HistoryOptions) -> PersistenceHistory:
    """Note the pixels that saturate or are bright, when, and how much light they got.

    They let go of trapped charge in the exposures after, where the step `persistence` needs this. It runs
    where that one does, unless the recipe says otherwise. Pixels are counted from the detector's own corner,
    so that a subarray's history serves a full frame.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), linearised DN; GROUPDQ tells what is saturated.
    references : References
        None are used.
    options : HistoryOptions
        Threshold.

    Returns
    -------
    PersistenceHistory
        A row for each such pixel.

    Raises
    ------
    Unprocessable
        If nothing tells when the exposure began.
    """
    maker = HistoryMaker(options)
    maker.add(ramp)
    return maker.history()
