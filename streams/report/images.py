"""Images of a page, stretched and coloured, as data URIs; and which way North is."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

WIDEST: Final = 1600
"""Pixels; wider images are averaged down."""
SKY: Final = ("#05070d", "#0b1a30", "#16385c", "#2b6a8f", "#67a8b3", "#d6d8b4", "#ffe9b8", "#ffffff")
"""From the darkest to the brightest."""
STEPS: Final = ("#e3eefb", "#c3daf3", "#9cc2e8", "#72a6d9", "#4c89c5", "#336eab", "#24558b", "#1a406b")
"""For counts, from 1 on."""
EMPTY: Final = (0.5, 0.5, 0.5, 0.18)
"""Colour where there are no data."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image of the page.

    Attributes
    ----------
    uri : str
        PNG as a data URI.
    width, height : int
        Of the array that it shows, in its pixels; the PNG may have fewer.
    """

    uri: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Compass:
    """Directions on an image that is drawn with its first row at the bottom.

    Attributes
    ----------
    north, east : tuple of float
        Unit vectors (right, down).
    scale : float
        Arcsec per pixel.
    """

    north: tuple[float, float]
    east: tuple[float, float]
    scale: float


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A scale bar: its length in pixels, and what that is."""

    pixels: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Share:
    """How much of an image has a number of exposures.

    Attributes
    ----------
    label, colour : str
        The number, and the colour in which it is shown.
    fraction : float
        Of the covered pixels.
    """

    label: str
    colour: str
    fraction: float


def stretched(data: NDArray[Any], widest: int = WIDEST) -> Picture:
    """Return an image in an asinh stretch (Lupton, Gunn & Szalay 1999, AJ 118, 1406): linear in the noise,
    logarithmic in the bright.

    Parameters
    ----------
    data : ndarray (ny, nx)
        Any unit; NaN is shown as empty.
    widest : int
        Largest side of the PNG, pixels.
    """
    from matplotlib.colors import LinearSegmentedColormap

    small = reduced(np.asarray(data, np.float64), widest)
    level, noise = _level_and_noise(small)
    bright = np.nanquantile(small, 0.9995) if np.isfinite(small).any() else 1.0
    top = np.arcsinh(max((bright - level) / (2 * noise), 10.0))
    low = np.arcsinh(-1.5)
    values = (np.arcsinh((small - level) / (2 * noise)) - low) / (top - low)
    palette = LinearSegmentedColormap.from_list("sky", SKY)(np.linspace(0, 1, 255))
    index = np.round(254 * np.clip(np.nan_to_num(values), 0, 1)).astype(np.int64)
    return _picture(np.where(np.isfinite(small), index, -1), palette, data.shape)


def coverage(counts: NDArray[np.integer[Any]]) -> tuple[Picture, list[Share]]:
    """Return an image of the number of exposures, with its legend.

    Parameters
    ----------
    counts : ndarray of int (ny, nx)
        Exposures that a pixel was made of.
    """
    from matplotlib.colors import to_rgba

    step = max(1, -(-max(counts.shape) // WIDEST))
    small = counts[::step, ::step]
    most = max(int(counts.max()), 1)
    index = np.searchsorted(_edges(most), small) - 1
    palette = np.array([to_rgba(colour) for colour in _palette(most)])
    return _picture(np.where(small > 0, index, -1), palette, counts.shape), _legend(counts, most)


def exposures_per_pixel(con: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return how many inputs each pixel was made of.

    Parameters
    ----------
    con : ndarray of int32 (nplane, ny, nx)
        Context image: a bit for each input.
    """
    return np.asarray(np.bitwise_count(con.view(np.uint32)).sum(axis=0, dtype=np.int32))


def reduced(data: NDArray[np.float64], widest: int) -> NDArray[np.float64]:
    """Average an image down by a whole factor until no side is longer than `widest`."""
    step = max(1, -(-max(data.shape) // widest))
    if step == 1:
        return data
    ny, nx = (size // step * step for size in data.shape)
    blocks = data[:ny, :nx].reshape(ny // step, step, nx // step, step)
    finite = np.isfinite(blocks)
    number = finite.sum(axis=(1, 3))
    sums = np.where(finite, blocks, 0).sum(axis=(1, 3))
    return np.where(number > 0, sums / np.maximum(number, 1), np.nan)


def compass(wcs: Any, shape: tuple[int, ...]) -> Compass:
    """Return where North and East are in the middle of an image.

    Parameters
    ----------
    wcs : gwcs.WCS
        From pixel to sky.
    shape : tuple of int
        (ny, nx).
    """
    y, x = ((size - 1) / 2 for size in shape)
    ra, dec = (float(value) for value in wcs(x, y, with_bounding_box=False))
    step = 1 / 3600
    sign = -1 if dec > 89 else 1
    north = _shift(wcs, (ra, dec + sign * step), (x, y))
    east = _shift(wcs, (ra + step / np.cos(np.deg2rad(dec)), dec), (x, y))
    return Compass(
        north=_unit((sign * north[0], sign * north[1])), east=_unit(east), scale=1 / float(np.hypot(*north))
    )


def scale_bar(scale: float, width: int) -> Bar:
    """Return a bar of a round length, about a sixth of an image's width.

    Parameters
    ----------
    scale : float
        Arcsec per pixel.
    width : int
        Of the image, pixels.
    """
    wanted = scale * width / 6
    choices = [step * 10**power for power in range(-2, 4) for step in (1, 2, 5)]
    length = min(choices, key=lambda choice: abs(np.log(choice / wanted)))
    label = f"{length:g}\N{DOUBLE PRIME}" if length < 60 else f"{length / 60:g}\N{PRIME}"
    return Bar(pixels=length / scale, label=label)


def _shift(wcs: Any, sky: tuple[float, float], start: tuple[float, float]) -> tuple[float, float]:
    x, y = wcs.invert(*sky, with_bounding_box=False)
    return float(x) - start[0], start[1] - float(y)


def _unit(vector: tuple[float, float]) -> tuple[float, float]:
    length = float(np.hypot(*vector))
    return vector[0] / length, vector[1] / length


def _level_and_noise(data: NDArray[np.float64]) -> tuple[float, float]:
    finite = data[np.isfinite(data)]
    if not finite.size:
        return 0.0, 1.0
    level = float(np.median(finite))
    below = finite[finite <= level]  # sources are on the other side
    noise = 1.4826 * float(np.median(level - below))
    return level, noise if noise > 0 else 1.0


def _palette(most: int) -> list[str]:
    if most > len(STEPS):
        return list(STEPS)
    return [STEPS[round(i * (len(STEPS) - 1) / max(most - 1, 1))] for i in range(most)]


def _edges(most: int) -> list[int]:
    """Return the largest number of each colour, after a 0."""
    colours = min(most, len(STEPS))
    return [round(i * most / colours) for i in range(colours + 1)]


def _legend(counts: NDArray[np.integer[Any]], most: int) -> list[Share]:
    covered = max(int((counts > 0).sum()), 1)
    palette = _palette(most)
    edges = _edges(most)
    shares = []
    for low, high, colour in zip(edges, edges[1:], palette, strict=False):
        label = f"{high}" if high == low + 1 else f"{low + 1} to {high}"
        part = int(((counts > low) & (counts <= high)).sum())
        shares.append(Share(label=label, colour=colour, fraction=part / covered))
    return shares


def _picture(
    index: NDArray[np.integer[Any]], palette: NDArray[np.float64], shape: tuple[int, ...]
) -> Picture:
    """Return a PNG with at most 255 colours, and one more for the index -1: no data."""
    from PIL import Image

    pixels = np.where(index < 0, len(palette), index)[::-1].astype(np.uint8)  # the first row is the lowest
    colours = np.round(255 * np.vstack([palette, EMPTY])).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.putpalette(colours.tobytes(), "RGBA")
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True, transparency=colours[:, 3].tobytes())
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(uri=uri, width=shape[1], height=shape[0])
