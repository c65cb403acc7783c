"""Stages 2 and 3 for images: rate -> cal, and the cals of an association -> mosaic and catalogue."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from processors.pipelines import Settings
from processors.steps import Step
from schemas.products import Rate
from schemas.reading import ProductFile, read
from streams.job import Job
from streams.stages.stage import Keywords, demand


def image2_steps(keywords: Keywords) -> tuple[Step, ...]:
    """Return the steps from rate to cal, and the resampling of the single exposure."""
    from processors.image2 import IMAGE2
    from processors.image3 import resample

    return (*IMAGE2.steps, resample)


def image2_outputs(keywords: Keywords, settings: Settings) -> tuple[str, ...]:
    """Return the suffixes of what image2 makes."""
    return ("cal",) if settings["resample"].skip else ("cal", "i2d")


def image2(job: Job) -> None:
    """Calibrate one exposure, and rectify it."""
    from processors.image2 import IMAGE2
    from processors.image3 import resample

    with ProductFile(job.science().path) as file:
        (cal,) = IMAGE2.stream(job.blocks(file), job.references, job.settings)
    job.save("cal", cal)
    if not job.settings["resample"].skip:
        rectified, _ = resample.run(cal, job.references, job.settings["resample"])
        job.save("i2d", rectified)


def image3_steps(keywords: Keywords) -> tuple[Step, ...]:
    """Return the steps from the cals of an association to mosaic and catalogue."""
    from processors.image3 import resample, source_catalog

    return (resample, source_catalog)


def image3_outputs(keywords: Keywords, settings: Settings) -> tuple[str, ...]:
    """Return the suffixes of what image3 makes.

    Raises
    ------
    UsageError
        If the settings skip what makes them.
    """
    demand(settings, "resample", "mosaic", "cal")
    return ("i2d",) if settings["source_catalog"].skip else ("i2d", "cat", "segm")


def image3(job: Job) -> None:
    """Combine the exposures of an association, and find the sources."""
    from processors.image3 import resample, source_catalog
    from processors.image3.sets import ImageSet

    files = [file for file in job.inputs if file.role == "science"]
    headers = []
    for file in files:
        with ProductFile(file.path) as opened:
            headers.append(opened.meta)
    images = ImageSet.of([partial(_load, file.path) for file in files], [f.path.name for f in files], headers)
    mosaic, _ = resample.run(images, job.references, job.settings["resample"])
    job.save("i2d", mosaic)
    if job.settings["source_catalog"].skip:
        return
    found, _ = source_catalog.run(mosaic, job.references, job.settings["source_catalog"])
    job.save("cat", found.catalogue)
    job.save("segm", found.segmentation)


def _load(path: Path) -> Rate:
    product: Any = read(path)
    return product  # type: ignore[no-any-return]
