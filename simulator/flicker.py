"""1/f noise of the electronics that read a near-infrared detector.

Pixels of an output are read one after the other, so noise that is slow in time lies in stripes along the rows
(Rauscher 2015, PASP 127, 1144). A part of it is the same in all outputs, which read at the same time and in
alternating directions; each has another of its own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator.readout import OVERHEAD

CORRELATED: Final = 3.0
"""Standard deviation over a frame of what all outputs share, electrons."""
UNCORRELATED: Final = 1.0
"""That of what each output has of its own, electrons."""


def pink_frame(
    shape: tuple[int, int], outputs: int, axis: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the 1/f noise (ny, nx) of one read of a window, electrons.

    Parameters
    ----------
    shape : tuple of int
        Window (ny, nx).
    outputs : int
        That read it side by side.
    axis : int
        Axis of the image along which pixels are read, and outputs lie.
    rng : numpy.random.Generator
        Source of randomness.
    """
    lines, width = shape[1 - axis], shape[axis] // outputs
    common = pink_series(lines * (width + OVERHEAD), rng) * CORRELATED
    parts = []
    for output in range(outputs):
        own = pink_series(lines * (width + OVERHEAD), rng) * UNCORRELATED
        part = (common + own).reshape(lines, -1)[:, :width]
        parts.append(part[:, ::-1] if output % 2 else part)
    frame = np.concatenate(parts, axis=1).astype(np.float32)
    return frame if axis == 1 else frame.T


def pink_series(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a series whose power falls as 1/frequency, with mean 0 and standard deviation 1."""
    size = 1 << (length - 1).bit_length()
    frequency = np.arange(size // 2 + 1)
    amplitude = np.zeros(frequency.size)
    amplitude[1:] = frequency[1:] ** -0.5
    phases = rng.standard_normal((2, frequency.size))
    series = np.fft.irfft((phases[0] + 1j * phases[1]) * amplitude, size)[:length]
    return np.asarray((series - series.mean()) / series.std())
