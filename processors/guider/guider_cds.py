"""Count rates of guider data, from the difference of what was read last and first."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from processors.detector1.arrays import image
from processors.invalid import require_values
from processors.options import Options, option
from processors.steps import step
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.products import Guider, Ramp
from schemas.references import References

FOWLER = 4
"""Reads that are averaged at the begin and at the end, when guiding finely."""


class GuiderCdsOptions(Options):
    """Options of the guiders' count rates."""

    noise: Literal["propagated", "standard"] = option(
        "propagated", doc="errors that follow from the reads, or those that the standard pipeline writes"
    )


@step(options=GuiderCdsOptions, references=("gain", "readnoise"), scope="exposure", status="S_GUICDS")
def guider_cds(ramp: Ramp, references: References, options: GuiderCdsOptions) -> Guider:
    """Divide the difference of the last and the first group by the group time.

    When guiding finely (FGS_FINEGUIDE) the means of the last and the first four groups take their places. For
    identification (FGS_ID-IMAGE, FGS_ID-STACK) each pixel is the smaller of its rates in two integrations,
    so that cosmic rays go. The error is that of one difference: read noise, and the Poisson noise of what
    arrived between. Follows the JWST documentation of the guider_cds step; its standard errors count the read
    noise of a difference twice, and the Poisson variance as if the group time were 1 s. Where gain or read
    noise have other pixels than a stack (FGS_ID-STACK), the mean of theirs is taken.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), DN as read.
    references : References
        ``gain`` (electrons per DN) and ``readnoise`` (DN, of a difference of two reads).
    options : GuiderCdsOptions
        Which errors.

    Returns
    -------
    Guider
        (nint, ny, nx), DN/s; (1, ny, nx) for identification. Pixels without gain or read noise have no error
        and are flagged.

    Raises
    ------
    Unprocessable
        If groups or integrations are missing, TGROUP is, or gain or read noise have no positive value.
    """
    time = float(ramp.meta.require("TGROUP"))
    identified = str(ramp.meta.get("EXP_TYPE", "")).startswith("FGS_ID")
    fine = ramp.meta.get("EXP_TYPE") == "FGS_FINEGUIDE"
    reads = FOWLER if fine else 1
    _check(ramp, time, 2 * reads, 2 if identified else 1)
    data = ramp.data.astype(np.float32)
    last = slice(-reads, None) if fine else slice(1, 2)
    counts = data[:, last].mean(axis=1) - data[:, :reads].mean(axis=1)
    if identified:
        counts = np.minimum(counts[1], counts[0])[np.newaxis]
    averaged = reads * int(ramp.meta.get("NFRAMES") or 1)
    variance, unknown = _variance(counts, ramp, references, (time, averaged, options.noise))
    dq = ramp.pixeldq.copy()
    dq[unknown] |= np.uint32(DQ.DO_NOT_USE | DQ.NO_GAIN_VALUE)
    meta = ramp.meta.with_science(BUNIT=("DN/s", "physical units of the data array values"))
    return Guider(
        meta=meta,
        data=(counts / np.float32(time)).astype(np.float32),
        err=np.sqrt(variance).astype(np.float32),
        dq=dq,
    )


def _check(ramp: Ramp, time: float, groups: int, integrations: int) -> None:
    name = ramp.meta.get("FILENAME", "the product")
    if not (np.isfinite(time) and time > 0):
        raise Unprocessable(f"{name}: TGROUP = {time} is no time between groups; mend the header")
    nint, ngroup = ramp.shape[:2]
    if ngroup < groups or nint < integrations:
        raise Unprocessable(
            f"{name}: {nint} integrations of {ngroup} groups, where {ramp.meta.get('EXP_TYPE')} has at least "
            f"{integrations} of {groups}; fetch the file again"
        )


def _plane(references: References, reftype: str, ramp: Ramp) -> NDArray[np.float64]:
    """Return a reference's values of the exposure's pixels.

    A stack is put together of strips and no window of the detector: it gets the mean of all where the
    reference has other pixels.
    """
    reference = references.image(reftype)
    require_values(reference, reference.data, positive=True)
    values = reference.data.astype(np.float64)
    if values.shape != ramp.shape[2:] and "STACK" in str(ramp.meta.get("EXP_TYPE", "")):
        return np.full(ramp.shape[2:], values[np.isfinite(values) & (values > 0)].mean())
    return image(references, reftype, ramp).data.astype(np.float64)


def _variance(
    counts: NDArray[np.float32], ramp: Ramp, references: References, how: tuple[float, int, str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the rates' variance (DN/s)^2, and which pixels have none."""
    time, averaged, noise = how
    planes = []
    for reftype in ("gain", "readnoise"):
        planes.append(_plane(references, reftype, ramp))
    unknown = ~np.logical_and.reduce([np.isfinite(plane) & (plane > 0) for plane in planes])
    gain, readnoise = (np.where(unknown, np.nan, plane) for plane in planes)
    photons = np.maximum(counts, 0) / gain
    if noise == "standard":
        return 2 * (readnoise / time) ** 2 + photons / time, unknown
    return (readnoise**2 / averaged + photons) / time**2, unknown
