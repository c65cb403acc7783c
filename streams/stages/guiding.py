"""What the guiders see: raw -> cal."""

from __future__ import annotations

from processors.pipelines import Settings
from processors.steps import Step
from schemas.reading import ProductFile
from streams.job import Job
from streams.stages.stage import Keywords, demand


def guider_steps(keywords: Keywords) -> tuple[Step, ...]:
    """Return the steps from raw to cal."""
    from processors.guider import GUIDER

    return GUIDER.steps


def guider_outputs(keywords: Keywords, settings: Settings) -> tuple[str, ...]:
    """Return the suffix of what guider makes.

    Raises
    ------
    UsageError
        If the settings skip what makes it.
    """
    demand(settings, "guider_cds", "cal", "raw")
    return ("cal",)


def guider(job: Job) -> None:
    """Calibrate what a guider saw."""
    from processors.guider import GUIDER

    with ProductFile(job.science().path) as file:
        (cal,) = GUIDER.stream(job.blocks(file), job.references, job.settings)
    job.save("cal", cal)
