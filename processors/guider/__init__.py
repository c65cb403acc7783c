"""What the guiders see, from raw frames to calibrated images.

``GUIDER`` is the pipeline of identification, acquisition, tracking and fine guiding.
"""

from processors.detector1.dq_init import dq_init
from processors.guider.guider_cds import guider_cds
from processors.image2.flat_field import flat_field
from processors.pipelines import Pipeline

GUIDER = Pipeline("guider", (dq_init, guider_cds, flat_field))

__all__ = ["GUIDER", "guider_cds"]
