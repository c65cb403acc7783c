"""How much of a point source's light an aperture catches on a mosaic.

Drizzling averages light over drops and output pixels, and the aperture over output pixels once more, so
that an aperture catches less of an undersampled source than on the detector, for which ``apcorr`` is made,
and more or less of it with the source's place within pixels. Both are computed here, by drizzling a model of
the source with the mosaic's own kernel: at its place within the pixels of each input where the mosaic tells
that, else at random places, whose scatter is then part of the flux's error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processors.drizzling.accumulate import Drizzling, Image, Mosaic
from processors.drizzling.places import TABLE, Place, places
from processors.image3.apertures import Apertures
from processors.image3.point_source import PointSource, point_source
from schemas.meta import Meta
from schemas.products import Resampled

Float64 = NDArray[np.float64]

PHASES: Final = 160
"""Random places that are drizzled."""
MOST_INPUTS: Final = 8
"""Inputs that are drizzled for a source at most; more of them hardly change what all together do."""
DIAMETER: Final = 6.6
"""Of JWST's pupil, m."""
_NOISE: Final = ("var_rnoise",)
_EVERYWHERE: Final = (-1000, 1000, -1000, 1000)


@dataclass(frozen=True, kw_only=True, eq=False)
class Totals:
    """What leads from the light in the last aperture to a point source's total.

    Attributes
    ----------
    factor, relative_error : ndarray (nsource,)
        The factor, and the error of the flux that it brings.
    noise : ndarray (nsource,)
        Error of a sum of pixels over what the mean correlation of pixels says.
    how : str
        Half a sentence for a column's description.
    """

    factor: Float64
    relative_error: Float64
    noise: Float64
    how: str


def reference_totals(circles: Apertures, count: int) -> Totals:
    """Return the reference's own correction for all of `count` sources, as JWST's pipeline has it."""
    return Totals(
        factor=np.full(count, circles.corrections[-1]), relative_error=np.zeros(count), noise=np.ones(count),
        how="by the aperture correction of apcorr",
    )  # fmt: skip


def drizzled_totals(mosaic: Resampled, xy: Float64, circles: Apertures, wavefront: float) -> Totals:
    """Return corrections that know what drizzling did.

    Parameters
    ----------
    mosaic : Resampled
        With KERNEL, PIXFRAC and PXSCLRT; with the table `PIXEL_MAPS` places within pixels are known.
    xy : ndarray (nsource, 2)
        Positions; NaN gives the mean correction.
    circles : Apertures
        The last one is corrected.
    wavefront : float
        Root mean square of the telescope's wavefront error, nm: it makes sources deviate from round ones.

    Raises
    ------
    Unprocessable
        If the reference does not tell the shape of a point source.
    """
    meta = mosaic.meta
    how = drizzling_of(meta)
    radius = circles.radii[-1]
    source = point_source(circles.curve, reach=(radius + 6) * max(how.ratio, 1.0))
    net = 1 / circles.corrections[-1] - source.encircled(radius * how.ratio)
    usual = typical(source, how, radius)
    spread = usual.scatter(_depths(mosaic, xy))
    caught, error, noise = np.full(len(xy), usual.caught), spread, np.ones(len(xy))
    says = "at random places in pixels"
    if TABLE in meta.tables:
        known = at_places(source, how, radius, xy, mosaic)
        found = np.isfinite(known.caught)
        caught = np.where(found, known.caught, caught)
        unknown = np.hypot(spread * _unround(source, meta, how, wavefront), known.uneven)
        error = np.where(found, unknown, spread)
        noise = np.where(found, np.sqrt(usual.variance / known.variance), 1.0)
        says = "at the sources' places in the inputs' pixels"
    total = net + caught
    return Totals(
        factor=1 / total, relative_error=error / total, noise=noise,
        how=f"by the aperture correction of apcorr and what drizzling does to light {says}",
    )  # fmt: skip


def drizzling_of(meta: Meta) -> Drizzling:
    """Return how a mosaic was drizzled, from its header."""
    pixfrac = meta.get("PIXFRAC")
    return Drizzling(
        kernel=str(meta.get("KERNEL") or "square"), pixfrac=1.0 if pixfrac is None else float(pixfrac),
        ratio=float(meta.get("PXSCLRT") or 1.0), fillval=0.0,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Typical:
    """What an aperture catches at random places within pixels.

    Attributes
    ----------
    caught : float
        The mean light.
    common, independent : float
        Its variance, what all inputs share and what each has of its own: the place within the mosaic's pixels
        and those within theirs.
    variance : float
        Mean variance of a mosaic's pixel, of one input with unit variance.
    """

    caught: float
    common: float
    independent: float
    variance: float

    def scatter(self, depth: NDArray[np.intp]) -> Float64:
        """Return the standard deviation of the light, for numbers of inputs (nsource,)."""
        return np.asarray(np.sqrt(self.common + self.independent / depth))


def typical(source: PointSource, how: Drizzling, radius: float) -> Typical:
    """Return what an aperture catches of a source at random places.

    Parameters
    ----------
    source : PointSource
        Its light on the detector.
    how : Drizzling
        Of the mosaic.
    radius : float
        Mosaic pixels.
    """
    rng, several = np.random.default_rng(20), 4
    one, more = ([_random(source, how, radius, n, rng) for _ in range(PHASES)] for n in (1, several))
    first, second = (np.var([tile.light.sum() for tile in tiles]) for tiles in (one, more))
    independent = max(float(first - second) / (1 - 1 / several), 0.0)
    return Typical(
        caught=float(np.mean([tile.light.sum() for tile in more])),
        common=max(float(second) - independent / several, 0.0), independent=independent,
        variance=float(np.mean([tile.variance for tile in more])),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What apertures catch of sources at known places.

    Attributes
    ----------
    caught : ndarray (nsource,)
        The light; NaN for a source that is on no input.
    uneven : ndarray (nsource,)
        How much of it has other weights than whole and even inputs give: where pixels are missing.
    variance : ndarray (nsource,)
        Mean variance of the mosaic's pixels, of one input with unit variance.
    """

    caught: Float64
    uneven: Float64
    variance: Float64


def at_places(source: PointSource, how: Drizzling, radius: float, xy: Float64, mosaic: Resampled) -> Known:
    """Return what apertures catch of sources at known places.

    Parameters
    ----------
    source : PointSource
        Its light on the detector.
    how : Drizzling
        Of the mosaic.
    radius : float
        Mosaic pixels.
    xy : ndarray (nsource, 2)
        Positions on the mosaic.
    mosaic : Resampled
        With the table of its inputs' pixel maps.
    """
    found = places(mosaic.meta.tables[TABLE], np.nan_to_num(xy, nan=-1e6))
    near = np.array([_near(place, radius) for place in found]).reshape(len(found), len(xy))
    values = np.full((3, len(xy)), np.nan)
    for index in np.flatnonzero(near.any(axis=0)):
        reached = np.flatnonzero(near[:, index])
        chosen = [found[i].at(index) for i in reached[_spread(reached.size)]]
        tile = _tile(source, how, radius, xy[index], chosen)
        uneven = tile.unlike(mosaic.wht, len(chosen) / reached.size)
        values[:, index] = tile.light.sum(), uneven, tile.variance
    caught, unlike, variance = values
    return Known(caught=caught, uneven=unlike, variance=variance)


def _near(place: Place, radius: float) -> NDArray[np.bool_]:
    """Tell which positions are so near an input that it adds to their apertures."""
    xmin, xmax, ymin, ymax = place.window
    reach = (radius + 1) * np.abs(place.jacobian).sum(axis=2) + 1
    x, y = place.xy.T
    inside = (x > xmin - reach[:, 0]) & (x < xmax + reach[:, 0])
    return np.asarray(inside & (y > ymin - reach[:, 1]) & (y < ymax + reach[:, 1]) & (place.weight > 0))


def _spread(count: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, MOST_INPUTS)).astype(np.intp))


def _random(
    source: PointSource, how: Drizzling, radius: float, count: int, rng: np.random.Generator
) -> _Tile:
    jacobian = np.eye(2)[None] * how.ratio
    inputs = [
        Place(input=i, weight=1.0, window=_EVERYWHERE, xy=rng.uniform(-0.5, 0.5, (1, 2)), jacobian=jacobian)
        for i in range(count)
    ]
    return _tile(source, how, radius, rng.uniform(-0.5, 0.5, 2), inputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tile:
    """The mosaic's pixels around a source: lower left corner, light in the aperture, weights, and the mean
    variance in the aperture, of one input with unit variance.
    """

    corner: tuple[int, int]
    light: Float64
    weight: NDArray[np.float32]
    variance: float

    def unlike(self, weight: NDArray[np.float32], part: float) -> float:
        """Return the light in pixels times by how much their weight in the mosaic differs from this one's.

        Parameters
        ----------
        weight : ndarray (ny, nx)
            The mosaic's.
        part : float
            Of the inputs, which the tile has.
        """
        slices, own = [], []
        for begin, size, whole in zip(self.corner[::-1], self.light.shape, weight.shape, strict=True):
            low, high = max(begin, 0), min(begin + size, whole)
            slices.append(slice(low, max(high, low)))
            own.append(slice(low - begin, max(high, low) - begin))
        light, mine = self.light[tuple(own)], self.weight[tuple(own)]
        lit = mine > 0
        ratio = weight[tuple(slices)][lit] * part / mine[lit]
        return float((light[lit] * np.abs(ratio - 1)).sum())


def _tile(source: PointSource, how: Drizzling, radius: float, xy: Float64, inputs: Sequence[Place]) -> _Tile:
    """Drizzle a source at a position on the mosaic."""
    from photutils.aperture import CircularAperture

    half = int(np.ceil(radius)) + 1
    middle = np.rint(xy)
    offset = xy - middle
    mosaic = Mosaic((2 * half + 1, 2 * half + 1), len(inputs), how, names=_NOISE)
    for place in inputs:
        mosaic.add(_image(source, how, half, offset, place))
    arrays = mosaic.finish()
    # Light is per area of the detector's pixels; that of the mosaic's is in the Jacobian.
    area = float(np.mean([abs(np.linalg.det(place.jacobian[0])) for place in inputs]))
    mask = CircularAperture(offset + half, radius).to_mask(method="exact").to_image(arrays["data"].shape)
    x, y = (int(value) for value in middle)
    weights = np.array([place.weight for place in inputs])
    variance = np.average(np.nan_to_num(arrays[_NOISE[0]]), weights=mask)
    return _Tile(
        corner=(x - half, y - half), light=area * mask * arrays["data"].astype(float), weight=arrays["wht"],
        variance=float(variance * weights.sum() ** 2 / np.square(weights).sum()),
    )  # fmt: skip


def _image(source: PointSource, how: Drizzling, half: int, offset: Float64, place: Place) -> Image:
    """Return the part of an input that reaches the mosaic's pixels within `half` of the middle one."""
    middle = np.rint(place.xy[0])
    dx, dy = place.xy[0] - middle
    jacobian = place.jacobian[0]
    # A drop reaches one pixel of the input farther at most, those of Lanczos three.
    side = int(np.ceil((half + 1) * np.abs(jacobian).sum(axis=1).max())) + 1 + 2 * ("lanczos" in how.kernel)
    steps = np.arange(-side, side + 1.0)
    away = np.stack(np.meshgrid(steps - dx, steps - dy), axis=-1)
    columns, rows = (middle + steps[:, None]).T
    xmin, xmax, ymin, ymax = place.window
    inside = ((rows >= ymin) & (rows <= ymax))[:, None] & (columns >= xmin) & (columns <= xmax)
    return Image(
        data=source.pixels(float(dx), float(dy), side).astype(np.float32),
        weight=(inside * place.weight).astype(np.float32),
        variances={name: np.ones(inside.shape, np.float32) for name in _NOISE},
        pixmap=away @ np.linalg.inv(jacobian).T + offset + half,
        window=(0, steps.size - 1, 0, steps.size - 1),
    )  # fmt: skip


def _unround(source: PointSource, meta: Meta, how: Drizzling, wavefront: float) -> float:
    """Return which part of the scatter between places a round model leaves unexplained.

    Aberrations take the part 1 - S of the light from the round core, S = exp(-(2 pi w / wavelength)^2) by
    Marechal's formula, and scatter it unevenly. The scatter of simulated stars in apertures with 70 % of
    their light, from 0.7 to 4.4 micron, is half of it as a variance; it is less in smaller apertures.
    """
    scale = np.sqrt(float(meta.require("PIXAR_SR"))) / how.ratio
    wavelength = source.resolution * scale * DIAMETER
    strehl = np.exp(-np.square(2 * np.pi * wavefront * 1e-9 / wavelength))
    return float(np.sqrt((1 - strehl) / 2))


def _depths(mosaic: Resampled, xy: Float64) -> NDArray[np.intp]:
    """Return the number of inputs at each position, 1 at least."""
    bits = _context(mosaic, xy)
    return np.maximum(np.bitwise_count(bits).sum(axis=0), 1).astype(np.intp)


def _context(mosaic: Resampled, xy: Float64) -> NDArray[np.uint32]:
    """Return the context at each position, (nplane, nsource); 0 outside."""
    ny, nx = mosaic.data.shape
    x, y = np.rint(np.nan_to_num(xy, nan=-1.0)).astype(np.intp).T
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    context = mosaic.con.reshape(-1, ny, nx)[:, np.where(inside, y, 0), np.where(inside, x, 0)]
    return np.where(inside, np.ascontiguousarray(context).view(np.uint32), np.uint32(0))
