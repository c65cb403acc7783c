"""The covariance of group differences.

A ramp's groups are averages of reads. The charge is a Poisson process, so groups are correlated with all
earlier ones; the differences of successive groups are correlated with their direct neighbours only, and their
covariance matrix is tridiagonal (Brandt 2024a, PASP 136, 045004). Everything here works on plain differences
``d_i = y_i - y_(i-1)`` in DN, with expectation ``rate * dt_i``; the paper's differences are scaled by ``1 /
dt_i``, which changes nothing in the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Rows and columns of some pixels."""


@dataclass(frozen=True)
class ReadPattern:
    """When the reads were taken that each group averages.

    Parameters
    ----------
    read_times : tuple of tuple of float
        For each group the times of its reads, in seconds since the integration's reset. Groups may be uneven
        in number of reads and in spacing.

    Raises
    ------
    ValueError
        If there is no group, a group has no read, or times are not finite, positive and increasing.
    """

    read_times: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not self.read_times or not all(self.read_times):
            raise ValueError("a read pattern needs at least one group, and each group at least one read")
        times = np.array([t for group in self.read_times for t in group], dtype=np.float64)
        if not np.isfinite(times).all() or times[0] <= 0 or (np.diff(times) <= 0).any():
            raise ValueError(
                "read times must be finite, positive and strictly increasing through the groups; "
                f"got {times.min()} to {times.max()} s in {len(self.read_times)} groups"
            )

    @classmethod
    def of_groups(cls, read_times: Sequence[Sequence[float]]) -> ReadPattern:
        """Make a pattern from any sequence of sequences of read times in seconds."""
        return cls(tuple(tuple(float(t) for t in group) for group in read_times))

    @classmethod
    def regular(
        cls, ngroups: int, nframes: int, groupgap: int, frame_time: float, drop_frames1: int = 0
    ) -> ReadPattern:
        """Make the pattern of JWST's keywords.

        Parameters
        ----------
        ngroups, nframes, groupgap, drop_frames1 : int
            NGROUPS, NFRAMES (reads averaged in a group), GROUPGAP (reads dropped between groups), and reads
            dropped before the first group (DRPFRMS1).
        frame_time : float
            TFRAME, seconds.
        """
        cycle = nframes + groupgap
        frames = [
            range(drop_frames1 + g * cycle + 1, drop_frames1 + g * cycle + nframes + 1)
            for g in range(ngroups)
        ]
        return cls(tuple(tuple(k * float(frame_time) for k in group) for group in frames))

    @property
    def ngroups(self) -> int:
        """Number of groups."""
        return len(self.read_times)

    @cached_property
    def mean_t(self) -> Float64:
        """Mean time of each group's reads, `(ngroup,)`, seconds (Brandt 2024a, eq. 4)."""
        return np.array([np.mean(group) for group in self.read_times])

    @cached_property
    def tau(self) -> Float64:
        """Variance-weighted mean time, `(ngroup,)`, s (eq. 11): the Poisson variance is ``rate * tau``."""
        taus = []
        for group in self.read_times:
            n = len(group)
            weight = 2 * (n - np.arange(n)) - 1
            taus.append(float(np.sum(weight * np.array(group))) / n**2)
        return np.array(taus)

    @cached_property
    def nreads(self) -> Float64:
        """Number of reads in each group, `(ngroup,)`."""
        return np.array([len(group) for group in self.read_times], dtype=np.float64)

    @cached_property
    def table(self) -> Float64:
        """What kernels need of groups, `(3, ngroup)`: mean time, tau, and one over the number of reads."""
        return np.ascontiguousarray(np.stack([self.mean_t, self.tau, 1.0 / self.nreads]))

    @cached_property
    def coefficients(self) -> Float64:
        """Coefficients of the covariance of the differences of successive groups, `(5, ngroup - 1)`.

        In rows: the differences' time spans (seconds), then the paper's alpha and beta (eqs. 28 and 29)
        without their factors ``1 / dt^2``: the diagonal for unit Poisson and unit read noise, and for both
        the element that couples a difference with the one before. A pixel's matrix is Poisson's times rate
        over gain plus read noise's times the variance of one read.
        """
        t, tau, inverse = self.table
        beta_p, beta_r = np.zeros((2, self.ngroups - 1))
        beta_p[1:], beta_r[1:] = (t - tau)[1:-1], -inverse[1:-1]
        alpha_p = tau[1:] + tau[:-1] - 2 * t[:-1]
        return np.ascontiguousarray(
            np.stack([np.diff(t), alpha_p, inverse[1:] + inverse[:-1], beta_p, beta_r])
        )


@dataclass(frozen=True)
class PixelNoise:
    """The noise of each pixel, as JWST's reference files give it.

    Parameters
    ----------
    gain : ndarray `(ny, nx)`, float32
        Electrons per DN (reference type ``gain``).
    readnoise : ndarray `(ny, nx)`, float32
        Noise of the difference of two single reads in DN (reference type ``readnoise``, whose unit is CDS
        noise): one read has ``readnoise / sqrt(2)``, a group of n reads ``readnoise / sqrt(2 n)``.
    dark_rate : ndarray `(ny, nx)`, float32, optional
        Rate in DN/s that was subtracted from the ramps but still makes Poisson noise
        (``average_dark_current``).
    """

    gain: Float32
    readnoise: Float32
    dark_rate: Float32 | None = None

    def arrays(self, shape: tuple[int, ...]) -> tuple[Float32, Float32, Float32]:
        """Return gain, read noise and dark rate as contiguous float32 of one shape.

        Raises
        ------
        ValueError
            If an array does not have the shape of the data.
        """
        dark = np.zeros(shape, dtype=np.float32) if self.dark_rate is None else self.dark_rate
        planes = {"gain": self.gain, "readnoise": self.readnoise, "dark_rate": dark}
        for name, plane in planes.items():
            if plane.shape != shape:
                raise ValueError(
                    f"{name} has shape {plane.shape}, the data {shape}: cut it to the data's subarray"
                )
        gain, readnoise, dark = (np.ascontiguousarray(plane, dtype=np.float32) for plane in planes.values())
        return gain, readnoise, dark

    def of_pixels(self, pixels: Pixels) -> PixelNoise:
        """Return the noise of some pixels alone, `(1, npixel)`."""
        gain, readnoise = (plane[pixels][np.newaxis] for plane in (self.gain, self.readnoise))
        dark = None if self.dark_rate is None else self.dark_rate[pixels][np.newaxis]
        return PixelNoise(gain, readnoise, dark)
