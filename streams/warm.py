"""Compile the kernels before the first exposure comes: ``python -m streams.warm``.

Tiny exposures, made up here, go through the real pipelines in every way that leads to another kernel. What is
compiled stays in the cache of :mod:`streams.kernel_cache`.
"""

from __future__ import annotations

import fcntl
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from schemas.dq import DQ
from schemas.meta import Keywords, Meta
from schemas.products import Ramp
from schemas.references import (
    ImageReference,
    ModelReference,
    RampReference,
    Reference,
    References,
    TableReference,
)
from streams.kernel_cache import use_kernel_cache

SHAPE: Final = (2, 9, 12, 16)
"""Integrations, groups, rows, columns."""
_SKIPPED: Final = [("subarray", "S4"), ("readpatt", "S6"), ("group_skip1", "i4"), ("group_skip", "i4")]


@dataclass(frozen=True)
class Case:
    """One way through stage 1.

    Attributes
    ----------
    jumps, fit : str
        Method of ``jump`` and algorithm of ``ramp_fit``.
    amplifiers, frames, block : int
        Outputs that read the detector, frames averaged in a group, and integrations in a block: those of more
        than one do not lie in memory as single ones do, and need kernels of their own.
    options : mapping of str to object
        Further options of ``jump``.
    instrument : str
        Whose pipeline it is.
    """

    jumps: str
    fit: str
    amplifiers: int
    frames: int
    block: int
    options: Mapping[str, Any]
    instrument: str = "NIRCAM"


_SHOWERS: Final = {
    "find_showers": True,
    "shower_reference": "exposure",  # or there are too few differences
    "extend_snr_threshold": 0.01,
    "extend_min_area": 1.0,
}
"""With them, noise is taken for showers."""

CASES: Final = (
    Case("likelihood", "gls", 1, 1, 1, {}),
    Case("likelihood", "gls", 4, 4, 2, {"after_jump_flag_dn1": 1.0, "after_jump_flag_time1": 100.0}),
    Case("two_point", "ols", 1, 1, 1, {"min_diffs_single_pass": 2}),
    Case("two_point", "ols", 4, 4, 2, {"after_jump_flag_dn1": 1.0, "after_jump_flag_time1": 100.0}),
    Case("two_point", "ols", 1, 1, 1, {"minimum_sigclip_groups": 2}),
    Case("likelihood", "gls", 1, 1, 2, {"expand_large_events": True, "edge_size": 0}),
    Case("likelihood", "gls", 4, 1, 1, _SHOWERS, "MIRI"),
    Case("likelihood", "gls", 4, 1, 2, {**_SHOWERS, "minimum_sigclip_groups": 2}, "MIRI"),
    Case("likelihood", "gls", 4, 1, 2, {}, "MIRI"),
)
"""Each kernel is on one of these ways."""


def warm() -> None:
    """Compile every kernel that is not compiled yet, and load the others from the cache."""
    use_kernel_cache()
    for case in CASES:
        _stage_1(case)
    _outputs_of_miri()
    _regions()
    _quality()
    _drizzling()


def exposure(case: Case) -> Ramp:
    """Return a raw ramp of steady light with one hit, and its zero frame."""
    nint, ngroup, ny, nx = SHAPE
    steps = np.random.default_rng(1).normal(30, 5, SHAPE)
    steps[0, 3, 6, 8] += 3000
    data = (1000 + np.cumsum(steps, axis=1)).astype(np.float32)
    header = {
        "INSTRUME": case.instrument, "DETECTOR": "WARM",
        "EXP_TYPE": "MIR_IMAGE" if case.instrument == "MIRI" else "NIS_IMAGE",
        "SUBARRAY": "WARM", "READPATT": "FASTR1" if case.instrument == "MIRI" else "RAPID",
        "NOUTPUTS": case.amplifiers, "NFRAMES": case.frames, "FRMDIVSR": case.frames + 1, "GROUPGAP": 0,
        "TFRAME": 10.0, "TGROUP": 20.0, "NGROUPS": ngroup, "NINTS": nint, "EXPSTART": 60000.0,
        "EFFINTTM": 20.0 * ngroup, "SUBSTRT1": 1, "SUBSTRT2": 1,
        "SUBSIZE1": nx, "SUBSIZE2": ny, "FASTAXIS": 1, "SLOWAXIS": 2,
    }  # fmt: skip
    return Ramp(
        meta=Meta(primary=Keywords(header)),
        data=data,
        groupdq=np.zeros(SHAPE, np.uint8),
        pixeldq=np.zeros((ny, nx), np.uint32),
        zeroframe=data[:, 0].copy(),
    )


def references(frames: int) -> References:
    """Return references of a detector with a border of reference pixels, for groups of so many frames."""
    _, ngroup, ny, nx = SHAPE
    good = np.zeros((ny, nx), np.uint32)
    border = np.full((ny, nx), DQ.REFERENCE_PIXEL, np.uint32)
    border[4:-4, 4:-4] = 0

    def plain(reftype: str, data: np.ndarray, dq: np.ndarray = good) -> Reference:
        return ImageReference(reftype=reftype, name=reftype, digest="", data=data.astype(np.float32), dq=dq)

    flat = np.ones((ny, nx))
    coefficients = np.stack([0 * flat, flat, 1e-7 * flat])
    dark = RampReference(
        reftype="dark",
        name="dark",
        digest="",
        ngroup=ngroup,
        nframes=frames,
        groupgap=0,
        dq=good,
        group=lambda index: np.full((ny, nx), 0.1 * index, np.float32),
    )
    reset = replace(dark, reftype="reset", name="reset")
    skipped = np.array([("WARM", "FASTR1", 1, 1)], _SKIPPED)
    wave = {"frequency": 218.5, "phase_amplitudes": [0.0, 1.0, 0.0, -1.0]}
    clock = {"rowclocks": 28, "frameclocks": 8512, "freqs": {"FAST": ["one"]}}
    return References(
        {
            "reset": reset,
            "rscd": TableReference(reftype="rscd", name="rscd", digest="", tables={"RSCD": skipped}),
            "emicorr": ModelReference(
                reftype="emicorr",
                name="emicorr",
                digest="",
                tree={"frequencies": {"one": wave}, "subarray_cases": {"WARM": clock}},
            ),
            "mask": plain("mask", np.zeros((0, ny, nx)), border),
            "saturation": plain("saturation", 60000 * flat),
            "superbias": plain("superbias", 900 * flat),
            "linearity": plain("linearity", coefficients),
            "dark": dark,
            "gain": plain("gain", 2 * flat),
            "readnoise": plain("readnoise", 10 * flat),
            "ipc": plain("ipc", np.eye(3)),
        }
    )


def _stage_1(case: Case) -> None:
    from processors.detector1 import detector1_of
    from processors.options import validated
    from processors.ramp_fit import RAMP_FIT, Average
    from processors.ramp_fit.persistence import PersistenceOptions
    from processors.steps import StepSettings

    raw = exposure(case)
    pipeline = detector1_of(raw.meta.primary)
    given = {
        "jump": {"method": case.jumps, **case.options},
        "ramp_fit": {"algorithm": case.fit, "fit_diagnostics": True},
    }
    settings = {
        step.name: StepSettings(options=validated(step.options_type, given[step.name], step.name))
        for step in (*pipeline.steps, *RAMP_FIT.steps)
        if step.name in given
    }
    settings["clean_flicker_noise"] = StepSettings()  # off unless asked for; rates are cleaned by its kernels
    settings["charge_migration"] = StepSettings()  # off but for NIRISS
    settings["persistence"] = StepSettings(options=PersistenceOptions(flag_own=True))
    found = references(case.frames)
    ramps = pipeline.stream(_blocks(raw, case.block), found, settings)
    average = Average(found)
    for rate in RAMP_FIT.stream(ramps, found, settings):
        average.add(rate)
    average.mean()


def _blocks(ramp: Ramp, size: int) -> Iterator[Ramp]:
    for first in range(0, SHAPE[0], size):
        parts = {
            name: getattr(ramp, name)[first : first + size].copy()
            for name in ("data", "groupdq", "zeroframe")
        }
        yield replace(ramp, first_integration=first, pixeldq=ramp.pixeldq.copy(), **parts)


def _outputs_of_miri() -> None:
    """Compile what only full frames go through."""
    from processors.detector1 import refpix_miri

    data = np.ones((1, *SHAPE[1:]), np.float32)
    refpix_miri.correct(data, np.ones((SHAPE[2], refpix_miri.OUTPUTS, 2), np.bool_), 2, 3.0)


def _regions() -> None:
    """Compile what only averaged groups of pixels that saturate early go through."""
    from processors.ramps import singles

    singles.in_events((np.array([3]), np.array([4])), np.zeros(SHAPE[1:], np.uint8))


def _quality() -> None:
    """Compile what the figures need that are measured beside the pipelines."""
    from processors.ramps.components import peaks_of_regions

    peaks_of_regions(np.array([3, 4]), SHAPE[3], np.ones(2))


def _drizzling() -> None:
    from processors.drizzling.pixmap import pixel_map

    pixel_map(lambda x, y: (x + 0.5, y - 0.5), (64, 64))


def main() -> int:
    """Compile, and say how long it took where that was long; a failure is told and does no harm.

    Of several processes that are asked to one compiles and the others wait; what was compiled once is not
    tried again.
    """
    began = time.time()
    try:
        with _alone(use_kernel_cache()) as done:
            if not done.exists():
                warm()
                done.touch()
    except Exception as error:  # kernels that are not compiled now are compiled when they are called
        print(
            f"calstream: the kernels could not all be compiled ({type(error).__name__}: {error})",
            file=sys.stderr,
        )
        return 1
    if (seconds := time.time() - began) > 5:
        print(f"Kernels compiled in {seconds:.0f} s.")
    return 0


@contextmanager
def _alone(folder: Path | None) -> Iterator[Path]:
    """Hold the folder's lock; give the file that says that all is compiled."""
    place = folder or Path(tempfile.mkdtemp(prefix="calstream-"))
    with (place / "compiling").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield place / "compiled"


if __name__ == "__main__":
    sys.exit(main())
