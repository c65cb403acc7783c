"""Persistence: charge that traps take up while a pixel fills, and let go of in the exposures after it.

A pixel that fills exposes its traps step by step, and each family of them captures a part at once and more
with some e-folding time; what is captured comes out with another (Leisenring et al. 2016, Proc. SPIE 9915,
99152N). Here the traps go through the exposures frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import Unprocessable

Image = NDArray[np.float32]
DAY: Final = 86400.0

FAMILIES: Final = np.array(
    [(0.20, -1 / 40, 0.05, -1 / 150), (0.30, -1 / 150, 0.05, -1 / 700), (0.20, -1 / 600, 0.10, -1 / 3000)],
    dtype=[("capture0", "f8"), ("capture1", "f8"), ("capture2", "f8"), ("decay_param", "f8")],
)
"""By family: what is captured with time, its rate (1/s), what at once, the rate of release (1/s)."""
DENSITY: Final = 0.01
"""Charge that all traps of a pixel hold, relative to its full well."""


@dataclass
class Traps:
    """The traps of a window, from exposure to exposure; arrays of electrons, ``(nfamily, ny, nx)``.

    Parameters
    ----------
    total : ndarray
        What all traps hold that a full well exposes, electrons, ``(ny, nx)``.
    well : ndarray
        The full well, electrons, ``(ny, nx)``.
    """

    total: Image
    well: Image
    moment: float = 0.0
    """MJD up to which they have been followed."""
    _filled: NDArray[np.float64] = field(init=False)
    _catching: NDArray[np.float64] = field(init=False)
    _exposed: NDArray[np.float64] = field(init=False)
    _fill: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        shape = (len(FAMILIES), *self.total.shape)
        self._filled, self._catching, self._exposed = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._fill = np.zeros(self.total.shape)

    def wait(self, moment: float) -> None:
        """Let time go by until `moment` (MJD), in which the pixels are reset again and again.

        Raises
        ------
        Unprocessable
            If that was before.
        """
        if moment < self.moment - 1e-9:
            raise Unprocessable("exposures of one detector overlap; give them in their order")
        if self.moment:
            self._release((moment - self.moment) * DAY)
        self.moment = moment

    def frame(self, seconds: float) -> NDArray[np.float64]:
        """Return the electrons that come out of all families in so many seconds, ``(ny, nx)``."""
        self.moment += seconds / DAY
        return np.asarray(self._release(seconds).sum(axis=0))

    def see(self, charge: Image, seconds: float) -> None:
        """Capture while a pixel goes from its last charge to this one (electrons) in so many seconds."""
        fill = np.minimum(charge / self.well, 1.0)
        step = np.maximum(fill - self._fill, 0.0)
        self._fill = np.maximum(fill, self._fill)
        for k, family in enumerate(FAMILIES):
            new = step * self.total
            waits = family["capture1"] * seconds
            left = self._exposed[k] * np.exp(waits) + family["capture0"] * new * np.expm1(waits) / waits
            caught = self._exposed[k] + family["capture0"] * new - left
            self._catching[k] += caught + family["capture2"] * new
            self._exposed[k] = left

    def reset(self) -> None:
        """End an integration: what was caught is in the traps now, and the well is empty."""
        self._filled += self._catching
        self._catching[:], self._exposed[:], self._fill[:] = 0, 0, 0

    def _release(self, seconds: float) -> NDArray[np.float64]:
        share = -np.expm1(FAMILIES["decay_param"] * seconds)[:, None, None]
        out = self._filled * share
        self._filled = self._filled - out
        return np.asarray(out)
