"""Stage 1, from raw exposure to corrected ramps.

``DETECTOR1_NIR`` is the pipeline of the near-infrared detectors; its steps can be called one by one as
functions.
"""

from processors.detector1.charge_migration import charge_migration
from processors.detector1.dark_current import dark_current
from processors.detector1.dq_init import dq_init
from processors.detector1.group_scale import group_scale
from processors.detector1.ipc import ipc
from processors.detector1.jump import jump
from processors.detector1.linearity import linearity
from processors.detector1.refpix import refpix
from processors.detector1.saturation import saturation
from processors.detector1.superbias import superbias
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
    ),
)

__all__ = [
    "DETECTOR1_NIR",
    "charge_migration",
    "dark_current",
    "dq_init",
    "group_scale",
    "ipc",
    "jump",
    "linearity",
    "refpix",
    "saturation",
    "superbias",
]
