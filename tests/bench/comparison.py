"""Compare two or more ways of doing the same: A B A B ..., and the median of the ratios of neighbours.

The load of a shared machine comes and goes. Neighbours in time share most of it, so their ratio is steadier
than the ratio of two medians.
"""

from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Bound:
    """What was promised: `factor` is the least ratio (a speed-up) or the largest one (of memory)."""

    factor: float
    least: bool
    text: str

    def met(self, ratio):
        """Tell whether a ratio keeps it."""
        return ratio >= self.factor if self.least else ratio <= self.factor


FASTER_IN_PROCESS = Bound(12.0, True, "at least 12x")
FASTER_THAN_LIKELY = Bound(25.0, True, "at least 25x")
FASTER_IN_SERVICES = Bound(8.0, True, "at least 8x")
FASTER_AS_PROCESS = Bound(5.0, True, "at least 5x")
FASTER_SEPARATE = Bound(5.0, True, "at least 5x")
HALF = Bound(0.5, True, "at least 0.5x")
FIFTH = Bound(0.2, True, "at least 0.2x")
MEMORY = Bound(1 / 4, False, "at most 1/4")
MEMORY_IN_SERVICES = Bound(1 / 3, False, "at most 1/3")
SERIES = Bound(512e6, False, "at most 512 MB")
LENGTH = Bound(1.1, False, "at most 1.1")


def linear(number):
    """Return the bound on how many times faster so many replicas are: within 15 % of linear."""
    return Bound(0.85 * number, True, f"at least {0.85 * number:.2g}x")


@dataclass
class Samples:
    """What was measured of one way, in order: dictionaries with seconds, cpu, peak, and result."""

    taken: list = field(default_factory=list)

    def of(self, what):
        """Return all values of a figure."""
        return [sample[what] for sample in self.taken]

    def median(self, what):
        """Return the median of a figure."""
        return median(self.of(what))

    @property
    def peak(self):
        """Most memory of all."""
        return max(self.of("peak"))

    def parts(self):
        """Return the median seconds of each part, in the order in which they ran."""
        names = dict.fromkeys(name for sample in self.taken for name in sample["result"])
        return {name: median(sample["result"].get(name, 0.0) for sample in self.taken) for name in names}


def alternate(ways, rounds, say, woken=False):
    """Run each way in turn, `rounds` times over.

    Parameters
    ----------
    ways : mapping of str to callable
        Each returns a sample.
    rounds : int
        How often.
    say : callable
        Told what was measured.
    woken : bool
        Whether each way is gone once more, uncounted, just before: while a process waits for the others, the
        system may take its code and what it read of files from memory, and it is no longer warm.

    Returns
    -------
    dict of str to Samples
    """
    measured = {name: Samples() for name in ways}
    for turn in range(rounds):
        for name, way in ways.items():
            if woken:
                way()
            sample = way()
            measured[name].taken.append(sample)
            say(f"round {turn + 1} of {rounds}, {name}: {sample['seconds']:.2f} s")
    return measured


def ratio(above, below, what):
    """Return the median over rounds of a figure of `above` over that of `below`."""
    return median(a / b for a, b in zip(above.of(what), below.of(what), strict=True))
