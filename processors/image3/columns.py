"""The columns of a source catalogue, with JWST's names, in JWST's order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from processors.drizzling.correlation import aperture_ratio
from processors.image3 import shapes
from processors.image3.apertures import Apertures
from processors.image3.detection import Found
from processors.image3.drizzled_light import Totals
from processors.image3.photometry import (
    INDEPENDENT,
    LocalBackground,
    Photometry,
    ab_magnitude,
    aperture_flux,
    corrected,
    local_background,
)

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable

Float64 = NDArray[np.float64]
Column = tuple[str, Any, str]
"""Name, values, description."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """All that is measured of the sources on a mosaic.

    Attributes
    ----------
    data, err : ndarray (ny, nx)
        Jy in each pixel, NaN without coverage.
    found : Found
        Segments and the image without background.
    apertures : Apertures
        In which fluxes are measured.
    vega_offset : float
        AB minus Vega magnitude.
    coefficients : ndarray, optional
        Of the noise's correlation; None gives errors of independent pixels, without the background's.
    wcs : gwcs.WCS
        Of the mosaic.
    kernel_fwhm : float
        Of the detection kernel, pixels.
    thresholds : tuple of float
        Concentration indices above which a source is extended.
    totals : callable
        Gives, for positions (nsource, 2), what leads from the last aperture to the total.
    """

    data: Float64
    err: Float64
    found: Found
    apertures: Apertures
    vega_offset: float
    coefficients: Float64 | None
    wcs: Any
    kernel_fwhm: float
    thresholds: tuple[float, float]
    totals: Callable[[Float64], Totals]

    @cached_property
    def segments(self) -> Any:
        """Return photutils' measurements of the segments, None without sources."""
        if self.found.segments is None:
            return None
        from photutils.segmentation import SourceCatalog

        return SourceCatalog(
            self.found.data, self.found.segments, convolved_data=self.found.smoothed,
            error=np.nan_to_num(self.err), mask=~np.isfinite(self.data), wcs=self.wcs,
        )  # fmt: skip

    def of_segments(self, name: str, dtype: Any = float) -> NDArray[Any]:
        """Return one of photutils' properties without unit, empty without sources."""
        if self.segments is None:
            return np.zeros(0, dtype)
        values = getattr(self.segments, name)
        return np.atleast_1d(np.asarray(getattr(values, "value", values), dtype))

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """Return the labels."""
        return self.of_segments("labels", np.int32)

    @cached_property
    def xy(self) -> Float64:
        """Return the centroids, ndarray (nsource, 2)."""
        return np.stack([self.of_segments("x_centroid"), self.of_segments("y_centroid")], axis=1)

    @cached_property
    def sky(self) -> LocalBackground:
        """Return the level around each source."""
        found = local_background(self.data, self._placed, self.apertures.annulus, self._noise)
        if self.coefficients is None:
            return LocalBackground(level=found.level, level_err=found.level_err)
        return found

    @cached_property
    def photometry(self) -> list[Photometry]:
        """Return the fluxes in each aperture."""
        sky = self.sky
        if self.coefficients is None:
            sky = LocalBackground(level=sky.level, level_err=np.zeros_like(sky.level))
        return [
            aperture_flux(self.data, self.err, self._placed, radius, sky, self._noise)
            for radius in self.apertures.radii
        ]

    @property
    def _noise(self) -> Float64:
        return INDEPENDENT if self.coefficients is None else self.coefficients

    @property
    def _placed(self) -> Float64:
        """Return the centroids, those that are not known far outside."""
        return np.where(np.isfinite(self.xy), self.xy, -1e4)

    @cached_property
    def isophotal(self) -> Photometry:
        """Return the fluxes in the segments; noise correlates as in a circle of the same area."""
        error = self.of_segments("segment_flux_err")
        radii = np.sqrt(self.of_segments("area") / np.pi)
        if len(radii):
            grid = np.geomspace(0.5, max(radii.max(), 1.0), 24)
            error = error * np.interp(radii, grid, [aperture_ratio(self._noise, r) for r in grid])
        return Photometry(flux=self.of_segments("segment_flux"), flux_err=error)


def table_of(measured: Measurements) -> QTable:
    """Return the catalogue."""
    from astropy.table import QTable

    columns = [
        *_positions(measured),
        *_aperture_columns(measured),
        *_shape_columns(measured),
        *_isophotal_columns(measured),
    ]
    table = QTable()
    for name, values, description in columns:
        table[name] = values
        table[name].info.description = description
    circles = measured.apertures
    table.meta["aperture_params"] = {
        "aperture_ee": list(circles.energies),
        "aperture_radii": list(circles.radii),
        "aperture_corrections": list(circles.corrections),
        "bkg_aperture_inner_radius": circles.annulus[0],
        "bkg_aperture_outer_radius": circles.annulus[1],
    }
    table.meta["abvega_offset"] = measured.vega_offset
    return table


def _sky(wcs: Any, x: Float64, y: Float64) -> SkyCoord:
    from astropy.coordinates import SkyCoord

    ra, dec = wcs(x, y, with_bounding_box=False) if len(x) else (np.zeros(0), np.zeros(0))
    return SkyCoord(ra, dec, unit="deg", frame="icrs")


def _positions(measured: Measurements) -> list[Column]:
    x, y = measured.xy.T
    return [
        ("label", measured.labels, "Unique source identification label number"),
        ("xcentroid", x, "X pixel value of the source centroid (0 indexed)"),
        ("ycentroid", y, "Y pixel value of the source centroid (0 indexed)"),
        ("sky_centroid", _sky(measured.wcs, x, y), "ICRS Sky coordinate of the source centroid"),
    ]


def _aperture_columns(measured: Measurements) -> list[Column]:
    names = [f"{energy}" for energy in measured.apertures.energies]
    last, totals = measured.photometry[-1], measured.totals(measured.xy)
    noise = 1.0 if measured.coefficients is None else totals.noise
    total = corrected(last, totals.factor, totals.relative_error, noise)
    fluxes = [
        *((f"aper{name}", f"within the {name}% encircled energy circular aperture", light)
          for name, light in zip(names, measured.photometry, strict=True)),
        ("aper_total", f"of a point source, from the {names[-1]}% aperture {totals.how}", total),
    ]  # fmt: skip
    columns: list[Column] = [
        (
            "aper_bkg_flux",
            measured.sky.level * u.Jy,
            "Local background per pixel: clipped median in the annulus",
        ),
        ("aper_bkg_flux_err", measured.sky.level_err * u.Jy, "Standard error of the local background"),
    ]
    for name, what, light in fluxes:
        columns += [
            (f"{name}_flux", light.flux * u.Jy, f"Flux {what}"),
            (f"{name}_flux_err", light.flux_err * u.Jy, f"Flux error {what}; {_says(measured)}"),
        ]
    for system, offset in (("abmag", 0.0), ("vegamag", measured.vega_offset)):
        for name, what, light in fluxes:
            columns += _magnitudes(f"{name}_{system}", what, light, offset)
    return columns


def _says(measured: Measurements) -> str:
    if measured.coefficients is None:
        return "of independent pixels"
    ratios = ", ".join(f"{aperture_ratio(measured.coefficients, r):.3f}" for r in measured.apertures.radii)
    return (
        "with the correlated noise of drizzled pixels (error of independent pixels times "
        f"{ratios} in the apertures, where noise is even) and the background's error"
    )


def _magnitudes(name: str, what: str, light: Photometry, offset: float) -> list[Column]:
    system = "Vega" if "vega" in name else "AB"
    value, error = ab_magnitude(light.flux, light.flux_err)
    return [
        (name, value - offset, f"{system} magnitude {what}"),
        (f"{name}_err", error, f"{system} magnitude error {what}"),
    ]


def _shape_columns(measured: Measurements) -> list[Column]:
    names = measured.apertures.energies
    fluxes = [light.flux for light in measured.photometry]
    columns: list[Column] = []
    indices = []
    for small, large in ((0, 1), (1, 2), (0, 2)):
        with np.errstate(divide="ignore", invalid="ignore"):
            indices.append(fluxes[large] / fluxes[small])
        what = f"Concentration index aper{names[large]}_flux / aper{names[small]}_flux"
        columns.append((f"CI_{names[large]}_{names[small]}", indices[-1], what))
    first, second = measured.thresholds
    sharp, round_ = shapes.sharpness_roundness(
        np.nan_to_num(measured.data), measured.xy, measured.kernel_fwhm or 2.0
    )
    label, distance = shapes.nearest_neighbours(measured.labels, measured.xy)
    return [
        *columns,
        (
            "is_extended",
            (indices[0] > first) & (indices[1] > second),
            "Flag indicating whether the source is extended",
        ),
        ("sharpness", sharp, "The DAOFind source sharpness statistic"),
        ("roundness", round_, "The DAOFind source roundness statistic"),
        ("nn_label", label, "The label number of the nearest neighbor"),
        ("nn_dist", distance * u.pix, "The distance in pixels to the nearest neighbor"),
    ]


def _isophotal_columns(measured: Measurements) -> list[Column]:
    light = measured.isophotal
    orientation = measured.of_segments("orientation")
    columns: list[Column] = [
        ("isophotal_flux", light.flux * u.Jy, "Isophotal flux, background-subtracted"),
        ("isophotal_flux_err", light.flux_err * u.Jy, f"Isophotal flux error; {_correlated(measured)}"),
        *_magnitudes("isophotal_abmag", "of the isophotal flux", light, 0.0),
        *_magnitudes("isophotal_vegamag", "of the isophotal flux", light, measured.vega_offset),
        ("isophotal_area", measured.of_segments("area") * u.pix**2, "Isophotal area"),
        (
            "semimajor_sigma",
            measured.of_segments("semimajor_axis") * u.pix,
            "1-sigma length of the semimajor axis",
        ),
        (
            "semiminor_sigma",
            measured.of_segments("semiminor_axis") * u.pix,
            "1-sigma length of the semiminor axis",
        ),
        (
            "ellipticity",
            measured.of_segments("ellipticity"),
            "1 minus the ratio of the semiminor and semimajor axes",
        ),
        (
            "orientation",
            orientation * u.deg,
            "Angle from the positive x axis to the major axis, counter-clockwise",
        ),
        (
            "sky_orientation",
            _position_angle(measured, orientation) * u.deg,
            "Position angle from North of the major axis",
        ),
    ]
    corners = {"ll": ("xmin", "ymin"), "ul": ("xmin", "ymax"), "lr": ("xmax", "ymin"), "ur": ("xmax", "ymax")}
    words = {"ll": "lower-left", "ul": "upper-left", "lr": "lower-right", "ur": "upper-right"}
    for corner, (x, y) in corners.items():
        columns.append(
            (f"sky_bbox_{corner}", _corner(measured, x, y), f"{words[corner]} vertex of the bounding box")
        )
    return columns


def _correlated(measured: Measurements) -> str:
    return "of independent pixels" if measured.coefficients is None else "with correlated noise"


def _corner(measured: Measurements, x: str, y: str) -> SkyCoord:
    """Return the outer corner of the bounding boxes' pixels."""
    edges = [
        measured.of_segments(f"bbox_{axis}") + (0.5 if axis.endswith("max") else -0.5) for axis in (x, y)
    ]
    return _sky(measured.wcs, edges[0], edges[1])


def _position_angle(measured: Measurements, orientation: Float64) -> Float64:
    """Return position angles of directions on the mosaic, with North taken at its middle."""
    x, y = (size / 2 for size in measured.data.shape[::-1])
    ra, dec = measured.wcs(x, y, with_bounding_box=False)
    north = measured.wcs.invert(ra, min(dec + 1e-4, 90.0), with_bounding_box=False)
    angle = np.rad2deg(np.arctan2(north[1] - y, north[0] - x))
    return np.asarray(np.mod(180.0 - angle + orientation, 360.0))
