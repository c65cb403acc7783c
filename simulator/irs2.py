"""NIRSpec's IRS2 readout, forward in time: what is read when, by which output, and what drifts meanwhile.

An output of the detector reads half a block of pixels, then turns by turn four reads of reference pixels (two
pixels, each twice) and a block of sixteen; another output reads a voltage that no pixel changes. The drifts
of the electronics are functions of time, the same for pixels and for reference pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.instruments import FULL_SIZE, Detector

BLOCK, JUMP, OUTPUTS, WIDTH = 16, 4, 4, 512
LENGTH = WIDTH + WIDTH // BLOCK * JUMP
"""Reads of one output in a row."""
ROWS = (OUTPUTS + 1) * LENGTH
PERIOD = (BLOCK + JUMP + 2) * (WIDTH // BLOCK) + 8
"""Pixel times of a row: a jump takes one there and one back, and eight pass between rows."""
FRAME_TIME = (PERIOD * FULL_SIZE + 714) * 1e-5
"""s."""
REFERENCE_LEVEL, OUTPUT_LEVEL = 9000.0, 8000.0
"""Of interleaved reference pixels, and of the reference output, DN."""
DRIFT = 4.0
"""Scatter of the drift of each output, and of the one that all share, DN."""
NOISY = (2, 5)
"""Output, and jump in a row, whose first reference pixel is of no use."""


def is_irs2(readpatt: Any) -> bool:
    """Tell whether a read pattern is one of IRS2's."""
    return "IRS2" in str(readpatt).upper()


def _row_of_an_output() -> tuple[list[int], list[int]]:
    """Return where along an output's reads its pixels are, and where its reference pixels."""
    pixels: list[int] = []
    references: list[int] = []
    for read in range(LENGTH):
        place = (read - BLOCK // 2) % (BLOCK + JUMP)
        (references if place < JUMP else pixels).append(read)
    return pixels, references


PIXELS, REFERENCES = _row_of_an_output()


def _times() -> NDArray[np.intp]:
    """Return the pixel time of each read in a row."""
    times, now, inside = [], -1, False
    for read in range(LENGTH):
        turned = (read in REFERENCES) != inside
        inside = inside != turned
        now += 2 if turned else 1
        times.append(now)
    return np.array(times)


TIMES = _times()


def interleaved(pixels: NDArray[Any], detector: Detector, others: float, output: float = 0) -> NDArray[Any]:
    """Return an image as IRS2 stores it, with constants where other things than pixels are read.

    Parameters
    ----------
    pixels : ndarray (2048, 2048)
        In DMS orientation.
    detector : Detector
        NRS1 or NRS2.
    others, output : float
        Value of interleaved reference pixels, and of the reference output.
    """
    native = pixels.T if detector.name == "NRS1" else pixels.T[::-1, ::-1]
    raw = np.full((FULL_SIZE, OUTPUTS + 1, LENGTH), others, pixels.dtype)
    raw[:, 0] = output
    for k in range(OUTPUTS):
        columns = native[:, k * WIDTH : (k + 1) * WIDTH]
        backwards = k % 2 == 1
        raw[:, k + 1, PIXELS] = columns[:, ::-1] if backwards else columns
        if backwards:
            raw[:, k + 1] = raw[:, k + 1, ::-1].copy()
    return _stored(raw, detector)


def _stored(raw: NDArray[Any], detector: Detector) -> NDArray[Any]:
    flat = raw.reshape(FULL_SIZE, ROWS)
    return np.ascontiguousarray(flat.T if detector.name == "NRS1" else flat[::-1, ::-1].T)


def levels(bias: NDArray[np.float32], detector: Detector) -> NDArray[np.float32]:
    """Return the bias of everything that is read, as IRS2 stores it, DN."""
    return interleaved(bias, detector, REFERENCE_LEVEL, OUTPUT_LEVEL)


def add_readout(
    frames: NDArray[np.uint16], detector: Detector, noise: float, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Return frames (nframe, 2048, 2048) as IRS2 reads them, drifts and noise of what is read between added.

    Parameters
    ----------
    frames : ndarray of uint16
        Without drifts, DN.
    detector : Detector
        NRS1 or NRS2.
    noise : float
        Of a read of a reference pixel, DN.
    rng : numpy.random.Generator
        Source of randomness.
    """
    made = np.empty((len(frames), ROWS, FULL_SIZE), np.uint16)
    for k, frame in enumerate(frames):
        level = levels(frame.astype(np.float32), detector)
        level += _stored(_drifts(noise, rng), detector)
        made[k] = np.rint(level).clip(0, 65535)
    return made


def _drifts(noise: float, rng: np.random.Generator) -> NDArray[np.float32]:
    shared = _wandering(rng)
    raw = np.empty((FULL_SIZE, OUTPUTS + 1, LENGTH), np.float32)
    raw[:, 0] = (shared[:, TIMES] + noise * rng.standard_normal((FULL_SIZE, LENGTH)))[:, ::-1]
    for k in range(1, OUTPUTS + 1):
        reads = (shared + _wandering(rng))[:, TIMES]
        reads[:, REFERENCES] += noise * rng.standard_normal((FULL_SIZE, len(REFERENCES)))
        if k == NOISY[0]:
            first = REFERENCES[NOISY[1] * JUMP]
            reads[:, first : first + 2] += 300 * rng.standard_normal((FULL_SIZE, 2))
        raw[:, k] = reads[:, ::-1] if k % 2 == 0 else reads
    return raw


def _wandering(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a series (2048, PERIOD) with a power that falls as one over the frequency."""
    count = PERIOD * FULL_SIZE
    half = count // 2 + 1
    spectrum = rng.standard_normal(half) + 1j * rng.standard_normal(half)
    spectrum[1:] /= np.sqrt(np.arange(1, half))
    series = np.fft.irfft(spectrum, count)
    return np.asarray(series * (DRIFT / series.std()), np.float32).reshape(FULL_SIZE, PERIOD)


def filters() -> NDArray[Any]:
    """Return the table of the ``refpix`` reference: factors alpha and beta for each frequency and output.

    Slow drifts are those of the reference pixels, of which 256 in 712 pixel times tell something; faster
    ones, that are shared, those of the reference output.
    """
    count = PERIOD * FULL_SIZE
    frequency = np.minimum(np.arange(count), count - np.arange(count))
    slow = _closing(frequency, 3000, 20000)
    shared = 0.5 * (1 - slow) * _closing(frequency, 20000, 60000)
    signed = np.where(np.arange(count) > count // 2, -1, 1) * frequency
    delay = np.exp(-2j * np.pi * signed * 0.5 / count)
    told = 2 * JUMP * (WIDTH // BLOCK) / PERIOD
    columns = {"alpha": shared * delay, "beta": slow / told * delay}
    table = np.empty(2 * count, [(f"{name}_{k}", "f4") for name in columns for k in range(OUTPUTS)])
    for name, values in columns.items():
        for k in range(OUTPUTS):
            table[f"{name}_{k}"][0::2] = values.real
            table[f"{name}_{k}"][1::2] = values.imag
    return table


def _closing(frequency: NDArray[Any], begin: float, end: float) -> NDArray[np.float64]:
    along = np.clip((frequency - begin) / (end - begin), 0, 1)
    return np.asarray((1 + np.cos(np.pi * along)) / 2)


def bad_references() -> NDArray[Any]:
    """Return the table DQ of the ``refpix`` reference: a bit for each jump whose odd or even pixel is bad."""
    output, jump = NOISY
    # Even outputs are read from right to left: the table counts jumps from the left, and calls the pixel odd
    # that is read first.
    bit = WIDTH // BLOCK - 1 - jump
    rows = [
        (k, parity, (1 << bit) * ((k, parity) == (output, 1)))
        for k in range(1, OUTPUTS + 1)
        for parity in (1, 2)
    ]
    return np.array(rows, [("OUTPUT", "u2"), ("ODD_EVEN", "u2"), ("MASK", "u4")])
