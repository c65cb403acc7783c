"""The services that there are, by name."""

from __future__ import annotations

from typing import Final

from schemas.errors import UsageError

ASSOCIATOR: Final = "associator"

STAGES: Final[dict[str, tuple[str, ...]]] = {
    "detector1": ("streams.stages.table:DETECTOR1", "streams.stages.table:GUIDER"),
    "detector1+ramp_fit": (
        "streams.stages.table:RAW_TO_RATE",
        "streams.stages.table:DETECTOR1",
        "streams.stages.table:GUIDER",
    ),
    "ramp_fit": ("streams.stages.table:RAMP_FIT",),
    "image2": ("streams.stages.table:IMAGE2",),
    "image3": ("streams.stages.table:IMAGE3",),
}
"""What each service does, as ``module:NAME``: the first of its stages that takes an event does.

A fused one takes the place of its first part: it is of the same consumer group, and does the part alone where
a recipe wants the ramp published, or another service to fit it.
"""

ROAD: Final = ("detector1", "ramp_fit", "image2", "image3", ASSOCIATOR)
"""What one machine runs to serve the whole road."""


def group_of(service: str) -> str:
    """Return a service's consumer group."""
    return service.partition("+")[0]


def demand_services(names: tuple[str, ...]) -> None:
    """Refuse names that are no services, or two of one group.

    Raises
    ------
    UsageError
        Which.
    """
    from processors.options import suggestion

    known = (*STAGES, ASSOCIATOR)
    for name in names:
        if name not in known:
            raise UsageError(f"there is no service {name!r}; {suggestion(name, known)}")
    groups = [group_of(name) for name in names]
    twice = next((name for name in names if groups.count(group_of(name)) > 1), None)
    if twice is not None:
        raise UsageError(
            f"{', '.join(names)}: {group_of(twice)} is asked for twice; name it once, and give --slots for "
            "more children, or start further processes for more of it"
        )
