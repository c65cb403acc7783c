"""Remove 1/f noise from the groups of ramps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from processors.detector1.arrays import writable
from processors.detector1.readout import pixel_noise
from processors.flicker.cleaning import Cleaner
from processors.flicker.clipping import Image
from processors.flicker.differences import Differences
from processors.flicker.options import FlickerOptions, demand_applicable
from processors.options import option
from processors.ramps import ols
from processors.ramps.combine import OlsRate
from processors.steps import NotApplicable, Scope, off, step
from schemas.products import Ramp
from schemas.references import References


class CleanFlickerNoiseOptions(FlickerOptions):
    """Options of the cleaning of groups."""

    single_mask: bool = option(
        True, doc="whether one mask is made for all integrations, or each has one of its own"
    )


def _scope(options: CleanFlickerNoiseOptions) -> Scope:
    return "exposure" if options.single_mask else "integration"


@off
@step(
    options=CleanFlickerNoiseOptions,
    references=("gain", "readnoise"),
    optional=("flat",),
    scope=_scope,
    status="S_CLNFNS",
)
def clean_flicker_noise(ramp: Ramp, references: References, options: CleanFlickerNoiseOptions) -> Ramp:
    """Subtract from each group the stripes that its difference from the group before shows in the background.

    Background are the pixels that are dark in a draft rate, and in that difference. A level or a smooth
    surface is taken away from them and left in the data. ``median`` takes the median of each line of pixels
    along the direction of reading (of each column in MIRI's images); ``fft`` fits low frequencies in time
    (NSClean, Rauscher 2024, PASP 136, 015001). Differences are summed up again, so that a group has lost the
    noise of all before it. Groups with DO_NOT_USE or JUMP_DET do not count; values that are not finite stay.

    With ``mask_science_regions`` NIRSpec's slits and slices are known only as far as
    `Cleaner.background_mask` says: where they see light.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), linearised DN.
    references : References
        ``gain`` (electrons per DN), ``readnoise`` (DN), and ``flat`` where it is asked for.
    options : CleanFlickerNoiseOptions
        How.

    Returns
    -------
    Ramp
        Float32; flags stay as they are.

    Raises
    ------
    NotApplicable
        If the exposure cannot be cleaned this way, or has a single group.
    Unprocessable
        If a keyword is missing, or a reference has other pixels.
    """
    demand_applicable(ramp.meta, options)
    if ramp.shape[1] < 2:
        raise NotApplicable("a single group has no difference from the one before")
    cleaner = Cleaner.of(ramp.meta, ramp.shape[2:], references, options)
    drafts = _drafts(ramp, references, options.single_mask)
    out = writable(ramp, "data")
    mask = np.zeros((0, 0), np.bool_)
    for i in range(ramp.shape[0]):
        if not (options.single_mask and i):
            mask = cleaner.background_mask(*next(drafts), ramp.meta, references)
        groups = out.data[i]
        cleaner.clean(Differences(groups[:-1], groups[1:], out.groupdq[i, 1:], mask, cleaner.flat))
    return out


def _drafts(ramp: Ramp, references: References, single: bool) -> Iterator[tuple[Image, NDArray[np.uint32]]]:
    """Yield rates and flags of the integrations, or one of all, by ordinary least squares.

    Only sources are looked for in them, and nobody asks for their Poisson variances.
    """
    meta, shape = ramp.meta, ramp.shape[2:]
    timing = ols.Timing(
        float(meta.require("TGROUP")), float(meta.require("TFRAME")), int(meta.require("NFRAMES"))
    )
    noise = pixel_noise(references, shape, ramp.average_dark_current)
    if not single or ramp.shape[0] == 1:
        for data, groupdq in zip(ramp.data, ramp.groupdq, strict=True):
            yield ols.draft_slopes(data, groupdq, timing, noise, ramp.pixeldq)
        return
    average, rate = OlsRate(shape), np.zeros(shape)
    for data, groupdq in zip(ramp.data, ramp.groupdq, strict=True):
        average.add(ols.fit_slopes(data, groupdq, timing, noise, pixeldq=ramp.pixeldq, rate=rate))
    found = average.result()
    yield found.slope, found.dq
