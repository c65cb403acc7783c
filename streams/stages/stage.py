"""What a stage is: from one topic to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from processors.pipelines import Settings
from processors.steps import Step
from schemas.errors import UsageError
from streams.job import Job

Keywords = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of the road.

    Attributes
    ----------
    name : str
        As JWST calls its pipeline: detector1, ramp_fit, image2, image3.
    source, target : str
        The topic that it reads, and the one that it publishes on.
    pipeline : str
        JWST's pipeline that its steps belong to, for the context's parameter references.
    accepts : callable
        ``accepts(exp_type)`` tells whether exposures of this type go through it.
    steps : callable
        ``steps(keywords)`` returns the steps that it runs on such an exposure, in order.
    outputs : callable
        ``outputs(keywords, settings)`` returns the suffixes of what it makes, the primary product's first.
    compute : callable
        ``compute(job)`` makes them.
    associated : bool
        Whether it also reads the topic ``association``, for exposures that wait for others.
    """

    name: str
    source: str
    target: str
    pipeline: str
    accepts: Callable[[str], bool]
    steps: Callable[[Keywords], tuple[Step, ...]]
    outputs: Callable[[Keywords, Settings], tuple[str, ...]]
    compute: Callable[[Job], None]
    associated: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """Return all topics that it reads."""
        return (self.source, "association") if self.associated else (self.source,)


def demand(settings: Settings, step: str, product: str, level: str) -> None:
    """Refuse settings that skip a step without which a stage has nothing to make.

    Parameters
    ----------
    settings : mapping of str to StepSettings
        By step name.
    step, product : str
        The step, and what it makes.
    level : str
        The last level that does without.

    Raises
    ------
    UsageError
        If the step is to be skipped.
    """
    if step in settings and settings[step].skip:
        raise UsageError(
            f"{step}.skip = true: without the step there is no {product}; take the setting away, or stop "
            f"before it with --until {level}"
        )


def fuse(first: Stage, second: Stage, compute: Callable[[Job], None]) -> Stage:
    """Return one stage that does the work of two neighbours without storing what is between them.

    Parameters
    ----------
    first, second : Stage
        The second reads what the first publishes.
    compute : callable
        Does both, in memory.
    """
    if first.target != second.source:
        raise ValueError(f"{first.name} publishes on {first.target}, {second.name} reads {second.source}")
    return Stage(
        name=f"{first.name}+{second.name}",
        source=first.source,
        target=second.target,
        pipeline=first.pipeline,
        accepts=lambda exp_type: first.accepts(exp_type) and second.accepts(exp_type),
        steps=lambda keywords: (*first.steps(keywords), *second.steps(keywords)),
        outputs=second.outputs,
        compute=compute,
    )
