"""What the processes of a pipeline hold in memory, sampled while it works."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from statistics import fmean, linear_regression, median

import psutil

GROWTH = 0.03
"""Of its mean a process may grow over the second half of the work, by a straight line through its samples."""
ALLOWANCE = 5e6
"""Bytes that any process may, however small it is."""


@dataclass
class Life:
    """One process: how much was done and what it held at every look.

    Attributes
    ----------
    name : str
        What it is.
    samples : list of tuple
        Share of the work that was done, and bytes.
    """

    name: str
    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def held(self):
        """Return the bytes of all looks."""
        return [held for _, held in self.samples]

    def second_half(self):
        """Return the samples from the second half of the work."""
        return [(done, held) for done, held in self.samples if done >= 0.5]

    @property
    def growth(self):
        """Return by how many bytes it grew over the second half of the work; None if it was gone by then."""
        late = self.second_half()
        if len({done for done, _ in late}) < 2:
            return None
        slope, _ = linear_regression(*zip(*late, strict=True))
        return slope * 0.5

    @property
    def allowed(self):
        """Return by how many bytes it may have grown."""
        return max(ALLOWANCE, GROWTH * fmean(self.held))

    @property
    def flat(self):
        """Tell whether it did not grow more than that."""
        return self.growth is None or self.growth <= self.allowed

    @property
    def middle(self):
        """Return the median of the bytes from the second half, or of all."""
        return median([held for _, held in self.second_half()] or self.held)


class Watcher:
    """Looks at a process and all below it.

    Parameters
    ----------
    pid : int
        Of the supervisor.
    """

    def __init__(self, pid):
        self._root = psutil.Process(pid)
        self.lives = {}

    def look(self, done):
        """Sample all processes; `done` is the share of the work that is."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (self._root, *self._root.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if name := self._name(process):
                        life = self.lives.setdefault((process.pid, process.create_time()), Life(name))
                        life.samples.append((done, process.memory_info().rss))

    def _name(self, process):
        """Return what a process is; nothing for helpers that come and go."""
        line = process.cmdline()
        if process.pid == self._root.pid:
            return "up"
        if "streams.cli" in line:
            return " ".join(line[line.index("streams.cli") + 1 :][: 2 if "serve" in line else 1])
        if any("spawn_main" in word for word in line):
            return f"{self._name(process.parent())}, child"
        return ""
