"""Every step that works, by its name, in the order of the road."""

from __future__ import annotations

from typing import Final

from processors.detector1 import DETECTOR1_MIRI, DETECTOR1_NIR, persistence_history
from processors.guider import guider_cds
from processors.image2 import IMAGE2
from processors.image3 import resample, source_catalog
from processors.ramp_fit import RAMP_FIT, average_integrations
from processors.steps import Step

STEPS: Final[dict[str, Step]] = {
    step.name: step
    for step in (
        *DETECTOR1_NIR.steps[:-2],
        *(step for step in DETECTOR1_MIRI.steps if step not in DETECTOR1_NIR.steps),
        *DETECTOR1_NIR.steps[-2:],
        persistence_history,
        *RAMP_FIT.steps,
        average_integrations,
        guider_cds,
        *IMAGE2.steps,
        resample,
        source_catalog,
    )
}
