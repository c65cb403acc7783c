"""Simulated ramps with known truth, forward from photons and reads, with nothing of the code under test."""

import numpy as np

FRAME = 10.737
GAIN = 1.9
READNOISE = 6.0  # DN, difference of two reads


def read_times(ngroups, nframes=1, gap=0):
    """Read times of evenly spaced groups, seconds."""
    return [[(g * (nframes + gap) + k + 1) * FRAME for k in range(nframes)] for g in range(ngroups)]


def sigma_of_difference(rate, nframes=1, gap=0):
    """Electrons: read noise and photons between two groups, as in `read_times`."""
    return np.hypot(READNOISE * GAIN / np.sqrt(nframes), np.sqrt(rate * FRAME * (nframes + gap)))


def simulate(times, rate, shape, seed, hit=None):
    """Ramps `(ngroup, *shape)` in DN for a rate in e-/s; `hit` is (number of the read, electrons)."""
    rng = np.random.default_rng(seed)
    charge = np.zeros(shape)
    last, read, groups = 0.0, 0, []
    for reads in times:
        total = np.zeros(shape)
        for t in reads:
            charge += rng.poisson(rate * (t - last), shape)
            if hit is not None:
                charge += np.where(hit[0] == read, hit[1], 0.0)
            last, read = t, read + 1
            total += charge / GAIN + rng.normal(0, READNOISE / np.sqrt(2), shape)
        groups.append(total / len(reads))
    return np.array(groups, np.float32)


def planes(shape):
    """Gain and read-noise planes."""
    return np.full(shape, GAIN, np.float32), np.full(shape, READNOISE, np.float32)
