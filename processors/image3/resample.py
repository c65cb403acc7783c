"""Resample images onto one rectified grid by drizzle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from processors.drizzling.accumulate import VARIANCES, Drizzling, Image, Mosaic
from processors.drizzling.correlation import correlation, large_aperture_ratio
from processors.drizzling.footprints import combined
from processors.drizzling.grid import Grid, GridChoice, build_grid, fits_cards, parse_s_region
from processors.drizzling.metadata import exposures
from processors.drizzling.pixmap import between, pixel_map
from processors.drizzling.places import TABLE, place, table_of
from processors.image2.assign_wcs import footprint, polygon
from processors.image3.sets import ImageSet
from processors.options import Options, option, suggestion
from processors.steps import NotApplicable, step
from schemas.dq import DQ
from schemas.errors import Unprocessable, UsageError
from schemas.meta import Meta
from schemas.products import Rate, Resampled
from schemas.references import References

NOISY: Final = 4.0
"""Times the median variance: there a pixel's noise is worse than what its lower weight does to a star."""

Kernel = Literal["square", "gaussian", "point", "turbo", "lanczos2", "lanczos3"]


class ResampleOptions(Options):
    """Options of `resample`."""

    pixfrac: float = option(
        1.0, ge=0, le=1, unit="input pixel", doc="side of the drop that a pixel shrinks to"
    )
    kernel: Kernel = option("square", doc="how a drop's flux is spread over output pixels")
    fillval: str = option("NAN", doc="value of output pixels without coverage: NAN or a number")
    weight_type: Literal["ivm-median", "ivm", "exptime"] = option(
        "ivm-median",
        doc="weight of a pixel: the inverse of its image's median read-noise variance, that of its own, or "
        "its measurement time; pixels that weigh unevenly change the fluxes of stars",
    )
    good_bits: str = option(
        "~DO_NOT_USE+NON_SCIENCE",
        doc="flags that do no harm, joined by +; behind ~, the flags that leave a pixel out",
    )
    variance: Literal["propagated", "interpolated"] = option(
        "propagated",
        doc="propagate variances exactly, or drizzle standard errors like data, as JWST's pipeline does",
    )
    pixel_scale_ratio: float = option(1.0, gt=0, le=100, doc="output over input pixel scale")
    pixel_scale: float | None = option(
        None, gt=0, unit="arcsec", doc="output pixel scale, instead of the ratio"
    )
    rotation: float | None = option(
        None, unit="degree", doc="position angle of the output's y axis; the first input's if not given"
    )
    output_shape: tuple[int, int] | None = option(None, unit="pixel", doc="size of the output in x and y")
    crpix: tuple[float, float] | None = option(
        None, unit="pixel", doc="reference pixel in x and y, 0-indexed"
    )
    crval: tuple[float, float] | None = option(
        None, unit="degree", doc="right ascension and declination of the reference pixel"
    )
    pixmap_tolerance: float = option(
        1e-6,
        ge=0,
        le=0.01,
        unit="output pixel",
        doc="largest error of interpolated pixel positions; 0 computes each exactly",
    )
    keep_pixel_maps: bool = option(
        True,
        doc="keep, in a table of the mosaic, where its pixels lie on each input's: source_catalog then knows "
        "what drizzling did to each source",
    )

    @field_validator("fillval")
    @classmethod
    def _number(cls, value: str) -> str:
        float(value)
        return value


@step(options=ResampleOptions, status="S_RESAMP", scope="exposure", repeatable=True)
def resample(images: ImageSet | Rate, references: References, options: ResampleOptions) -> Resampled:
    """Drizzle calibrated images onto one tangent plane.

    Each is loaded, added and forgotten, so that memory does not grow with their number.

    Parameters
    ----------
    images : ImageSet or Rate
        Calibrated images with WCS, or a single one.
    references : References
        None are needed.
    options : ResampleOptions
        See there.

    Returns
    -------
    Resampled
        Surface brightness in MJy/sr with errors, weights and context. NOISECOR in its header is the noise of
        a large aperture over what its pixels' errors add up to when taken as independent.
    """
    if isinstance(images, Rate):
        if images.data.ndim != 2:
            raise NotApplicable(f"the data have {images.data.ndim} axes; only single images are resampled")
        images = ImageSet.single(images)
    first = next(images.load())[1].meta
    footprints = _footprints(images)
    grid = build_grid(footprints, first.wcs, first, _choice(options))
    how = Drizzling(
        kernel=options.kernel, pixfrac=options.pixfrac, ratio=grid.ratio, fillval=float(options.fillval)
    )
    mosaic = Mosaic(grid.shape, len(images.members), how, interpolate=options.variance == "interpolated")
    noise, has_flat, maps = _add_all(mosaic, images, grid, options)
    arrays: dict[str, Any] = mosaic.finish()
    if not np.any(arrays["wht"] > 0):
        raise Unprocessable(
            f"{', '.join(images.names[:3])}: none of the pixels of the {len(images.names)} images is usable; "
            "look at their DQ, and at good_bits"
        )
    if not has_flat:
        arrays.pop("var_flat")
    outlines = combined(footprints, grid.wcs)
    cards = {
        "NOISECOR": (noise, "Noise of large over independent pixels"),
        "S_REGION": (
            "  ".join(polygon(outline) for outline in outlines),
            "spatial extent of the observation",
        ),
    }
    meta = _meta(images, grid, options).with_science(**cards)
    if options.keep_pixel_maps:
        meta = replace(meta, tables={**meta.tables, TABLE: maps})
    return Resampled(meta=replace(meta, quality=_quality(noise, arrays)), **arrays)


def _add_all(
    mosaic: Mosaic, images: ImageSet, grid: Grid, options: ResampleOptions
) -> tuple[float, bool, NDArray[Any]]:
    """Add the images one by one.

    Returns
    -------
    float, bool, ndarray
        Their mean noise ratio, whether any has a flat's variance, and the table of their pixel maps.
    """
    ratios, has_flat = [], False
    maps: list[NDArray[Any]] = []
    for name, image in images.load():
        prepared = prepare(image, grid, options, name)
        mosaic.add(prepared, measured_time(image.meta, name) if options.weight_type == "exptime" else None)
        ratios.append(_noise_ratio(prepared.pixmap, options))
        maps.append(place(len(maps), prepared.pixmap, prepared.weight))
        has_flat |= image.var_flat is not None
        del image, prepared  # before the next one is loaded
    return float(np.mean(ratios)), has_flat, table_of(maps)


def prepare(image: Rate, grid: Grid, options: ResampleOptions, name: str) -> Image:
    """Return an image with weights and pixel positions, ready to be drizzled.

    Parameters
    ----------
    image : Rate
        Calibrated, with WCS.
    grid : Grid
        Where it goes.
    options : ResampleOptions
        Weights, flags, accuracy.
    name : str
        For a failure's sentence.
    """
    weight = _weight(image, options, name)
    good = weight > 0
    level = image.meta.get("BKGLEVEL")
    data = image.data if level is None or image.meta.get("BKGSUB") else image.data - np.float32(level)
    variances = {key: _clean(getattr(image, key), good) for key in VARIANCES}
    pixmap = pixel_map(between(image.meta.wcs, grid.wcs), image.data.shape, options.pixmap_tolerance)
    window = usable_window(image.meta.wcs, image.data.shape)
    return Image(data=_clean(data, good), weight=weight, variances=variances, pixmap=pixmap, window=window)


def _weight(image: Rate, options: ResampleOptions, name: str) -> NDArray[np.float32]:
    bad = (image.dq & np.uint32(bad_bits(options.good_bits))) != 0
    bad |= ~np.isfinite(image.data)
    weight = np.zeros(image.data.shape, np.float32)
    if options.weight_type == "exptime":
        weight[~bad] = measured_time(image.meta, name)
        return weight
    np.divide(1, image.var_rnoise, out=weight, where=~bad & (image.var_rnoise > 0))
    return _evened(weight) if options.weight_type == "ivm-median" else weight


def _evened(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median weight for all pixels but the noisy ones, which keep their own.

    An output pixel that is mostly of its quieter input pixel shifts a star's light: by two per cent of an
    undersampled star's, for variances that scatter by a tenth. What even weights cost in noise is the square
    of that scatter.
    """
    used = weight > 0
    if not used.any():
        return weight
    middle = np.float32(np.median(weight[used]))
    return np.where(used & (weight * NOISY >= middle), middle, weight)


def measured_time(meta: Meta, name: str) -> float:
    """Return the measurement time of an image, or else its exposure time, in seconds."""
    for keyword in ("TMEASURE", "EFFEXPTM"):
        value = meta.get(keyword)
        if value is not None:
            return float(value)
    raise Unprocessable(
        f"{name}: the header has neither TMEASURE nor EFFEXPTM, which weight_type = exptime needs"
    )


def bad_bits(good_bits: str) -> int:
    """Return the flags that leave a pixel out.

    Parameters
    ----------
    good_bits : str
        Names or values joined by ``+`` or ``,``; behind ``~`` these are the bad ones.

    Raises
    ------
    UsageError
        If a name is unknown.
    """
    listed = 0
    for word in good_bits.removeprefix("~").replace(",", "+").split("+"):
        name = word.strip().upper()
        if not name.isdigit() and name not in DQ.__members__:
            raise UsageError(
                f"good_bits names {word.strip()!r}, which is no flag; {suggestion(name, DQ.__members__)}"
            )
        listed |= int(name) if name.isdigit() else int(DQ[name])
    return listed if good_bits.startswith("~") else ~listed & 0xFFFFFFFF


def usable_window(wcs: Any, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return (xmin, xmax, ymin, ymax), inclusive: the pixels inside the WCS's bounding box."""
    if wcs.bounding_box is None:
        return 0, shape[1] - 1, 0, shape[0] - 1
    (x0, x1), (y0, y1) = wcs.bounding_box.bounding_box(order="F")
    xmin, ymin = max(0, int(x0 + 0.5)), max(0, int(y0 + 0.5))
    return (
        xmin,
        max(xmin, min(shape[1] - 1, int(x1 + 0.5))),
        ymin,
        max(ymin, min(shape[0] - 1, int(y1 + 0.5))),
    )


def _clean(array: NDArray[Any] | None, good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the array with 0 where it must not or cannot be used."""
    if array is None:
        return np.zeros(good.shape, np.float32)
    return np.where(good & np.isfinite(array), array, np.float32(0)).astype(np.float32, copy=False)


def _footprints(images: ImageSet) -> list[NDArray[np.float64]]:
    """Return all footprints: from S_REGION, and where one is missing from the WCS."""
    found = [parse_s_region(str(meta.get("S_REGION") or "")) for meta in images.headers]
    if not all(found):
        found = [[footprint(image.meta.wcs)] for _, image in images.load()]
    return [polygon for polygons in found for polygon in polygons]


def _choice(options: ResampleOptions) -> GridChoice:
    return GridChoice(
        pixel_scale_ratio=options.pixel_scale_ratio,
        pixel_scale=options.pixel_scale,
        rotation=options.rotation,
        crpix=options.crpix,
        crval=options.crval,
        shape=options.output_shape[::-1] if options.output_shape else None,
    )


def _noise_ratio(pixmap: NDArray[np.float64], options: ResampleOptions) -> float:
    """Return the noise of a large aperture over that of independent pixels, at the middle of an image.

    Interpolated errors are those of large apertures already.
    """
    if options.variance == "interpolated":
        return 1.0
    y, x = pixmap.shape[0] // 2, pixmap.shape[1] // 2
    jacobian = np.stack([pixmap[y, x] - pixmap[y, x - 1], pixmap[y, x] - pixmap[y - 1, x]], axis=1)
    return large_aperture_ratio(correlation(options.kernel, options.pixfrac, jacobian))


def _meta(images: ImageSet, grid: Grid, options: ResampleOptions) -> Meta:
    primary: dict[str, Any] = {
        "NDRIZ": (len(exposures(images.headers)), "Number of exposures combined"),
        # JWST knows the name for the kind only; the option itself is in the provenance.
        "RESWHT": (options.weight_type.removesuffix("-median"), "Drizzle weight type"),
        "PIXFRAC": (options.pixfrac, "Fraction by which input pixels were shrunk"),
        "PXSCLRT": (grid.ratio, "Ratio of output to input pixel scale"),
        "KERNEL": (options.kernel, "Drizzle kernel"),
        "FILLVAL": (options.fillval, "Value of pixels without coverage"),
    }
    science: dict[str, Any] = {
        **fits_cards(grid),
        "PIXAR_SR": (grid.area, "Pixel area in steradians"),
        "PIXAR_A2": (grid.scale**2, "Pixel area in arcsec^2"),
    }
    exposure_time = images.meta.get("EFFEXPTM")
    if exposure_time is not None:
        science["XPOSURE"] = (exposure_time, "[s] Effective exposure time")
    return replace(images.meta.with_primary(**primary).with_science(**science), wcs=grid.wcs)


def _quality(noise: float, arrays: dict[str, Any]) -> dict[str, float]:
    covered = arrays["wht"] > 0
    depth = np.bitwise_count(arrays["con"].view(np.uint32)).sum(axis=0)[covered].mean()
    return {"noise_correlation": noise, "mean_depth": float(depth), "coverage": float(covered.mean())}
