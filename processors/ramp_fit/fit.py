"""From ramps to count rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from processors.detector1.readout import pixel_noise, read_pattern
from processors.detector1.rscd import FEWEST, estimated
from processors.invalid import settle
from processors.modes import is_miri
from processors.options import Options, option
from processors.ramps import (
    chargeloss,
    diagnostics,
    firstgroups,
    gls,
    goodness,
    ols,
    pedestals,
    resets,
    singles,
    zeroframe,
)
from processors.ramps.covariance import PixelNoise, Pixels, ReadPattern
from processors.steps import STATUS, Scope, step
from schemas.dq import DQ
from schemas.errors import Unprocessable, UsageError
from schemas.meta import Meta
from schemas.products import Ramp, Rate
from schemas.references import References

Planes = dict[str, NDArray[Any] | None]
"""Arrays (ny, nx) of one integration's rate, by their names there."""
POOR_FIT = 1e-5
"""About the false alarms for each difference that the search for jumps allows itself: 40 pixels of a full
frame."""

NOWHERE: Pixels = (np.zeros(0, np.intp), np.zeros(0, np.intp))
"""No pixel."""


class RampFitOptions(Options):
    """Options of the ramp fit."""

    algorithm: Literal["gls", "ols"] = option(
        "gls", doc="generalised, or ordinary least squares with optimal weights"
    )
    suppress_one_group: bool = option(
        False,
        doc="whether ramps with a single good group, or the zero frame alone, count as having none",
    )
    firstgroup: int | None = option(
        None, ge=0, unit="group", doc="groups before this one (from 0) are left out"
    )
    lastgroup: int | None = option(
        None, ge=0, unit="group", doc="groups after this one (from 0) are left out"
    )
    fit_quality: bool = option(
        True, doc="whether CHISQ, DOF and PROBABILITY (of a larger chi-squared by noise alone) are kept (gls)"
    )
    poor_fit_probability: float = option(
        POOR_FIT, ge=0, lt=1, unit="probability", doc="fits less probable are flagged UNRELIABLE_SLOPE (gls)"
    )
    fit_diagnostics: bool = option(
        False,
        doc="whether PEDESTAL, NDIFF, WORST and WORSTGROUP, the difference that fits worst, are kept (gls)",
    )


def _scope(options: RampFitOptions) -> Scope:
    return "exposure" if options.algorithm == "ols" else "integration"


@step(options=RampFitOptions, references=("gain", "readnoise"), scope=_scope, status="S_RAMP")
def ramp_fit(ramp: Ramp, references: References, options: RampFitOptions) -> Rate:
    """Fit a straight line to the ramp of each pixel in each integration.

    ``gls`` is the exact solution with the covariance of the group differences (Brandt 2024a, PASP 136,
    045004). ``ols`` cuts ramps into segments at jumps and weights groups by signal to noise (Fixsen et al.
    2000, PASP 112, 1350), as the standard pipeline does by default; its Poisson variances come from the
    median rate of all integrations, so it needs the whole exposure. Where single groups are not suppressed, a
    ramp whose first group alone is good has the rate of that one, and one that is saturated from there on
    that of its zero frame; with ``gls`` such pixels are FLUX_ESTIMATED, the noise of the reset is in their
    errors (see `processors.ramps.resets`), and hits have none (see `processors.ramps.singles`), none of which
    the standard pipeline does. Pixels are NaN and DO_NOT_USE where nothing can be fitted, UNRELIABLE_SLOPE
    where no straight line fits (``gls``), and FLUX_ESTIMATED where groups were kept that rscd leaves out
    elsewhere: what those have too much is taken off, and what is uncertain about it counts as error (``gls``;
    see `processors.ramps.firstgroups`). In MIRI exposures of 2 or 3 groups all pixels keep those, and none
    tells what they have too much: all rates are FLUX_ESTIMATED and UNRELIABLE_SLOPE (``gls``). Of one group
    there is no rate, as the level that MIRI's ramps begin at is not known.
    Behind charge_migration, the read-noise variance is that of the ramp with the groups that it took, as the
    standard pipeline's (see `processors.ramps.chargeloss`).

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), linearised DN; GROUPDQ holds jumps and saturation.
    references : References
        ``gain`` (electrons per DN) and ``readnoise`` (DN, of a difference of two reads).
    options : RampFitOptions
        Algorithm, and which groups are used.

    Returns
    -------
    Rate
        (nint, ny, nx), DN/s.

    Raises
    ------
    Unprocessable
        If a keyword is missing, gain or read noise have no positive value, or the exposure is MIRI's and has
        one group (``gls``).
    """
    if options.algorithm == "gls":
        _demand_difference(ramp)
    kept = estimated(ramp)
    ramp = _without_unused_flags(_chosen_groups(ramp, options))
    noise = pixel_noise(references, ramp.shape[2:], ramp.average_dark_current)
    if options.algorithm == "gls":
        fits = _fit_gls(ramp, noise, options, kept)
    else:
        fits = _fit_ols(ramp, noise, options)
    planes: dict[str, Any] = _stacked(fits, ramp.shape[0], _left_out(options))
    if kept is not None:
        planes["dq"] = planes["dq"] | np.where(kept, np.uint32(DQ.FLUX_ESTIMATED), np.uint32(0))
    return settle(Rate(meta=_rate_meta(ramp.meta), first_integration=ramp.first_integration, **planes))


def _demand_difference(ramp: Ramp) -> None:
    """Raise unless the ramp has two groups, or begins at a level that is known."""
    if is_miri(ramp.meta) and ramp.shape[1] == 1:
        raise Unprocessable(
            f"{ramp.meta.get('FILENAME', 'the product')}: one group is too few for a rate, because MIRI's "
            "ramps begin at a level that is not known; leave the exposure out, or set ramp_fit.algorithm=ols "
            "to have that level in its rates"
        )


def _left_out(options: RampFitOptions) -> set[str]:
    """Return the planes that are not kept."""
    return set() if options.algorithm == "gls" and options.fit_quality else {"chisq", "dof", "probability"}


def _chosen_groups(ramp: Ramp, options: RampFitOptions) -> Ramp:
    """Return the ramp with groups outside the chosen ones marked DO_NOT_USE."""
    first = options.firstgroup or 0
    last = ramp.shape[1] - 1 if options.lastgroup is None else min(options.lastgroup, ramp.shape[1] - 1)
    if first == 0 and last == ramp.shape[1] - 1:
        return ramp
    if first >= last:
        raise UsageError(
            f"groups {first} to {last} of {ramp.shape[1]} leave nothing to fit; choose "
            "ramp_fit.firstgroup smaller than ramp_fit.lastgroup and than the last group"
        )
    out = ramp.edit("groupdq")
    out.groupdq[:, :first] |= np.uint8(DQ.DO_NOT_USE)
    out.groupdq[:, last + 1 :] |= np.uint8(DQ.DO_NOT_USE)
    return out


def _without_unused_flags(ramp: Ramp) -> Ramp:
    """Return the ramp without SATURATED in MIRI's last group where that is left out: no rate knows of it."""
    if not is_miri(ramp.meta) or ramp.shape[1] < 2:
        return ramp
    out = ramp.edit("groupdq")
    last = out.groupdq[:, -1]
    last[(last & np.uint8(DQ.DO_NOT_USE)) != 0] &= ~np.uint8(DQ.SATURATED)
    return out


def _fit_gls(
    ramp: Ramp, noise: PixelNoise, options: RampFitOptions, kept: NDArray[np.bool_] | None
) -> Iterator[Planes]:
    pattern = read_pattern(ramp.meta, ramp.shape[1])
    how = {
        "suppress_one_group": options.suppress_one_group,
        "shares": ramp.shape[0] > 1 or ramp.meta.get("NINTS") != 1,  # one alone has no average to go into
    }
    time = float(ramp.meta.require("TFRAME"))
    blind = is_miri(ramp.meta) and ramp.shape[1] <= FEWEST  # so few keep their first group everywhere
    for i, (data, groupdq, frame) in enumerate(_integrations(ramp, options)):
        slopes = gls.fit_slopes(data, groupdq, pattern, noise, pixeldq=ramp.pixeldq, **how)
        levels = _single_levels(slopes, ramp, (groupdq, frame), (pattern, noise), options)
        pedestal = None
        if levels.groups[0].size and (blind or kept is not None):
            others = np.zeros(data.shape[1:], np.bool_) if kept is None else kept[i]
            pedestal = pedestals.pedestal(slopes, others, (data, groupdq), pattern)
        if blind:
            slopes = firstgroups.untold(slopes, levels.groups, pattern, pedestal)
        elif kept is not None:
            slopes = firstgroups.without_excess(
                slopes, kept[i], (data, groupdq), pattern, noise, pedestal=pedestal
            )
        if frame is not None and levels.frames[0].size:
            planes = (data, groupdq, frame, ramp.pixeldq)
            slopes = zeroframe.fit_gls(slopes, levels.frames, planes, pattern, noise, time)
        timed = [(levels.groups, float(pattern.mean_t[0])), (levels.frames, time)]
        slopes = resets.estimated(slopes, timed, (data, groupdq), pattern, noise, pedestal=pedestal)
        if _lost_charge(ramp):
            slopes = chargeloss.restored_gls(slopes, (data, groupdq), pattern, noise)
        planes_of = _named(goodness.judged(slopes, options.poor_fit_probability))
        if options.fit_diagnostics:
            planes_of |= vars(diagnostics.diagnose(data, groupdq, pattern, noise, slopes))
        yield planes_of


def _fit_ols(ramp: Ramp, noise: PixelNoise, options: RampFitOptions) -> Iterator[Planes]:
    meta = ramp.meta
    timing = ols.Timing(
        float(meta.require("TGROUP")), float(meta.require("TFRAME")), int(meta.require("NFRAMES"))
    )
    suppress = options.suppress_one_group
    rate = np.zeros(ramp.shape[2:])
    for data, groupdq, frame in _integrations(ramp, options):
        rate += ols.median_rate(data, groupdq, timing, suppress_one_group=suppress)
        if frame is not None:
            pixels = zeroframe.without_groups(groupdq, frame)
            zeroframe.add_median_rate(rate, pixels, frame, timing.frame_time)
    rate /= ramp.shape[0]
    for data, groupdq, frame in _integrations(ramp, options):
        slopes = ols.fit_slopes(
            data, groupdq, timing, noise, pixeldq=ramp.pixeldq, rate=rate, suppress_one_group=suppress
        )
        if options.firstgroup:  # the time of a later group that is alone counts from no known level
            slopes = singles.without_rates(slopes, singles.single_groups(slopes))
        if frame is not None and (pixels := zeroframe.without_groups(groupdq, frame))[0].size:
            planes = (data, groupdq, frame, ramp.pixeldq)
            slopes = zeroframe.fit_ols(slopes, pixels, planes, timing, noise, rate)
        if ramp.shape[1] > 1 and not suppress:
            alone = singles.single_groups(slopes)
            blind = (ramp.pixeldq[alone] & np.uint32(DQ.REFERENCE_PIXEL)) != 0
            slopes = singles.without_rates(slopes, singles.chosen(alone, blind))
        if _lost_charge(ramp):
            slopes = chargeloss.restored_ols(slopes, (data, groupdq), timing, noise)
        yield _named(slopes)


@dataclass(frozen=True)
class _Levels:
    """The pixels with the rate of their first group alone, and those with that of the zero frame."""

    groups: Pixels
    frames: Pixels


def _single_levels(
    slopes: gls.Slopes,
    ramp: Ramp,
    planes: tuple[NDArray[np.uint8], NDArray[np.float32] | None],
    known: tuple[ReadPattern, PixelNoise],
    options: RampFitOptions,
) -> _Levels:
    """Return which pixels have a single level; those whose level is not steady light's lose their rate."""
    groupdq, frame = planes
    pattern, noise = known
    frames = NOWHERE if frame is None else zeroframe.without_groups(groupdq, frame)
    if ramp.shape[1] == 1:  # no other group tells which are not steady light's
        return _Levels(singles.single_groups(slopes), frames)
    if options.suppress_one_group:
        return _Levels(NOWHERE, frames)
    frames = singles.chosen(frames, ~singles.unlit(frames, groupdq, ramp.pixeldq))
    groups = singles.single_groups(slopes)
    wrong = singles.unlit(groups, groupdq, ramp.pixeldq)
    if pattern.nreads[0] > 1:
        told = np.zeros(groups[0].size, np.bool_)
        if frame is not None:
            told = (frame[groups] != 0) & np.isfinite(frame[groups])
            first = (frame, pattern.read_times[0][0])
            unlike = singles.unlike_zero_frame(slopes, groups, first, noise) & ~wrong
            frames = _joined(frames, singles.chosen(groups, unlike))
            groups, wrong, told = singles.chosen(groups, ~unlike), wrong[~unlike], told[~unlike]
        wrong[~told] |= singles.in_events(singles.chosen(groups, ~told), groupdq)
    singles.without_rates(slopes, singles.chosen(groups, wrong))
    return _Levels(singles.chosen(groups, ~wrong), frames)


def _joined(one: Pixels, other: Pixels) -> Pixels:
    return np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])


def _lost_charge(ramp: Ramp) -> bool:
    """Tell whether groups may have been flagged for charge migration."""
    return ramp.meta.get("S_CHGMIG") == STATUS["complete"]


def _integrations(
    ramp: Ramp, options: RampFitOptions
) -> Iterator[tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.float32] | None]]:
    """Yield data, flags and zero frame of each integration; none where single groups do not count."""
    kept = ramp.shape[1] == 1 or not options.suppress_one_group
    frames: Any = ramp.zeroframe if kept and ramp.zeroframe is not None else [None] * ramp.shape[0]
    yield from zip(ramp.data, ramp.groupdq, frames, strict=True)


def _stacked(fits: Iterator[Planes], nint: int, without: set[str]) -> dict[str, NDArray[Any]]:
    """Return the planes of all integrations; those of a single one are not copied."""
    stacked: dict[str, NDArray[Any]] = {}
    for i, planes in enumerate(fits):
        for name, plane in planes.items():
            if plane is None or name in without:
                continue
            if nint == 1:
                stacked[name] = plane[np.newaxis]
                continue
            if i == 0:
                stacked[name] = np.empty((nint, *plane.shape), plane.dtype)
            stacked[name][i] = plane
    return stacked


def _named(slopes: gls.Slopes) -> Planes:
    return {
        "data": slopes.slope,
        "err": slopes.err,
        "dq": slopes.dq,
        "var_poisson": slopes.var_poisson,
        "var_rnoise": slopes.var_rnoise,
        "chisq": slopes.chi2,
        "dof": slopes.ndof.astype(np.int32, copy=False),
        "probability": slopes.probability,
        "shares": slopes.shares,
        "var_used": slopes.var_used,
    }


def _rate_meta(meta: Meta) -> Meta:
    tables = {name: rows for name, rows in meta.tables.items() if name != "GROUP"}
    return replace(
        meta.with_science(BUNIT=("DN/s", "physical units of the data array values")), tables=tables
    )
