"""The kinds of product that flow through the pipeline.

Each is a frozen dataclass of arrays and a :class:`~schemas.meta.Meta`. How each is laid out in a FITS file is
told once, in :mod:`schemas.layout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from schemas.meta import Meta

if TYPE_CHECKING:  # loads units and ASDF; only catalogues need it
    from astropy.table import QTable

Float32 = NDArray[np.float32]
Flags8 = NDArray[np.uint8]
Flags32 = NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """What all kinds have: metadata, and a name taken from it.

    Attributes
    ----------
    meta : Meta
        Keywords, WCS, provenance.
    donated : bool
        Whether whoever holds the product gave its arrays away to be overwritten: set by the pipeline runner
        between two steps, never on what a public call takes or returns.
    """

    meta: Meta
    donated: bool = False

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by attribute name, without those that are None."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in held.items() if isinstance(value, np.ndarray)}

    def edit(self, *names: str) -> Self:
        """Return a product whose arrays `names` may be written to.

        They are copies, except where the arrays were donated: then they are the very same. Arrays that the
        product has not are left out.
        """
        if self.donated:
            return self
        held = self.arrays()
        copies: dict[str, Any] = {name: np.array(held[name]) for name in names if name in held}
        return replace(self, donated=False, **copies)

    def with_meta(self, meta: Meta) -> Self:
        """Return the same arrays under other metadata."""
        return replace(self, meta=meta)


@dataclass(frozen=True, kw_only=True, eq=False)
class PersistenceHistory(Product):
    """Which pixels of a detector an exposure has left charge in, and when it did so.

    Attributes
    ----------
    pixels : structured ndarray (npixel,)
        Of :data:`HISTORY_COLUMNS`, one row for each pixel that saturated or was bright, in order of y and x.
    integrations : ndarray of float64 (nint, 2)
        When each integration began and ended, MJD (UTC).
    """

    pixels: NDArray[Any]
    integrations: NDArray[np.float64]


HISTORY_COLUMNS: Final = (
    ("y", "i2"),
    ("x", "i2"),
    ("time", "f8"),
    ("fluence", "f4"),
    ("integrations", "i4"),
    ("saturated", "?"),
)
"""Of a history's table. Pixels are counted from 0 and from the detector's own corner. ``time`` (MJD, UTC) is
the end of the group in which the pixel first was saturated or bright, in the last integration in which it
was so; ``fluence`` (DN) what it would have collected by the end of that one if it could hold everything;
``integrations`` in how many it was so, that one the last; ``saturated`` whether it saturated in that one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ramp(Product):
    """Up-the-ramp samples of an exposure, or of a block of its integrations.

    Attributes
    ----------
    data : ndarray (nint, ngroup, ny, nx)
        Counts in DN; float32, or the raw uint16 of a Level-1b file before the first step.
    groupdq : ndarray of uint8 (nint, ngroup, ny, nx)
        Flags of each sample.
    pixeldq : ndarray of uint32 (ny, nx)
        Flags of each pixel.
    zeroframe : ndarray (nint, ny, nx), optional
        The first frame of each integration, where frames are averaged on board.
    average_dark_current : ndarray of float32 (ny, nx), optional
        Electrons per second that were subtracted as dark current and left their noise.
    first_integration : int
        Index in the exposure of the block's first integration.
    histories : tuple of PersistenceHistory
        Of exposures before, for the step `persistence`; in no file of the ramp's.
    """

    data: NDArray[Any]
    groupdq: Flags8
    pixeldq: Flags32
    zeroframe: NDArray[Any] | None = None
    average_dark_current: Float32 | None = None
    first_integration: int = 0
    histories: tuple[PersistenceHistory, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (nint, ngroup, ny, nx)."""
        nint, ngroup, ny, nx = self.data.shape
        return nint, ngroup, ny, nx

    def integrations(self, first: int, last: int) -> Self:
        """Return integrations `first` to `last` (exclusive) of the block: views, pixeldq a copy."""
        parts: dict[str, Any] = {"data": self.data[first:last], "groupdq": self.groupdq[first:last]}
        if self.zeroframe is not None:
            parts["zeroframe"] = self.zeroframe[first:last]
        start = self.first_integration + first
        return replace(self, pixeldq=self.pixeldq.copy(), first_integration=start, **parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rate(Product):
    """Slopes, or the calibrated image made of them: one image, or one for each integration.

    Attributes
    ----------
    data, err : ndarray of float32 (ny, nx) or (nint, ny, nx)
        Count rate in DN/s (surface brightness in MJy/sr once calibrated) and its total standard error.
    dq : ndarray of uint32
        Flags, same shape.
    var_poisson, var_rnoise : ndarray of float32
        Variance due to photon noise and to read noise, same shape; their sum (and `var_flat`) is ``err**2``.
    var_flat : ndarray of float32, optional
        Variance due to the flat field.
    area : ndarray of float32 (ny, nx), optional
        Pixel area relative to the nominal one.
    chisq, dof : ndarray of float32 and of int32, optional
        Of the straight-line fit, where it was asked for.
    probability : ndarray of float32, optional
        That noise alone gives a larger chi-squared; NaN where nothing was tested.
    pedestal, worst : ndarray of float32, optional
        Diagnostics of the fit, where they were asked for: DN at the reset, and by how many sigma the worst of
        the differences of groups deviates from the line.
    ndiff, worst_group : ndarray of int16, optional
        How many differences were used, and the group, from 1, in which the worst ends.
    shares : ndarray of float32 (nint, 2, ny, nx), optional
        How much each integration knows relative to a whole ramp, where read noise dominates and where Poisson
        noise does; for the average over integrations, and in no file.
    first_integration : int
        Index in the exposure of the first integration.
    """

    data: Float32
    err: Float32
    dq: Flags32
    var_poisson: Float32
    var_rnoise: Float32
    var_flat: Float32 | None = None
    area: Float32 | None = None
    chisq: Float32 | None = None
    dof: NDArray[np.int32] | None = None
    probability: Float32 | None = None
    pedestal: Float32 | None = None
    ndiff: NDArray[np.int16] | None = None
    worst: Float32 | None = None
    worst_group: NDArray[np.int16] | None = None
    shares: Float32 | None = None
    var_used: Float32 | None = None
    first_integration: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Guider(Product):
    """Images of a guider: identification, acquisition, tracking, fine guiding.

    Attributes
    ----------
    data, err : ndarray of float32 (nimage, ny, nx)
        Count rate in DN/s and its standard error.
    dq : ndarray of uint32 (ny, nx)
        Flags of each pixel, the same for all images. Flagged pixels keep their values.
    """

    data: Float32
    err: Float32
    dq: Flags32


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampled(Product):
    """An image on a rectified grid, made of one exposure or of many.

    Attributes
    ----------
    data, err : ndarray of float32 (ny, nx)
        Surface brightness in MJy/sr and its standard error; NaN where there is no coverage.
    con : ndarray of int32 (nplane, ny, nx)
        Context: bit `i` of plane `p` is set where input ``32 p + i`` contributed.
    wht : ndarray of float32 (ny, nx)
        Weight.
    var_poisson, var_rnoise, var_flat : ndarray of float32 (ny, nx)
        Variances.
    """

    data: Float32
    err: Float32
    con: NDArray[np.int32]
    wht: Float32
    var_poisson: Float32
    var_rnoise: Float32
    var_flat: Float32 | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation(Product):
    """Which source each pixel of a mosaic belongs to.

    Attributes
    ----------
    data : ndarray of uint32 (ny, nx)
        Label of the source in its catalogue; 0 is background.
    """

    data: Flags32


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue(Product):
    """Sources found on a mosaic.

    Attributes
    ----------
    sources : astropy.table.QTable
        A row for each source; columns with units and descriptions.
    """

    sources: QTable


def concatenate(blocks: Sequence[Ramp | Rate | Guider]) -> Ramp | Rate | Guider:
    """Join blocks of integrations, given in order, into one product.

    Flags of pixels (`Ramp.pixeldq`, `Guider.dq`) are joined by OR, so that any division into blocks gives the
    same.
    """
    first = blocks[0]
    if len(blocks) == 1:
        return first
    joined: dict[str, Any] = {}
    for name, array in first.arrays().items():
        parts = [getattr(block, name) for block in blocks]
        flags = name == "pixeldq" or (name == "dq" and isinstance(first, Guider))
        if flags or name in ("area", "average_dark_current"):
            joined[name] = np.bitwise_or.reduce(parts) if flags else array
        else:
            joined[name] = np.concatenate(parts)
    return replace(first, **joined)
