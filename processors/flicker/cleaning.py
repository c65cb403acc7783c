"""The noise of an image: its background is taken away, and what is left of dark pixels is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from processors.flicker.background import box_for, smooth_background, with_level, with_surface
from processors.flicker.clipping import (
    SIGMA,
    Image,
    Limits,
    Usable,
    background_limits,
    lower_half_limits,
)
from processors.flicker.differences import Background, Differences, Statistics, residual, sample
from processors.flicker.nsclean import SIZE, Reading, fitted_noise
from processors.flicker.options import FlickerOptions
from processors.flicker.stripes import CHANNEL, Lines
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.references import ImageReference, References, Window

FIXED_SLITS = slice(922, 1116)
"""Rows of NIRSpec's detectors on which its fixed slits shine, open or not."""
ORDER = 2
"""Of the polynomial that follows what varies slowly from line to line."""
NO_SCIENCE = np.uint32(DQ.DO_NOT_USE | DQ.NON_SCIENCE)


@dataclass(frozen=True)
class Cleaner:
    """What finds the noise of an exposure's images.

    Attributes
    ----------
    options : FlickerOptions
        How.
    lines : Lines
        How the stripes lie.
    reading : Reading
        In which order pixels are read.
    flat : ndarray of float32 (ny, nx), optional
        Response that light has, and the noise has not.
    """

    options: FlickerOptions
    lines: Lines
    reading: Reading
    flat: Image | None = None

    @classmethod
    def of(
        cls, meta: Meta, shape: tuple[int, ...], references: References, options: FlickerOptions
    ) -> Cleaner:
        """Return that of an exposure with images `shape` (ny, nx).

        Raises
        ------
        Unprocessable
            If a keyword is missing, or the flat field has other pixels.
        """
        mid_infrared = str(meta.require("EXP_TYPE")).upper().startswith("MIR")
        along = 0 if mid_infrared else abs(int(meta.require("SLOWAXIS"))) - 1
        channels = options.fit_by_channel and not mid_infrared and tuple(shape) == (SIZE, SIZE)
        reading = Reading.of(str(meta.require("DETECTOR")), str(meta.get("SUBARRAY", "")))
        flat = None
        if options.apply_flat_field and "flat" in references:
            flat = _whole_flat(_fitting_flat(references, shape))
        return cls(options, Lines(along, CHANNEL if channels else 0), reading, flat)

    def clean(self, differences: Differences) -> None:
        """Subtract from each group the noise of its difference and of those before, in place.

        Parameters
        ----------
        differences : Differences
            Of successive groups; its ``now`` are changed. The flat field that was divided out is put back on
            the noise.
        """
        background = self._background(differences)
        if self.options.fit_method == "fft":
            self._clean_by_frequency(differences, background)
            return
        noise, scale = self.lines.medians_of(differences, background), self.options.keep_scale
        if scale:
            noise -= _slow(noise, scale)
        self.lines.subtract(noise.cumsum(axis=0), differences.now, self.flat)

    def _clean_by_frequency(self, differences: Differences, background: Background) -> None:
        """Do so with noise that is an image; a group is cleaned when the difference to the next is formed."""
        total = None
        for index in range(len(differences.now)):
            image, usable = residual(differences, index, background)
            if total is not None:
                differences.now[index - 1] -= total
            if usable.any():
                noise = fitted_noise(image, usable, self.reading)
                noise = noise if self.flat is None else noise * self.flat
                total = noise if total is None else total + noise
        if total is not None:
            differences.now[-1] -= total

    def _background(self, differences: Differences) -> Background:
        """Return the background of differences, with limits that leave out what is brighter or fainter."""
        how, none = self.options, Background.none(len(differences.now))
        if how.background_method is None:
            return none
        shape = differences.mask.shape
        found = _within(none, Statistics.of(differences, none), SIGMA, 0)
        if how.background_method == "model":
            found = with_surface(differences, found, how.background_box_size or box_for(shape))
            seen, judged = Statistics.of(differences, found), 2
        else:
            seen, judged = Statistics.of(differences, found), 0
            found = with_level(found, seen.middle, shape[1])
        return _within(found, seen, how.n_sigma, judged) if how.n_sigma > 0 else found

    def background_mask(
        self, rate: Image, dq: NDArray[np.uint32], meta: Meta, references: References
    ) -> Usable:
        """Return which pixels of a rate see nothing but background.

        Known regions of science are those that need no model of the optics: the rows of NIRSpec's fixed slits
        in exposures through its shutters or slicer, shutters that failed open where flags say so, and what
        MIRI's flat field or flags keep out of images. Spectra elsewhere are found by their light.

        Parameters
        ----------
        rate : ndarray of float32 (ny, nx)
            A rate, may be of a draft.
        dq : ndarray of uint32 (ny, nx)
            Its flags.
        meta : Meta
            EXP_TYPE and the window.
        references : References
            ``flat`` for MIRI's images, where there is one.
        """
        how = self.options
        usable = np.isfinite(rate) & (rate != 0)
        if how.mask_science_regions:
            usable &= ~_known_regions(dq, meta, references)
        if self.flat is not None:
            rate = rate / self.flat
        image = np.where(usable, rate, np.float32(0)).astype(np.float32, copy=False)
        if how.n_sigma > 0:
            sigmas = (SIGMA, how.n_sigma)
            values = sample(image, usable)
            _keep(usable, image, background_limits(values, sigmas, how.fit_histogram))
            if how.grow_mask:
                usable &= ~_grown(~usable & (image != 0), how.grow_mask)
        return usable


def _within(background: Background, seen: Statistics, sigmas: float, first: int) -> Background:
    """Return a background with limits, from column `first`, drawn in to some widths about the centre."""
    limits, reach = background.limits.copy(), sigmas * seen.lower
    low, high = limits[:, first], limits[:, first + 1]
    np.maximum(low, (seen.centre - reach).astype(np.float32), out=low)
    np.minimum(high, (seen.centre + reach).astype(np.float32), out=high)
    return replace(background, limits=limits)


def _keep(usable: Usable, image: Image, limits: Limits) -> None:
    """Take out what lies outside limits, in place."""
    usable &= (image >= limits.low) & (image <= limits.high)


def _grown(mask: Usable, steps: int) -> Usable:
    """Return a mask with the four neighbours of its pixels, so many times over."""
    for _ in range(steps):
        wide = mask.copy()
        wide[1:] |= mask[:-1]
        wide[:-1] |= mask[1:]
        wide[:, 1:] |= mask[:, :-1]
        wide[:, :-1] |= mask[:, 1:]
        mask = wide
    return mask


def _slow(values: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """Return what varies slowly from line to line of (n, nline, nchannel): a parabola around each.

    Where there are no lines on one side, it is that of the nearest line that has them (Savitzky and Golay
    1964, Analytical Chemistry 36, 1627); scipy.signal does the same, and takes 60 MB. It is the mean of few
    lines.
    """
    window = min(scale, values.shape[1] - 1) | 1
    if window < ORDER + 2:
        return values.mean(axis=1, keepdims=True)
    half = window // 2
    places = np.linspace(-1, 1, window)[:, np.newaxis]
    basis, _ = np.linalg.qr(places ** np.arange(ORDER + 1))
    fitted = basis @ basis.T
    around = np.lib.stride_tricks.sliding_window_view(values, window, axis=1)
    first, last = fitted[:half] @ values[:, :window], fitted[half + 1 :] @ values[:, -window:]
    return np.concatenate([first, around @ fitted[half], last], axis=1)


def _known_regions(dq: NDArray[np.uint32], meta: Meta, references: References) -> Usable:
    exp_type = str(meta.require("EXP_TYPE")).upper()
    known = np.zeros(dq.shape, np.bool_)
    if exp_type.startswith("NRS"):
        known |= (dq & np.uint32(DQ.MSA_FAILED_OPEN)) != 0
    if exp_type in ("NRS_IFU", "NRS_MSASPEC"):
        first = Window.of(meta.primary, (dq.shape[0], dq.shape[1])).y
        known[max(FIXED_SLITS.start - first, 0) : max(FIXED_SLITS.stop - first, 0)] = True
    if exp_type == "MIR_IMAGE":
        known |= (dq & NO_SCIENCE) != 0
        if "flat" in references:
            flat = _fitting_flat(references, dq.shape)
            known |= ((flat.dq & NO_SCIENCE) != 0) | ~np.isfinite(flat.data) | (flat.data == 0)
    return known


def _fitting_flat(references: References, shape: tuple[int, ...]) -> ImageReference:
    reference = references.image("flat")
    if reference.data.shape != tuple(shape):
        raise Unprocessable(
            f"{reference.name}: this flat reference has shape {reference.data.shape}, the exposure "
            f"{tuple(shape)}; give one of the exposure's subarray"
        )
    return reference


def _whole_flat(reference: ImageReference) -> Image:
    """Return the flat field with a smooth surface where it has no value, so that nothing stands out there."""
    known = np.isfinite(reference.data) & (reference.data != 0)
    if known.all():
        return reference.data
    image = np.where(known, reference.data, np.float32(0))
    usable = known.copy()
    _keep(usable, image, lower_half_limits(sample(image, known), (SIGMA, SIGMA)))
    surface = smooth_background(image, usable, box_for(image.shape))
    return np.where(known, image, surface)
