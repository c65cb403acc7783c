"""Stage 1, from raw exposure to corrected ramps.

``DETECTOR1_NIR`` is the pipeline of the near-infrared detectors, ``DETECTOR1_MIRI`` that of MIRI's, and
:func:`detector1_of` tells which of them an exposure goes through; their steps can be called one by one as
functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processors.detector1.charge_migration import charge_migration
from processors.detector1.clean_flicker_noise import clean_flicker_noise
from processors.detector1.dark_current import dark_current
from processors.detector1.dq_init import dq_init
from processors.detector1.emicorr import emicorr
from processors.detector1.group_scale import group_scale
from processors.detector1.ipc import ipc
from processors.detector1.jump import jump
from processors.detector1.lastframe import lastframe
from processors.detector1.linearity import linearity
from processors.detector1.persistence_history import HistoryMaker, persistence_history
from processors.detector1.refpix import refpix
from processors.detector1.reset import reset
from processors.detector1.rscd import rscd
from processors.detector1.saturation import saturation
from processors.detector1.superbias import superbias
from processors.modes import is_miri
from processors.pipelines import Pipeline

DETECTOR1_NIR = Pipeline(
    "detector1",
    (
        group_scale,
        dq_init,
        saturation,
        ipc,
        superbias,
        refpix,
        linearity,
        dark_current,
        charge_migration,
        jump,
        clean_flicker_noise,
    ),
)

DETECTOR1_MIRI = Pipeline(
    "detector1",
    (
        group_scale,
        dq_init,
        emicorr,
        saturation,
        ipc,
        lastframe,
        reset,
        linearity,
        rscd,
        dark_current,
        refpix,
        jump,
        clean_flicker_noise,
    ),
)


def detector1_of(keywords: Mapping[str, Any]) -> Pipeline:
    """Return the pipeline that an exposure goes through.

    Parameters
    ----------
    keywords : mapping of str to object
        INSTRUME of the exposure.
    """
    return DETECTOR1_MIRI if is_miri(keywords) else DETECTOR1_NIR


__all__ = [
    "DETECTOR1_MIRI",
    "DETECTOR1_NIR",
    "HistoryMaker",
    "charge_migration",
    "clean_flicker_noise",
    "dark_current",
    "detector1_of",
    "dq_init",
    "emicorr",
    "group_scale",
    "ipc",
    "jump",
    "lastframe",
    "linearity",
    "persistence_history",
    "refpix",
    "reset",
    "rscd",
    "saturation",
    "superbias",
]
