"""Add images to a mosaic one by one, with their variances.

The weighted mean of Fruchter and Hook 2002 (PASP 114, 144), eqs. 4 and 5; each variance is propagated through
the same sum with squared weights, which is exact for every output pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from drizzle.resample import Drizzle
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

VARIANCES: Final = ("var_poisson", "var_rnoise", "var_flat")


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image, ready to be added.

    Attributes
    ----------
    data, weight : ndarray of float32 (ny, nx)
        Finite; a weight of 0 leaves a pixel out.
    variances : mapping of str to ndarray of float32 (ny, nx)
        By name from `VARIANCES`; finite.
    pixmap : ndarray (ny, nx, 2)
        Where each pixel falls on the output grid.
    window : tuple of int
        (xmin, xmax, ymin, ymax), inclusive, of the pixels that may be used.
    """

    data: Float32
    weight: Float32
    variances: dict[str, Float32]
    pixmap: NDArray[np.float64]
    window: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Drizzling:
    """How to drizzle.

    Attributes
    ----------
    kernel : str
        Shape of a drop.
    pixfrac : float
        Its side in input pixels.
    ratio : float
        Output over input pixel scale.
    fillval : float
        Value of data without coverage.
    """

    kernel: str
    pixfrac: float
    ratio: float
    fillval: float


class Mosaic:
    """A mosaic being made.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx).
    count : int
        Number of images to come.
    how : Drizzling
        Kernel and drop size.
    interpolate : bool
        Drizzle standard errors as if they were data, as the standard pipeline does, instead of propagating
        variances: errors then do not shrink where an output pixel averages several input pixels.
    names : tuple of str
        Which variances the images have.
    """

    def __init__(
        self, shape: tuple[int, int], count: int, how: Drizzling, *, interpolate: bool = False,
        names: tuple[str, ...] = VARIANCES,
    ) -> None:  # fmt: skip
        self._how = how
        self._names = names
        self._propagated = () if interpolate else names
        self._shape = shape
        zeros = [np.zeros(shape, np.float32) for _ in self._propagated]
        self._drizzle = Drizzle(
            kernel=how.kernel, fillval=str(how.fillval), fillval2="NaN", out_shape=shape,
            out_img2=zeros or None, max_ctx_id=max(count - 1, 0),
        )  # fmt: skip
        self._sums = {name: _Interpolated(shape) for name in names} if interpolate else {}

    def add(self, image: Image, error_weight: float | None = None) -> None:
        """Add one image.

        Parameters
        ----------
        image : Image
            Its arrays are not kept.
        error_weight : float, optional
            Weight of this image among the interpolated errors; by default the inverse of its interpolated
            read-noise variance, pixel by pixel.
        """
        squared = [image.variances[name] for name in self._propagated] or None
        self._drizzle.add_image(image.data, data2=squared, **self._arguments(image))
        if self._sums:
            self._interpolate(image, error_weight)

    def _arguments(self, image: Image) -> dict[str, Any]:
        xmin, xmax, ymin, ymax = image.window
        return {
            "exptime": 1.0, "pixmap": image.pixmap, "weight_map": image.weight, "pixfrac": self._how.pixfrac,
            "pixel_scale_ratio": self._how.ratio, "in_units": "cps",
            "xmin": xmin, "xmax": xmax, "ymin": ymin, "ymax": ymax,
        }  # fmt: skip

    def _interpolate(self, image: Image, error_weight: float | None) -> None:
        found = {}
        for name in self._names:
            one = Drizzle(kernel=self._how.kernel, fillval="NaN", out_shape=self._shape, disable_ctx=True)
            one.add_image(np.sqrt(image.variances[name]), **self._arguments(image))
            found[name] = np.square(one.out_img)
        weight = (
            np.full(self._shape, error_weight, np.float32)
            if error_weight is not None
            else _inverse(found["var_rnoise"])
        )
        for name, variance in found.items():
            self._sums[name].add(variance, weight)

    def finish(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of a `Resampled` by attribute name.

        Where nothing fell, data have the fill value, errors and variances are NaN.
        """
        drizzle = self._drizzle
        arrays: dict[str, NDArray[Any]] = {
            "data": drizzle.out_img,
            "wht": drizzle.out_wht,
            "con": drizzle.out_ctx,
        }
        if self._sums:
            scale = 1 / self._how.ratio**2
            arrays.update({name: total.finish(scale) for name, total in self._sums.items()})
        else:
            arrays.update(dict(zip(self._propagated, drizzle.out_img2 or (), strict=True)))
        empty = ~(drizzle.out_wht > 0)
        arrays["data"][empty] = np.float32(self._how.fillval)
        for name in self._names:
            arrays[name][empty] = np.nan
        variance = np.zeros(self._shape, np.float32)
        for name in self._names:
            variance += arrays[name]
        arrays["err"] = np.sqrt(variance)
        return arrays


class _Interpolated:
    """Sum of w**2 var and of w over the images, for one variance."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._sum = np.zeros(shape, np.float32)
        self._weight = np.zeros(shape, np.float32)

    def add(self, variance: Float32, weight: Float32) -> None:
        good = (variance >= 0) & np.isfinite(variance) & (weight > 0)
        self._sum[good] += variance[good] * weight[good] * weight[good]
        self._weight[good] += weight[good]

    def finish(self, scale: float) -> Float32:
        known = self._weight > 0
        out = np.full_like(self._sum, np.nan)
        out[known] = self._sum[known] * np.float32(scale) / self._weight[known] / self._weight[known]
        return out


def _inverse(variance: Float32) -> Float32:
    out = np.zeros_like(variance)
    np.divide(1, variance, out=out, where=np.isfinite(variance) & (variance > 0))
    return out
