"""MULTIACCUM readout: frames, groups and their times (JWST User Documentation, "Understanding Exposure
Times").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.errors import UsageError
from simulator.instruments import FULL_SIZE

PATTERNS: Final = {
    "RAPID": (1, 0),
    "BRIGHT1": (1, 1),
    "BRIGHT2": (2, 0),
    "SHALLOW2": (2, 3),
    "SHALLOW4": (4, 1),
    "MEDIUM2": (2, 8),
    "MEDIUM8": (8, 2),
    "DEEP2": (2, 18),
    "DEEP8": (8, 12),
}
"""NIRCam's read patterns: averaged frames of a group, dropped frames between groups."""
OTHERS: Final = {
    "NIS": (4, 0),
    "NISRAPID": (1, 0),
    "FGSRAPID": (1, 0),
    "NRS": (4, 0),
    "NRSRAPID": (1, 0),
    "NRSIRS2": (5, 0),
    "NRSIRS2RAPID": (1, 0),
}
"""Those of the other near-infrared instruments."""
SAMPLE: Final = 10e-6
"""Time between pixels of one output, s."""
OVERHEAD: Final = 12
"""Pixel times between two rows."""


@dataclass(frozen=True)
class Readout:
    """How an integration is sampled."""

    pattern: str
    nframes: int
    groupgap: int
    ngroups: int
    nints: int
    tframe: float
    """Time between frames, s."""

    @property
    def tgroup(self) -> float:
        """Time between groups, s."""
        return self.tframe * (self.nframes + self.groupgap)

    @property
    def integration_time(self) -> float:
        """Time from the reset to the last frame, s."""
        return self.tframe * self.nframes + self.tgroup * (self.ngroups - 1)

    def frames(self, group: int) -> range:
        """Return the 1-based numbers of the frames that are averaged into a group (0-based)."""
        first = group * (self.nframes + self.groupgap) + 1
        return range(first, first + self.nframes)

    def group_of(self, frame: int) -> int:
        """Return the first group (0-based) that a signal arriving during a frame (1-based) shows in."""
        step = self.nframes + self.groupgap
        group, within = divmod(frame - 1, step)
        return group if within < self.nframes else group + 1


def frame_time(shape: tuple[int, int], outputs: int) -> float:
    """Return the time to read a NIRCam (sub)array `shape` ``(ny, nx)`` through so many outputs, s."""
    ny, nx = shape
    extra = 1 if shape == (FULL_SIZE, FULL_SIZE) else 2
    return (nx / outputs + OVERHEAD) * (ny + extra) * SAMPLE


def readout(
    pattern: str,
    ngroups: int,
    nints: int,
    tframe: float,
    patterns: Mapping[str, tuple[int, int]] = PATTERNS,
) -> Readout:
    """Return the readout of an exposure in one of some patterns, NIRCam's unless said.

    Raises
    ------
    UsageError
        If there is no such read pattern, or no group or integration.
    """
    if pattern.upper() not in patterns:
        raise UsageError(f"there is no read pattern {pattern!r}; choose from {', '.join(patterns)}")
    if ngroups < 1 or nints < 1:
        raise UsageError(f"{ngroups} groups and {nints} integrations: both must be at least 1")
    nframes, groupgap = patterns[pattern.upper()]
    return Readout(pattern.upper(), nframes, groupgap, ngroups, nints, tframe)
