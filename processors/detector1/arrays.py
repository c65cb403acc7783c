"""What the steps share: ramps that may be written to, and references that fit them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from processors.detector1.irs2 import Interleaving
from schemas.errors import Unprocessable
from schemas.products import Ramp
from schemas.references import ImageReference, RampReference, References


def writable(ramp: Ramp, *names: str) -> Ramp:
    """Return a ramp whose arrays `names` may be written to, with data and zero frame in float32.

    Parameters
    ----------
    ramp : Ramp
        With data in any numeric type.
    *names : str
        Attributes; ``data`` brings ``zeroframe`` with it.
    """
    if "data" not in names:
        return ramp.edit(*names)
    raw: dict[str, Any] = {
        name: array.astype(np.float32)
        for name, array in ramp.arrays().items()
        if name in ("data", "zeroframe") and array.dtype != np.float32
    }
    names = (*names, "zeroframe")
    return replace(ramp.edit(*(name for name in names if name not in raw)), **raw)


def image(references: References, reftype: str, ramp: Ramp) -> ImageReference:
    """Return an image reference whose pixels are those of the ramp.

    Raises
    ------
    Unprocessable
        If it has other pixels.
    """
    reference = references.image(reftype)
    _check(reference, reference.dq.shape, ramp)
    return reference


def detector_image(
    references: References, reftype: str, ramp: Ramp, interleaving: Interleaving | None
) -> ImageReference:
    """Return an image reference for the detector's own pixels, of a ramp that may hold others between.

    Raises
    ------
    Unprocessable
        If it has other pixels.
    """
    if interleaving is None:
        return image(references, reftype, ramp)
    reference = references.image(reftype)
    _check_shape(reference, reference.dq.shape, (int(interleaving.science.sum()), ramp.shape[3]))
    return reference


def ramp_reference(references: References, reftype: str, ramp: Ramp) -> RampReference:
    """Return a reference with groups, whose pixels are those of the ramp.

    Raises
    ------
    Unprocessable
        If it has other pixels.
    """
    reference = references.ramp(reftype)
    _check(reference, reference.dq.shape, ramp)
    return reference


def _check(reference: ImageReference | RampReference, shape: tuple[int, ...], ramp: Ramp) -> None:
    _check_shape(reference, shape, ramp.shape[2:])


def _check_shape(
    reference: ImageReference | RampReference, shape: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    if shape != wanted:
        raise Unprocessable(
            f"{reference.name}: this {reference.reftype} reference has {shape[1]} x {shape[0]} pixels, the "
            f"exposure {wanted[1]} x {wanted[0]}; give one of the exposure's subarray"
        )
