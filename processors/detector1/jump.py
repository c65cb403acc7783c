"""Find the jumps that cosmic rays leave in ramps."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from processors.detector1.readout import pixel_noise, read_pattern
from processors.options import Options, option
from processors.ramps import jumps, twopoint
from processors.ramps.covariance import PixelNoise
from processors.ramps.growth import Neighbours
from processors.ramps.showers import ShowerRules, flag_showers
from processors.ramps.snowballs import SnowballRules, flag_in_turn
from processors.steps import NotApplicable, Scope, joining, step
from schemas.products import Ramp
from schemas.references import References


class JumpOptions(Options):
    """Options of the jump detection; each threshold belongs to one method."""

    method: Literal["likelihood", "two_point"] = option("likelihood", doc="how jumps are found")
    likelihood_threshold_one: float = option(
        20.25, gt=0, unit="chi-squared", doc="decrease beyond which one difference is taken out (likelihood)"
    )
    likelihood_threshold_two: float = option(
        23.8,
        gt=0,
        unit="chi-squared",
        doc="decrease beyond which two successive differences are taken out (likelihood)",
    )
    rejection_threshold: float = option(
        4.0, gt=0, unit="sigma", doc="for four or more differences (two_point)"
    )
    four_group_rejection_threshold: float = option(
        5.0, gt=0, unit="sigma", doc="for three differences (two_point)"
    )
    three_group_rejection_threshold: float = option(
        6.0, gt=0, unit="sigma", doc="for two differences (two_point)"
    )
    min_diffs_single_pass: int = option(
        10, ge=1, unit="differences", doc="from here on all are judged at once (two_point)"
    )
    minimum_sigclip_groups: int = option(
        100, ge=2, unit="integrations", doc="from here on each is compared with the others (two_point)"
    )
    flag_4_neighbors: bool = option(True, doc="flag the four neighbours of a jump too")
    min_jump_to_flag_neighbors: float = option(10.0, ge=0, unit="sigma", doc="smaller jumps do not spread")
    max_jump_to_flag_neighbors: float = option(1000.0, ge=0, unit="sigma", doc="larger jumps do not spread")
    after_jump_flag_dn1: float = option(
        0.0, ge=0, unit="DN", doc="jumps of at least this size have groups flagged after them"
    )
    after_jump_flag_time1: float = option(0.0, ge=0, unit="seconds", doc="for how long after those jumps")
    after_jump_flag_dn2: float = option(0.0, ge=0, unit="DN", doc="the same for a second class of jumps")
    after_jump_flag_time2: float = option(0.0, ge=0, unit="seconds", doc="for how long after those jumps")
    expand_large_events: bool = option(False, doc="find snowballs, and flag more around them")
    min_sat_area: float = option(1.0, ge=1, unit="pixels", doc="least area of a snowball's saturated core")
    min_jump_area: float = option(5.0, ge=1, unit="pixels", doc="least area of the jumps of a snowball")
    expand_factor: float = option(2.0, ge=1, doc="how much larger the flagged area is than the jumps")
    sat_required_snowball: bool = option(True, doc="whether only what has a saturated core is a snowball")
    edge_size: int = option(25, ge=0, unit="pixels", doc="nearer than that to an edge it needs no core")
    min_sat_radius_extend: float = option(
        2.5, ge=0, unit="pixels", doc="minor axis from which on a core is flagged saturated beyond its edge"
    )
    sat_expand: int = option(2, ge=0, unit="pixels", doc="how much the radius of such a core grows")
    max_extended_radius: float = option(
        200.0, gt=0, unit="pixels", doc="no snowball or shower is taken for larger"
    )
    mask_snowball_core_next_int: bool = option(True, doc="flag such cores in the next integration too")
    snowball_time_masked_next_int: float = option(
        4000.0, ge=0, unit="seconds", doc="for how long cores are flagged in the next integration"
    )
    find_showers: bool = option(False, doc="find MIRI's showers, and flag them")
    shower_reference: Literal["integration", "exposure"] = option(
        "integration",
        doc="in what a difference is compared with others to find showers; short integrations are joined",
    )
    extend_snr_threshold: float = option(
        1.2, gt=0, unit="sigma", doc="mean deviation of a shower's pixels in a ring; of noise it is 0.8"
    )
    extend_min_area: float = option(90.0, ge=1, unit="pixels", doc="least area of a shower")
    extend_inner_radius: float = option(1.0, ge=0, unit="pixels", doc="inner radius of the ring")
    extend_outer_radius: float = option(
        2.6, gt=0, unit="pixels", doc="how much larger the outer radius of the ring is than the inner one"
    )
    extend_ellipse_expand_ratio: float = option(
        1.1, ge=1, doc="how much larger the flagged area is than what is seen of a shower"
    )
    time_masked_after_shower: float = option(
        15.0, ge=0, unit="seconds", doc="for how long a shower's pixels are flagged after it"
    )
    max_shower_amplitude: float = option(
        4.0, gt=0, unit="DN/s", doc="flags that would change a pixel's rate by more are not set"
    )


def _scope(options: JumpOptions) -> Scope:
    whole = options.method == "two_point" or (options.find_showers and options.shower_reference == "exposure")
    return "exposure" if whole else "integration"


def _together(options: JumpOptions, ngroup: int) -> int:
    """Return how many integrations have enough differences to tell showers, though some groups are unusable.

    The first and the last group are, and up to three more behind a reset.
    """
    if not options.find_showers or options.shower_reference == "exposure":
        return 1
    usable = max(ngroup - 6, min(ngroup - 3, 2), 1)
    return -(-ShowerRules.min_differences // usable)


Cores = NDArray[np.bool_] | None
"""Pixels in the cores of the snowballs of an integration; there may be no integration."""


@joining(_together)
@step(
    options=JumpOptions,
    references=("gain", "readnoise"),
    scope=_scope,
    carries=lambda: None,
    status="S_JUMP",
    repeatable=True,
)
def jump(ramp: Ramp, references: References, options: JumpOptions, carry: Cores) -> tuple[Ramp, Cores]:
    """Flag JUMP_DET on each group whose difference from the group before is spoilt by a hit.

    ``likelihood`` takes out the differences that lower chi-squared of the ramp's fit by more than a threshold
    (Brandt 2024b, PASP 136, 045005). ``two_point`` compares differences with their median over the ramp and
    all integrations (Anderson and Gordon 2011, PASP 123, 1237), as the standard pipeline does by default; it
    needs the whole exposure. With ``expand_large_events`` what surrounds snowballs is flagged too, and their
    cores in the next integration; with ``find_showers`` what is too faint in each pixel, but seen in many.
    Showers are told from ten usable differences on: shorter integrations are compared with those after them,
    as many as it takes, and where the exposure has fewer in all nothing is searched.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), linearised DN.
    references : References
        ``gain`` (electrons per DN) and ``readnoise`` (DN, of a difference of two reads).
    options : JumpOptions
        Method and thresholds.
    carry : ndarray of bool (ny, nx) or None
        Cores of the snowballs of the integration before, if there was one.

    Returns
    -------
    Ramp
        With other group flags.
    ndarray of bool (ny, nx) or None
        Cores of the snowballs of the last integration.

    Raises
    ------
    NotApplicable
        If there are fewer than 3 groups.
    Unprocessable
        If a keyword is missing, or gain or read noise have no positive value.
    """
    if ramp.shape[1] < 3:
        raise NotApplicable(f"{ramp.shape[1]} groups are too few to tell a jump from the ramp")
    noise = pixel_noise(references, ramp.shape[2:], ramp.average_dark_current)
    out = ramp.edit("groupdq")
    if options.method == "two_point":
        out.groupdq[...] = _two_point(ramp, noise, options)
    else:
        thresholds = jumps.JumpThresholds(
            options.likelihood_threshold_one,
            options.likelihood_threshold_two,
            _after(ramp, options),
            _sides(options),
        )
        pattern = read_pattern(ramp.meta, ramp.shape[1])
        for data, groupdq in zip(ramp.data, out.groupdq, strict=True):
            jumps.find_jumps(data, groupdq, pattern, noise, thresholds, pixeldq=ramp.pixeldq, in_place=True)
    if options.expand_large_events:
        carry = _flag_snowballs(out, options, carry)
    if options.find_showers:
        _flag_showers(out, noise, options)
    return out, carry


def _flag_snowballs(ramp: Ramp, options: JumpOptions, before: Cores) -> Cores:
    rules = SnowballRules(
        min_jump_area=options.min_jump_area,
        min_sat_area=options.min_sat_area,
        expand_factor=options.expand_factor,
        sat_required=options.sat_required_snowball,
        edge_size=options.edge_size,
        min_sat_radius_extend=options.min_sat_radius_extend,
        sat_expand=2 * options.sat_expand,  # of the radius, to the axes
        max_radius=options.max_extended_radius,
    )
    group_time = _group_time(ramp)
    groups = int(options.snowball_time_masked_next_int // group_time) if group_time > 0 else ramp.shape[1]
    if not options.mask_snowball_core_next_int:
        groups = 0
    return flag_in_turn(ramp.groupdq, rules, groups, before)


def _flag_showers(ramp: Ramp, noise: PixelNoise, options: JumpOptions) -> None:
    group_time = _group_time(ramp)
    rules = ShowerRules(
        snr_threshold=options.extend_snr_threshold,
        min_area=options.extend_min_area,
        inner_radius=options.extend_inner_radius,
        width=options.extend_outer_radius,
        expand_ratio=options.extend_ellipse_expand_ratio,
        groups_after=int(options.time_masked_after_shower // group_time) if group_time > 0 else 0,
        max_amplitude=options.max_shower_amplitude * group_time if group_time > 0 else np.inf,
        clip_integrations=options.minimum_sigclip_groups,
        max_radius=options.max_extended_radius,
    )
    nint, ngroup = ramp.shape[:2]
    size = _together(options, ngroup) if options.shower_reference == "integration" else max(nint, 1)
    nframes = int(ramp.meta.require("NFRAMES"))
    edges = [*range(0, nint - size + 1, size)] or [0]
    for first, last in zip(edges, [*edges[1:], nint], strict=True):
        block = slice(first, last)
        flag_showers(ramp.data[block], ramp.groupdq[block], ramp.pixeldq, nframes, noise, rules)


def _group_time(ramp: Ramp) -> float:
    return float(ramp.meta.get("TGROUP") or 0)


def _sides(options: JumpOptions) -> Neighbours | None:
    if not options.flag_4_neighbors:
        return None
    return Neighbours(options.min_jump_to_flag_neighbors, options.max_jump_to_flag_neighbors)


def _after(ramp: Ramp, options: JumpOptions) -> tuple[tuple[float, int], ...]:
    """Return pairs of a jump's size in DN and the number of groups to flag after it."""
    group_time = _group_time(ramp)
    pairs = (
        (options.after_jump_flag_dn1, options.after_jump_flag_time1),
        (options.after_jump_flag_dn2, options.after_jump_flag_time2),
    )
    return tuple(
        (size, int(time // group_time)) for size, time in pairs if group_time > 0 and time >= group_time
    )


def _two_point(
    ramp: Ramp,
    noise: PixelNoise,
    options: JumpOptions,
) -> NDArray[np.uint8]:
    settings = twopoint.TwoPoint(
        threshold=options.rejection_threshold,
        threshold_three=options.four_group_rejection_threshold,
        threshold_two=options.three_group_rejection_threshold,
        neighbours=_sides(options),
        after=_after(ramp, options),
        single_pass=options.min_diffs_single_pass,
        clip_integrations=options.minimum_sigclip_groups,
    )
    return twopoint.find_jumps(ramp.data, ramp.groupdq, int(ramp.meta.require("NFRAMES")), noise, settings)
