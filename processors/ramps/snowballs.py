"""Snowballs: large events of the near-infrared detectors, a saturated core within a round patch of jumps.

What is seen of the patch at a detection threshold is surrounded by a halo below it, which shifts the rates of
thousands of pixels; so more than what is seen is flagged (Regan 2024, PASP 136, 024502).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processors.ramps.components import regions
from processors.ramps.ellipses import Bits, Ellipse, flag_grown
from processors.ramps.kernels import JUMP, SAT


@dataclass(frozen=True, kw_only=True)
class SnowballRules:
    """What is a snowball, and how much around it is flagged.

    Attributes
    ----------
    min_jump_area, min_sat_area : float
        Least areas of patch and core, pixels.
    expand_factor : float
        By which the patch's minor axis grows; the major axis grows by as many pixels.
    sat_required : bool
        Whether there must be a core within the patch, in the same group or the next one.
    edge_size : int
        Nearer than that to an edge there need be none, which may lie outside.
    min_sat_radius_extend : float
        Minor axis of a core in pixels from which on it grows.
    sat_expand : int
        Pixels that are added to its full axes, half of them on each side.
    max_radius : float
        Pixels; no ellipse grows beyond.
    """

    min_jump_area: float = 5.0
    min_sat_area: float = 1.0
    expand_factor: float = 2.0
    sat_required: bool = True
    edge_size: int = 25
    min_sat_radius_extend: float = 2.5
    sat_expand: int = 2
    max_radius: float = 200.0


def flag_in_turn(
    groupdq: Bits, rules: SnowballRules, groups: int, before: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """Flag the snowballs of successive integrations, and their cores also in the integration after them.

    Parameters
    ----------
    groupdq : ndarray of uint8 (nint, ngroup, ny, nx)
        With jumps and saturation; changed in place.
    rules : SnowballRules
        What is a snowball.
    groups : int
        As many groups less one of the integration after, from the second on, get JUMP_DET.
    before : ndarray of bool (ny, nx) or None
        Cores of the integration before.

    Returns
    -------
    ndarray of bool (ny, nx) or None
        Cores of the last integration.
    """
    for integration in groupdq:
        _, cores = flag_snowballs(integration, rules)
        if before is not None:
            integration[1:groups, before] |= JUMP
        before = cores
    return before


def flag_snowballs(groupdq: Bits, rules: SnowballRules) -> tuple[int, NDArray[np.bool_]]:
    """Flag the halos of the snowballs of an integration JUMP_DET, and around their cores SATURATED.

    Parameters
    ----------
    groupdq : ndarray of uint8 (ngroup, ny, nx)
        With jumps and saturation; changed in place.
    rules : SnowballRules
        What is a snowball.

    Returns
    -------
    number : int
        Of snowballs.
    cores : ndarray of bool (ny, nx)
        Pixels in the cores of which charge remains.
    """
    ngroup, *shape = groupdq.shape
    cores = np.zeros(shape, bool)
    number = 0
    own = _cores(groupdq, 1, rules) if ngroup > 1 else []
    for group in range(1, ngroup):
        patches = [Ellipse.of(region) for region in regions(groupdq[group], int(JUMP), rules.min_jump_area)]
        if rules.sat_required:
            for core in own:
                _grow_core(groupdq[group:], core, rules, cores)
            following = _cores(groupdq, group + 1, rules) if group + 1 < ngroup else []
            patches = [
                patch for patch in patches if _is_snowball(patch, own + following, groupdq.shape[1:], rules)
            ]
            own = following
        for patch in patches:
            flag_grown(groupdq[group], patch, rules.expand_factor, rules.max_radius)
        number += len(patches)
    return number, cores


def _cores(groupdq: Bits, group: int, rules: SnowballRules) -> list[Ellipse]:
    """Return the regions that saturate in a group."""
    found = regions(groupdq[group], int(SAT), rules.min_sat_area, groupdq[group - 1])
    return [Ellipse.of(region) for region in found]


def _is_snowball(patch: Ellipse, cores: list[Ellipse], shape: tuple[int, ...], rules: SnowballRules) -> bool:
    near_edge = any(
        not rules.edge_size <= where <= max(0, size - rules.edge_size)
        for where, size in zip(patch.centre, shape, strict=True)
    )
    return near_edge or any(patch.holds(core.centre) for core in cores)


def _grow_core(groupdq: Bits, core: Ellipse, rules: SnowballRules, cores: NDArray[np.bool_]) -> None:
    """Flag a large core with what lies next to it saturated from its group on, and note it."""
    if core.minor <= rules.min_sat_radius_extend:
        return
    shape = groupdq.shape[1:]
    widest = 2 * rules.max_radius
    box, inside = core.pixels(
        shape, min(core.major + rules.sat_expand, widest) / 2, min(core.minor + rules.sat_expand, widest) / 2
    )
    here = groupdq[(slice(None), *box)]
    here[:, inside] = (here[:, inside] & ~JUMP) | SAT
    box, inside = core.pixels(shape, core.major / 2, core.minor / 2)
    cores[box] |= inside
