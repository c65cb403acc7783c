"""Which consumer group reads what: every service is a group of its own name."""

from __future__ import annotations

from typing import Final

from processors.options import suggestion
from schemas.errors import UsageError
from streams.associator.hosting import GROUP, SOURCES
from streams.stages import STAGES

READERS: Final[dict[str, tuple[str, ...]]] = {
    **{stage.name: (stage.source,) for stage in STAGES},
    GROUP: SOURCES,
}
"""Topics by group; a service of fused stages is in the group of its first one."""


def read_by(service: str) -> tuple[str, ...]:
    """Return the topics that a service reads.

    Raises
    ------
    UsageError
        If there is no such service.
    """
    if service not in READERS:
        raise UsageError(f"there is no service {service!r}; {suggestion(service, READERS)}")
    return READERS[service]
