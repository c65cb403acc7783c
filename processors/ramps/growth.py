"""Flags that spread from a jump to its neighbours in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import prange
from numpy.typing import NDArray

from processors.ramps.kernels import JUMP, UNUSABLE, kernel, parallel_kernel


@dataclass(frozen=True)
class Neighbours:
    """Which jumps spread to the four neighbouring pixels, by their significance.

    Charge leaks between pixels by capacitive coupling and diffusion, so a neighbour of a strong hit is spoilt
    below its own detection threshold.

    Parameters
    ----------
    minimum, maximum : float
        Sigma; jumps strictly between them spread.
    """

    minimum: float = 10.0
    maximum: float = 1000.0


@parallel_kernel
def grow(groupdq: NDArray[np.uint8], seeds: NDArray[np.bool_]) -> None:
    """Set JUMP_DET in place on the four neighbours of seeds that are neither saturated nor unusable.

    Parameters
    ----------
    groupdq : ndarray `(ngroup, ny, nx)`, uint8
        Group flags, changed in place.
    seeds : ndarray `(ngroup, ny, nx)`, bool
        Jumps that spread.
    """
    ngroup, ny, nx = groupdq.shape
    for y in prange(ny):
        for g in range(1, ngroup):
            flags, here = groupdq[g, y], seeds[g, y]
            if y > 0:
                _flag(flags, seeds[g, y - 1])
            if y + 1 < ny:
                _flag(flags, seeds[g, y + 1])
            _flag(flags[1:], here[: nx - 1])
            _flag(flags[: nx - 1], here[1:])


@kernel
def _flag(flags: NDArray[np.uint8], seeds: NDArray[np.bool_]) -> None:
    for k in range(flags.size):
        good = seeds[k] & ((flags[k] & UNUSABLE) == 0)
        flags[k] |= JUMP * np.uint8(good)
