"""Take out the coupling of each pixel with its neighbours."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from processors.detector1.arrays import writable
from processors.detector1.irs2 import Interleaving
from processors.invalid import require_values
from processors.modes import is_miri
from processors.options import Options
from processors.steps import NotApplicable, step
from schemas.errors import Unprocessable
from schemas.products import Ramp
from schemas.references import ImageReference, References, Window
from schemas.stripes import in_stripes

SIZE, BORDER = 2048, 4
MIRI_WIDTH = 1032


class IpcOptions(Options):
    """There are none."""


@step(options=IpcOptions, optional=("ipc",), status="S_IPC")
def ipc(ramp: Ramp, references: References, options: IpcOptions) -> Ramp:
    """Convolve each group with the reference's kernel against inter-pixel capacitance.

    The kernel is one for all pixels, or one for each, which then makes that pixel's value. Reference pixels
    are neither changed nor looked at, and beyond them there is nothing. Where a pixel's kernel is not finite
    it stays. In the zero frame, whose zeros stay, a missing neighbour counts as the pixel itself. Follows the
    JWST documentation of the ipc step.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), DN.
    references : References
        ``ipc``, a kernel (3, 3), or one for each pixel (3, 3, ny, nx).
    options : IpcOptions
        None.

    Returns
    -------
    Ramp
        Float32.

    Raises
    ------
    NotApplicable
        If CRDS says that there is no such reference, or the exposure was read in stripes, most of whose
        neighbours were not.
    Unprocessable
        If the kernel is not of the exposure's pixels.
    """
    if "ipc" not in references:
        raise NotApplicable("CRDS has no ipc reference for such exposures")
    if in_stripes(ramp.meta.primary):
        raise NotApplicable("the exposure was read in stripes, and the rows beside them are not known")
    interleaving = Interleaving.of(ramp)
    kernel = _kernel(references.image("ipc"), ramp, interleaving)
    edges = _edges(ramp)
    out = writable(ramp, "data")
    frames = out.data.reshape(-1, *ramp.shape[2:])
    for images, keep_zero in ((frames, False), (out.zeroframe, True)):
        if images is None:
            continue
        if interleaving is None:
            _convolve(images, kernel, edges, keep_zero)
            continue
        for image in images:
            plane = interleaving.without_references(image[np.newaxis])
            _convolve(plane, kernel, edges, keep_zero)
            image[interleaving.science] = plane[0]
    return out


def _kernel(reference: ImageReference, ramp: Ramp, interleaving: Interleaving | None) -> NDArray[np.float32]:
    """Return a kernel with four axes, the last two of length 1 where all pixels have the same."""
    kernel = reference.data
    ny = ramp.shape[2] if interleaving is None else int(interleaving.science.sum())
    if kernel.ndim == 2 and kernel.size:
        kernel = kernel[:, :, np.newaxis, np.newaxis]
    elif kernel.ndim != 4 or not kernel.size or kernel.shape[2:] != (ny, ramp.shape[3]):
        raise Unprocessable(
            f"{reference.name}: this ipc reference has the shape {kernel.shape}, where a kernel for all "
            f"pixels, or one for each of {ramp.shape[3]} x {ny}, is needed; give another file"
        )
    require_values(reference, kernel)
    known = np.isfinite(kernel).all(axis=(0, 1))
    if known.all():
        return np.ascontiguousarray(kernel)
    neutral = np.zeros_like(kernel)
    neutral[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
    return np.where(known, kernel, neutral)


def _edges(ramp: Ramp) -> tuple[int, int, int, int]:
    """Return how many rows at the bottom and top, and columns on the left and right, see no light."""
    window = Window.of(ramp.meta.primary, ramp.shape[2:])
    if is_miri(ramp.meta):
        right = window.x + window.nx - (MIRI_WIDTH - BORDER)
        return 0, 0, max(0, BORDER - window.x), max(0, right)
    first, last = (window.y, window.x), (window.y + window.ny, window.x + window.nx)
    low = [max(0, BORDER - begin) for begin in first]
    high = [max(0, end - (SIZE - BORDER)) for end in last]
    return low[0], high[0], low[1], high[1]


@njit(cache=True, parallel=True)
def _convolve(frames, kernel, edges, keep_zero):
    nframe, ny, nx = frames.shape
    nj, ni = kernel.shape[:2]
    own = 1 if kernel.shape[2] > 1 or kernel.shape[3] > 1 else 0
    y0, y1, x0, x1 = edges[0], ny - edges[1], edges[2], nx - edges[3]
    for k in prange(nframe):
        given = frames[k].copy()
        total = np.empty(nx, np.float32)
        for y in range(y0, y1):
            total[:] = 0
            # the middle of the kernel comes last: it is the largest, and small numbers are added up first
            for turn in range(nj * ni + 1):
                j, i = (nj // 2, ni // 2) if turn == nj * ni else (turn // ni, turn % ni)
                if turn < nj * ni and j == nj // 2 and i == ni // 2:
                    continue
                near, shift = y + nj - 1 - j - nj // 2, ni - 1 - i - ni // 2
                if near < y0 or near >= y1:
                    continue
                for x in range(max(x0, x0 - shift), min(x1, x1 - shift)):
                    value = given[near, x + shift]
                    if keep_zero and value == 0:
                        value = given[y, x]
                    total[x] += kernel[j, i, own * y, own * x] * value
            for x in range(x0, x1):
                if not (keep_zero and given[y, x] == 0):
                    frames[k, y, x] = total[x]
