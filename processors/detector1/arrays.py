"""What the steps share: ramps that may be written to, and references that fit them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.detector1.irs2 import Interleaving
from processors.modes import is_miri
from processors.steps import NotApplicable
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.products import Ramp
from schemas.references import ImageReference, RampReference, References

STACKS = ("mask", "linearity")
"""Image references that have another number of values for a pixel than one."""


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
        If it has other pixels, or not one value for each (but for ``mask`` and ``linearity``).
    """
    reference = references.image(reftype)
    _check_image(reference, ramp.shape[2:])
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
    _check_image(reference, (int(interleaving.science.sum()), ramp.shape[3]))
    return reference


def ramp_reference(references: References, reftype: str, ramp: Ramp) -> RampReference:
    """Return a reference with groups, whose pixels are those of the ramp.

    Raises
    ------
    Unprocessable
        If it has other pixels, or no group.
    """
    reference = references.ramp(reftype)
    _check_shape(reference, reference.dq.shape, ramp.shape[2:])
    if min(reference.ngroup, reference.nint) < 1:
        raise Unprocessable(
            f"{reference.name}: this {reftype} reference has {reference.nint} integrations of "
            f"{reference.ngroup} groups, and at least one of each is needed; give another file"
        )
    return reference


def group_of(reference: RampReference, index: int) -> NDArray[np.float32]:
    """Return one group (ny, nx) of a reference, integrations following each other.

    Raises
    ------
    Unprocessable
        If its shape is not that of the reference's flags.
    """
    group = reference.group(index)
    if group.ndim != 2:
        raise _no_image(reference, group.shape)
    _check_shape(reference, group.shape, reference.dq.shape)
    return group


def by_integration(ramp: Ramp, nint: int) -> Iterator[tuple[int, slice]]:
    """Yield which of a reference's `nint` integrations an exposure needs, each with those that need it.

    Parameters
    ----------
    ramp : Ramp
        A block of the exposure; its header says which integrations the file has.
    nint : int
        Integrations of the reference. The last is for all that are beyond it.

    Yields
    ------
    index : int
        Of an integration of the reference: the same for every block of the file, so that flags do not
        depend on the division into blocks.
    slice
        The block's integrations that it is for; it may be empty.
    """
    count = len(ramp.data)
    start = first_of_file(ramp.meta)
    first = start + ramp.first_integration
    stop = max(int(ramp.meta.get("INTEND") or ramp.meta.get("NINTS") or 1), first + count)
    for index in range(min(start, nint - 1), min(stop, nint)):
        after = count if index == nint - 1 else index + 1 - first
        yield index, slice(min(max(index - first, 0), count), min(max(after, 0), count))


def first_of_file(meta: Meta) -> int:
    """Return which integration of the exposure, from 0, is its file's first: not 0 in later segments."""
    return int(meta.get("INTSTART") or 1) - 1


def demand_miri(ramp: Ramp) -> None:
    """Refuse exposures of other instruments.

    Raises
    ------
    NotApplicable
        If the exposure is of another instrument than MIRI.
    """
    if not is_miri(ramp.meta):
        instrument = str(ramp.meta.get("INSTRUME", "")) or "none"
        raise NotApplicable(f"only MIRI's detectors need it, and this exposure is of {instrument}")


def _check_image(reference: ImageReference, wanted: tuple[int, ...]) -> None:
    _check_shape(reference, reference.dq.shape, wanted)
    if reference.reftype in STACKS and not reference.data.size:
        return
    if reference.data.ndim != 2 and reference.reftype not in STACKS:
        raise _no_image(reference, reference.data.shape)
    if reference.data.ndim >= 2:
        _check_shape(reference, reference.data.shape[-2:], wanted)


def _no_image(reference: ImageReference | RampReference, shape: tuple[int, ...]) -> Unprocessable:
    return Unprocessable(
        f"{reference.name}: this {reference.reftype} reference has values of shape {shape}, where one for "
        "each pixel is needed; give another file"
    )


def _check_shape(
    reference: ImageReference | RampReference, shape: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    if shape != wanted:
        raise Unprocessable(
            f"{reference.name}: this {reference.reftype} reference has {shape[1]} x {shape[0]} pixels, the "
            f"exposure {wanted[1]} x {wanted[0]}; give one of the exposure's subarray"
        )
