"""Stage 3 for images: mosaics and catalogues."""

from processors.image3.resample import ResampleOptions, resample
from processors.image3.sets import ImageSet
from processors.image3.source_catalog import Detections, SourceCatalogOptions, source_catalog

__all__ = ["Detections", "ImageSet", "ResampleOptions", "SourceCatalogOptions", "resample", "source_catalog"]
