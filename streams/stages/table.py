"""The road as a table: which stage reads which topic."""

from __future__ import annotations

from typing import Final

from processors.modes import MODES
from schemas.errors import UsageError
from streams.stages import detector, guiding, imaging
from streams.stages.stage import Stage, fuse


def _is_stage1(exp_type: str) -> bool:
    return exp_type in MODES and MODES[exp_type].stage1 == "detector1"


def _is_guider(exp_type: str) -> bool:
    return exp_type in MODES and MODES[exp_type].stage1 == "guider"


def _is_image2(exp_type: str) -> bool:
    return exp_type in MODES and MODES[exp_type].stage2 == "image2"


def _is_image3(exp_type: str) -> bool:
    return exp_type in MODES and MODES[exp_type].stage3 == "image3"


DETECTOR1: Final = Stage(
    name="detector1",
    source="raw",
    target="ramp",
    pipeline="detector1",
    accepts=_is_stage1,
    steps=detector.detector1_steps,
    outputs=detector.ramp_outputs,
    compute=detector.detector1,
)
RAMP_FIT: Final = Stage(
    name="ramp_fit",
    source="ramp",
    target="rate",
    pipeline="detector1",
    accepts=_is_stage1,
    steps=detector.ramp_fit_steps,
    outputs=detector.rate_outputs,
    compute=detector.ramp_fit,
    associated=True,
)
GUIDER: Final = Stage(
    name="guider",
    source="raw",
    target="cal",
    pipeline="guider",
    accepts=_is_guider,
    steps=guiding.guider_steps,
    outputs=guiding.guider_outputs,
    compute=guiding.guider,
)
IMAGE2: Final = Stage(
    name="image2",
    source="rate",
    target="cal",
    pipeline="image2",
    accepts=_is_image2,
    steps=imaging.image2_steps,
    outputs=imaging.image2_outputs,
    compute=imaging.image2,
)
IMAGE3: Final = Stage(
    name="image3",
    source="association",
    target="combined",
    pipeline="image3",
    accepts=_is_image3,
    steps=imaging.image3_steps,
    outputs=imaging.image3_outputs,
    compute=imaging.image3,
)
RAW_TO_RATE: Final = fuse(DETECTOR1, RAMP_FIT, detector.raw_to_rate)

STAGES: Final = (DETECTOR1, RAMP_FIT, GUIDER, IMAGE2, IMAGE3)
"""In the order of the road."""


def next_stage(topic: str, exp_type: str) -> Stage | None:
    """Return the stage that takes exposures of a type from a topic, or None where the road ends."""
    return next((stage for stage in STAGES if stage.source == topic and stage.accepts(exp_type)), None)


def stage_named(name: str) -> Stage:
    """Return a stage by its name.

    Raises
    ------
    UsageError
        If there is none.
    """
    for stage in (*STAGES, RAW_TO_RATE):
        if stage.name == name:
            return stage
    raise UsageError(f"there is no stage {name!r}; choose one of {', '.join(s.name for s in STAGES)}")
