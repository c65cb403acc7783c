"""The truth of a simulation, as `calstream simulate` leaves it beside its exposures."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from numpy.typing import NDArray

from schemas.errors import Unprocessable, explained
from schemas.meta import Meta
from streams.report.gather import ProductHead
from streams.report.recovery import compare_apertures

_COLUMNS: Final = ("ra", "dec", "flux", "abmag", "kind", "isolated")


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """A folder of truth.

    Attributes
    ----------
    path : Path
        The folder.
    sources : QTable
        All sources of the sky.
    """

    path: Path
    sources: QTable

    def fits(self, meta: Meta) -> bool:
        """Tell whether its fluxes are those of a product's filter."""
        return self.sources.meta.get("filter") in (None, meta.get("FILTER"), meta.get("PUPIL"))


def read_truth(folder: Path) -> Truth:
    """Read the catalogue of a simulation's truth.

    Raises
    ------
    Unprocessable
        If the folder has none.
    """
    path = folder / "sources.ecsv"
    hint = "give the folder truth/ that `calstream simulate` wrote"
    with explained(path, "read"):
        text = path.read_text()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sources = QTable.read(text, format="ascii.ecsv")
    except Exception as error:  # astropy raises whatever its parsers raise
        reason = " ".join(str(error).split())[:200]
        raise Unprocessable(f"{path}: cannot be read as a table ({reason}); {hint}") from None
    if missing := [name for name in _COLUMNS if name not in sources.colnames]:
        raise Unprocessable(f"{path}: lacks the columns {', '.join(missing)}; {hint}")
    return Truth(path=folder, sources=sources)


def deviations(calibrated: Iterable[ProductHead], truth: Truth) -> NDArray[np.float64]:
    """Return (measured - true) / error of apertures on all calibrated exposures whose truth is there.

    Raises
    ------
    Unprocessable
        If a truth file cannot be read, or is of another shape than its exposure.
    """
    found = [np.zeros(0)]
    for head in calibrated:
        path = truth.path / f"{head.name}_truth.fits"
        if path.exists():
            image = head.read()
            found.append(
                compare_apertures(image, _cal(path, image.data.shape), zlib.crc32(head.name.encode()))
            )
    return np.concatenate(found)


def _cal(path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        data = fits.getdata(path, "CAL")
    except (OSError, KeyError) as error:
        raise Unprocessable(f"{path}: has no readable extension CAL ({error}); simulate again") from None
    if data.shape != shape:
        raise Unprocessable(
            f"{path}: its shape {data.shape} is not that of the exposure, {shape}; simulate again"
        )
    return np.asarray(data, np.float64)
