"""Stage 2 for images: from count rates to calibrated surface brightness on the sky."""

from processors.image2.assign_wcs import assign_wcs
from processors.image2.flat_field import flat_field
from processors.image2.photom import PhotomOptions, photom
from processors.pipelines import Pipeline

IMAGE2 = Pipeline("image2", (assign_wcs, flat_field, photom))
"""World coordinates, flat field, flux calibration."""

__all__ = ["IMAGE2", "PhotomOptions", "assign_wcs", "flat_field", "photom"]
