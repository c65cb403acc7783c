"""Remove the electromagnetic interference in MIRI's ramps: periodic, in step with the readout's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.detector1.arrays import demand_miri, first_of_file, writable
from processors.detector1.interference import (
    PHASES,
    Chi2,
    Clock,
    best_phase,
    fit_terms,
    noise_variance,
    phase_sums,
    subtract_wave,
)
from processors.options import Options, option
from processors.steps import NotApplicable, Scope, step
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.products import Ramp
from schemas.references import ModelReference, References

PATTERNS = ("FAST", "FASTR1", "SLOW", "SLOWR1")
"""Read patterns whose groups are single frames: averaged ones have no phase."""
SAMPLE_TIME = 10e-6
"""Time of one tick of the pixel clock, seconds."""


class EmicorrOptions(Options):
    """Options of the correction for interference."""

    fit_ints_separately: bool = option(
        True, doc="whether each integration has an amplitude and phase of its own, or all have one"
    )
    significance: float = option(
        5.0, ge=0, unit="sigma", doc="a wave whose amplitude is below is not there, and not subtracted"
    )


def _scope(options: EmicorrOptions) -> Scope:
    return "integration" if options.fit_ints_separately else "exposure"


@dataclass(frozen=True)
class Wave:
    """One frequency of the interference: Hz, and its waveform over one period."""

    frequency: float
    shape: NDArray[np.float64]


@step(options=EmicorrOptions, references=("emicorr",), scope=_scope, status="S_MIREMI")
def emicorr(ramp: Ramp, references: References, options: EmicorrOptions) -> Ramp:
    """Subtract the reference's waveform, with the amplitude and phase that make the ramps straightest.

    For each frequency, one after the other, chi-squared of straight lines through the ramps of all quiet and
    good pixels is a parabola in the amplitude for each phase; the phase with the least is refined by a
    parabola through it and its neighbours (the joint method of the JWST documentation of the emicorr step).
    What is no larger than noise would make it is left.

    Parameters
    ----------
    ramp : Ramp
        (nint, ngroup, ny, nx), DN as read; pixels with any flag in PIXELDQ are not looked at.
    references : References
        ``emicorr``: frequencies with their waveforms, and for each subarray its clock and frequencies.
    options : EmicorrOptions
        What is fitted together.

    Returns
    -------
    Ramp
        Float32.

    Raises
    ------
    NotApplicable
        If the exposure is not MIRI's, has fewer than 3 groups or averaged ones, or the reference has nothing
        for its subarray and read pattern.
    Unprocessable
        If the reference has no waveform for one of its frequencies, or no clock for the subarray.
    """
    demand_miri(ramp)
    pattern = str(ramp.meta.require("READPATT")).upper()
    if ramp.shape[1] < 3:
        raise NotApplicable(f"{ramp.shape[1]} groups are too few to tell interference from the ramp")
    if pattern not in PATTERNS:
        raise NotApplicable(f"it is known for {', '.join(PATTERNS)}, and this exposure is {pattern}")
    clock, waves = _case(references.model("emicorr"), ramp.meta, pattern)
    out = writable(ramp, "data")
    for wave in waves:
        _clean(out, clock, wave, options)
    return out


def _case(reference: ModelReference, meta: Meta, pattern: str) -> tuple[Clock, list[Wave]]:
    """Return the clock of the exposure's subarray and the waves that disturb it."""
    speed = "SLOW" if "SLOW" in pattern else "FAST"
    subarray = str(meta.require("SUBARRAY")).strip().upper()
    name = f"{subarray}_{speed}" if "FULL" in subarray else subarray
    case = _part(reference, reference.tree, "subarray_cases", name)
    names: Any = _part(reference, case, "freqs").get(speed)
    if speed == "SLOW" and names is not None:
        names = _part(reference, case, "freqs", speed).get(str(meta.require("DETECTOR")).upper())
    if not names:
        raise NotApplicable(f"{reference.name} has no frequencies for {name} in {pattern}")
    row = _ticks(reference, case, name, "rowclocks")
    frame = _ticks(reference, case, name, "frameclocks") if pattern.endswith("R1") else 0.0
    clock = Clock(row, frame, int(meta.get("NSAMPLES") or 1))
    return clock, [_wave(reference, str(one)) for one in names]


def _part(reference: ModelReference, tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return a branch of the reference's tree, empty where there is none."""
    for name in path:
        found = tree.get(name)
        tree = {} if found is None else found
        if not isinstance(tree, Mapping):
            raise _unusable(reference, f"its entry {name} is {tree!r}, where a table of names is needed")
    return tree


def _ticks(reference: ModelReference, case: Mapping[str, Any], name: str, what: str) -> float:
    """Return a positive number of ticks of the clock."""
    value = case.get(what)
    number = float(value) if isinstance(value, Real) else np.nan
    if not 0 < number < np.inf:
        raise _unusable(reference, f"its case {name} has no usable {what}")
    return number


def _unusable(reference: ModelReference, what: str) -> Unprocessable:
    return Unprocessable(
        f"{reference.name}: {what}; give another file with --set emicorr.override_emicorr=FILE, or --set "
        "emicorr.skip=true"
    )


def _wave(reference: ModelReference, name: str) -> Wave:
    found = _part(reference, reference.tree, "frequencies", name)
    try:
        shape = np.asarray(found.get("phase_amplitudes", ()), dtype=np.float64).ravel()
        frequency = float(found.get("frequency") or 0)
    except (TypeError, ValueError):
        shape, frequency = np.zeros(0), 0.0
    if len(shape) < 4 or not np.isfinite(shape).all() or not 0 < frequency < np.inf:
        raise _unusable(reference, f"its frequency {name} has no usable waveform")
    return Wave(frequency, shape)


def _clean(ramp: Ramp, clock: Clock, wave: Wave, options: EmicorrOptions) -> None:
    """Fit one wave to the integrations, each by itself or all together, and subtract it, in place."""
    data, first = ramp.data, first_of_file(ramp.meta) + ramp.first_integration
    times = clock.times(ramp.shape[1:], 1 / wave.frequency / SAMPLE_TIME)
    model = times.spline(wave.shape)
    starts = [times.start(first + i) for i in range(len(data))]
    size = 1 if options.fit_ints_separately else len(data)
    parts = [slice(i, i + size) for i in range(0, len(data), size)]
    sums = [one for part in parts for one in phase_sums(data[part], ramp.pixeldq, times, len(wave.shape))]
    terms = fit_terms(sums, model, times)
    for part in parts:
        chi2 = Chi2(terms[part], starts[part])
        phase = best_phase(chi2.over(np.arange(PHASES) / PHASES))
        amplitude, least = chi2.amplitude(phase), options.significance
        if least and not chi2.significance(phase, noise_variance(data[part], ramp.pixeldq)) >= least:
            continue
        if amplitude:
            for integration, start in zip(data[part], starts[part], strict=True):
                subtract_wave(integration, times, (model, amplitude, phase + start))
