"""What was recovered of a simulation's truth: statistics, and the bounds that they are held to.

Stars are compared by the catalogue of a mosaic; errors by apertures on the calibrated exposures, where pixels
are independent of each other but for what the detector does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from numpy.typing import NDArray

from schemas.dq import DQ
from schemas.products import Rate, Resampled

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

FLUX_BOUND: Final = 0.005
"""By how much isolated stars' fluxes may be off in the mean."""
SPREAD_BOUND: Final = 0.10
"""By how much the standard deviation of (measured - true) / error may differ from 1."""
FEWEST_APERTURES: Final = 200
FEWEST_STARS: Final = 10
MATCH: Final = 0.1
"""Largest distance of a source from its true position, arcsec."""
RADIUS: Final = 2.5
"""Of an aperture on a calibrated exposure, pixels: 21 whole pixels."""

_BAD: Final = int(DQ.DO_NOT_USE | DQ.NON_SCIENCE | DQ.REFERENCE_PIXEL)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sources:
    """Catalogue sources beside the true ones.

    Attributes
    ----------
    rows, truth_rows : ndarray of int (n,)
        Rows in the catalogue and in the truth that belong together.
    magnitude : ndarray (n,)
        True AB magnitude.
    ratio, ratio_err : ndarray (n,)
        Measured over true flux, and its standard error.
    dra, ddec : ndarray (n,)
        Measured minus true position, mas; `dra` on the sky, times cos(dec).
    judged : ndarray of bool (n,)
        Isolated stars whose surroundings are all covered.
    star : ndarray of bool (n,)
        Point sources.
    """

    rows: NDArray[np.intp]
    truth_rows: NDArray[np.intp]
    magnitude: Float64
    ratio: Float64
    ratio_err: Float64
    dra: Float64
    ddec: Float64
    judged: Mask
    star: Mask

    @property
    def offset(self) -> float:
        """Return the mean of measured / true - 1 of the judged stars; NaN without any."""
        chosen = self.ratio[self.judged]
        return float(chosen.mean() - 1) if chosen.size else float("nan")

    @property
    def offset_err(self) -> float:
        """Return the standard error of `offset`, from the stars' scatter."""
        chosen = self.ratio[self.judged]
        return float(chosen.std(ddof=1) / np.sqrt(chosen.size)) if chosen.size > 1 else float("nan")

    @property
    def distance(self) -> float:
        """Return the median distance of the judged stars from their true positions, mas; NaN without any."""
        found = np.hypot(self.dra[self.judged], self.ddec[self.judged])
        return float(np.median(found)) if found.size else float("nan")

    @property
    def shift(self) -> tuple[float, float]:
        """Return the median of `dra` and of `ddec` of the judged stars, mas; NaN without any."""
        if not self.judged.any():
            return float("nan"), float("nan")
        return float(np.median(self.dra[self.judged])), float(np.median(self.ddec[self.judged]))


@dataclass(frozen=True, kw_only=True)
class Check:
    """One bound that the demo is held to.

    Attributes
    ----------
    name : str
        What it is about.
    passed : bool
        Whether it holds.
    sentence : str
        The figures.
    """

    name: str
    passed: bool
    sentence: str


def compare_sources(catalogue: QTable, truth: QTable, mosaic: Resampled) -> Sources:
    """Bring a catalogue and the truth together: pairs that are each other's nearest, within `MATCH`.

    Parameters
    ----------
    catalogue : QTable
        With ``sky_centroid``, ``aper_total_flux`` and ``aper_total_flux_err``.
    truth : QTable
        With ``ra``, ``dec``, ``flux``, ``abmag``, ``kind`` and ``isolated``.
    mosaic : Resampled
        On which the catalogue was measured.
    """
    found = catalogue["sky_centroid"]
    true = SkyCoord(truth["ra"], truth["dec"], frame="icrs")
    rows, truth_rows = _pairs(found, true)
    flux, err = (catalogue[name][rows].to_value(u.Jy) for name in ("aper_total_flux", "aper_total_flux_err"))
    true_flux = truth["flux"][truth_rows].to_value(u.Jy)
    dra, ddec = true[truth_rows].spherical_offsets_to(found[rows])
    isolated = np.asarray(truth["isolated"][truth_rows], bool)
    radius = max(catalogue.meta.get("aperture_params", {}).get("aperture_radii", [3.0]))
    whole = _surrounded(mosaic, true[truth_rows], radius + 1)
    return Sources(
        rows=rows,
        truth_rows=truth_rows,
        magnitude=np.asarray(truth["abmag"][truth_rows], float),
        ratio=flux / true_flux,
        ratio_err=err / true_flux,
        dra=dra.to_value(u.mas),
        ddec=ddec.to_value(u.mas),
        judged=isolated & whole & np.isfinite(flux) & np.isfinite(err),
        star=np.asarray(truth["kind"][truth_rows] == "star"),
    )


def compare_apertures(image: Rate, true: NDArray[Any], seed: int) -> Float64:
    """Return (measured - true) / error of sums in circles that do not overlap.

    The circles lie at random in the cells of a grid; one with a pixel that must not be used is left out.
    Errors are those of independent pixels: ``sqrt(sum(err**2))``.

    Parameters
    ----------
    image : Rate
        A calibrated exposure (ny, nx).
    true : ndarray (ny, nx)
        Its noiseless truth, in the same unit.
    seed : int
        Of the random places.

    Returns
    -------
    ndarray (naperture,)
    """
    good = np.isfinite(image.data) & (image.err > 0) & (image.dq & _BAD == 0)
    difference = np.where(good, image.data.astype(np.float64) - true, 0)
    variance = np.where(good, image.err.astype(np.float64) ** 2, 0)
    y, x = _places(image.data.shape, seed)
    dy, dx = _circle()
    inside = (y[:, None] + dy, x[:, None] + dx)
    usable = good[inside].all(axis=1)
    sums, squares = (array[inside].sum(axis=1)[usable] for array in (difference, variance))
    return np.asarray(sums / np.sqrt(squares))


def check_fluxes(sources: Sources) -> Check:
    """Hold the mean flux of isolated stars to `FLUX_BOUND`."""
    stars = int(sources.judged.sum())
    name = "Fluxes of isolated stars"
    if stars < FEWEST_STARS:
        return Check(name=name, passed=False, sentence=f"only {stars} stars, {FEWEST_STARS} are needed")
    return Check(
        name=name,
        passed=abs(sources.offset) <= FLUX_BOUND,
        sentence=(
            f"{100 * sources.offset:+.2f} ± {100 * sources.offset_err:.2f} % off in the mean "
            f"of {stars} stars; allowed {100 * FLUX_BOUND:.1f} %"
        ),
    )


def check_errors(deviations: Float64) -> Check:
    """Hold the standard deviation of (measured - true) / error to `SPREAD_BOUND`."""
    count = deviations.size
    name = "Errors of apertures"
    if count < FEWEST_APERTURES:
        return Check(
            name=name, passed=False, sentence=f"only {count} apertures, {FEWEST_APERTURES} are needed"
        )
    spread = float(deviations.std(ddof=1))
    uncertainty = spread / np.sqrt(2 * count)
    return Check(
        name=name,
        passed=abs(spread - 1) <= SPREAD_BOUND,
        sentence=(
            f"standard deviation of (measured - true) / error {spread:.3f} ± {uncertainty:.3f}, "
            f"mean {deviations.mean():+.3f}, in {count} apertures; allowed "
            f"{1 - SPREAD_BOUND:.1f} to {1 + SPREAD_BOUND:.1f}"
        ),
    )


def _pairs(found: SkyCoord, true: SkyCoord) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    if not len(found) or not len(true):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    nearest, distance, _ = found.match_to_catalog_sky(true)
    back, _, _ = true.match_to_catalog_sky(found)
    rows = np.flatnonzero((distance.to_value(u.arcsec) < MATCH) & (back[nearest] == np.arange(len(found))))
    return rows, nearest[rows]


def _surrounded(mosaic: Resampled, places: SkyCoord, radius: float) -> Mask:
    """Tell which places have no uncovered pixel within `radius` pixels."""
    from scipy.ndimage import distance_transform_edt

    if not len(places):
        return np.zeros(0, bool)
    covered = np.isfinite(mosaic.data) & (mosaic.wht > 0)
    room = distance_transform_edt(np.pad(covered, 1))[1:-1, 1:-1]
    x, y = mosaic.meta.wcs.invert(places.ra.deg, places.dec.deg, with_bounding_box=False)
    column, row = (np.rint(np.nan_to_num(value, nan=-1.0)).astype(int) for value in (x, y))
    ny, nx = covered.shape
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    return np.asarray(inside & (room[np.where(inside, row, 0), np.where(inside, column, 0)] > radius))


def _circle() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    reach = int(RADIUS)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = x**2 + y**2 <= RADIUS**2
    return y[inside], x[inside]


def _places(shape: tuple[int, ...], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    reach = int(RADIUS)
    width, slack = (
        2 * reach + 5,
        4,
    )  # a circle moves within its cell by up to `slack` pixels, and never leaves it
    rows, columns = (np.arange(reach, size - reach - slack, width) for size in shape)
    y, x = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    rng = np.random.default_rng(seed)
    return y + rng.integers(0, slack + 1, y.size), x + rng.integers(0, slack + 1, x.size)
