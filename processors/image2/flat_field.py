"""Division by the flat field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from processors.image2.validity import blank_unusable
from processors.invalid import require_values
from processors.options import Options
from processors.steps import step
from schemas.dq import DQ
from schemas.products import Guider, Rate
from schemas.references import ImageReference, References


@step(references=("flat",), options=Options, status="S_FLAT")
def flat_field(rate: Rate | Guider, references: References, options: Options) -> Rate | Guider:
    """Divide an image by the flat field.

    Pixels that the flat does not know (NaN, zero, NO_FLAT_FIELD or DO_NOT_USE) become NaN and DO_NOT_USE. The
    flat's own error enters as `var_flat`, as 0 where it is not known (NaN, infinite or negative); the total
    error is computed anew from the three variances.

    Parameters
    ----------
    rate : Rate or Guider
        Count rates, DN/s.
    references : References
        ``flat``: relative response, its error and its flags.
    options : Options
        None.

    Returns
    -------
    Rate or Guider
        With `var_flat`; guiders' images have it in their error, and keep values of flagged pixels.
    """
    reference = references.image("flat")
    flat, dq = usable_flat(reference)
    if isinstance(rate, Guider):
        return _guiders(rate, flat, dq, _relative_variance(reference, flat))
    out = rate.edit("data", "err", "dq", "var_poisson", "var_rnoise")
    np.divide(out.data, flat, out=out.data)
    relative = _relative_variance(reference, flat)
    var_flat = np.square(out.data) * relative
    squared = np.square(flat)
    out.var_poisson[...] /= squared
    out.var_rnoise[...] /= squared
    np.add(out.var_poisson, out.var_rnoise, out=out.err)
    np.sqrt(np.add(out.err, var_flat, out=out.err), out=out.err)
    out.dq[...] |= dq
    return blank_unusable(replace(out, var_flat=var_flat))


def _guiders(
    images: Guider, flat: NDArray[np.float32], dq: NDArray[np.uint32], relative: NDArray[np.float32]
) -> Guider:
    out = images.edit("data", "err", "dq")
    np.divide(out.data, flat, out=out.data)
    out.err[...] = np.sqrt(np.square(out.err / flat) + np.square(out.data) * relative)
    out.dq[...] |= dq
    return out


def usable_flat(reference: ImageReference) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Return the flat, 1 where it must not be used, and its flags.

    Parameters
    ----------
    reference : ImageReference
        The flat as read.

    Returns
    -------
    flat : ndarray of float32 (ny, nx)
    dq : ndarray of uint32 (ny, nx)

    Raises
    ------
    Unprocessable
        If no value is finite and positive.
    """
    require_values(reference, reference.data, positive=True)
    dq = reference.dq.copy()
    unknown = ~np.isfinite(reference.data) | (reference.data == 0)
    dq[unknown] |= np.uint32(DQ.NO_FLAT_FIELD)
    dq[(dq & np.uint32(DQ.NO_FLAT_FIELD)) != 0] |= np.uint32(DQ.DO_NOT_USE)
    bad = (dq & np.uint32(DQ.DO_NOT_USE)) != 0
    return np.where(bad, np.float32(1), reference.data).astype(np.float32, copy=False), dq


def _relative_variance(reference: ImageReference, flat: NDArray[np.float32]) -> NDArray[np.float32]:
    if reference.err is None:
        return np.zeros_like(flat)
    unknown = ~(np.isfinite(reference.err) & (reference.err >= 0))
    return np.asarray(np.square(np.where(unknown, np.float32(0), reference.err) / flat), np.float32)
