"""All topics: their names, and how long their messages are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.naming import LEVELS
from streams.bus import Topic

ASSOCIATION: Final = "association"
FAILURES: Final = "failures"
PLAN: Final = "plan"
LINES: Final = "lines"
"""Records of the named streams of work, by name."""
SERVICES: Final = "services"
"""Records of the running services, by service and instance."""
ASSOCIATOR_STATE: Final = "associator-state"
"""What the associator remembers, piece by piece."""
ASSOCIATOR_TABLES: Final = ("exposures", "associations", "plans")
"""Tables in which it remembers the same on Kafka."""
MEMBERS: Final = "members"
"""On Kafka, what the associator reads, by program or detector and day: forwarded from its sources, or said by
one of its states to another."""
SETTLED: Final = "dlq-settled"
"""What became of dead letters, by topic, partition and offset."""

DEAD_LETTER_BYTES: Final = 256 * 1024
"""Of the longest value on a topic of dead letters: more than any broker takes on the topics themselves."""

MEMBERS_KEPT: Final = 30 * 86400.0
"""Seconds. All of it but ticks of the clock comes from topics that are kept for ever, and is forwarded again
after `calstream rewind associator`."""

EVENTS: Final = (*LEVELS, ASSOCIATION, FAILURES, PLAN)
"""Topics of events."""

TOPICS: Final = (
    *(Topic(name=name) for name in EVENTS),
    Topic(name=LINES, compacted=True),
    Topic(name=SERVICES, compacted=True),
    Topic(name=ASSOCIATOR_STATE, compacted=True, max_bytes=8 * 2**20),
    Topic(name=SETTLED, compacted=True),
    Topic(name=MEMBERS, retention=MEMBERS_KEPT),
)
"""Every topic but those of dead letters. Events are kept for ever: what is current, what may be pruned and
what can be replayed is known from them."""


READERS: Final[Mapping[str, tuple[str, ...]]] = {
    "detector1": ("raw",),
    "ramp_fit": ("ramp", ASSOCIATION),
    "image2": ("rate",),
    "associator": (PLAN, "raw", "ramp", "cal", FAILURES, MEMBERS),
    "image3": (ASSOCIATION,),
}
"""What each consumer group reads, in the order of the road; written out, as the stages load the science."""

LOOKS_ON: Final = frozenset({("associator", "raw"), ("associator", "ramp"), ("ramp_fit", ASSOCIATION)})
"""Group and topic of what is read for few events, of exposures with persistence on; others do the work."""


def changelogs() -> tuple[Topic, ...]:
    """Return the topics that the associator's tables are restored from, on Kafka."""
    return tuple(
        Topic(name=changelog(name), compacted=True, max_bytes=8 * 2**20) for name in ASSOCIATOR_TABLES
    )


def every_topic() -> tuple[Topic, ...]:
    """Return all topics that Kafka needs, those of changelogs and of dead letters too."""
    letters = (dead_letters(topic, group) for group, topics in READERS.items() for topic in topics)
    return (*TOPICS, *changelogs(), *(Topic(name=name, max_bytes=DEAD_LETTER_BYTES) for name in letters))


def dead_letters(topic: str, service: str) -> str:
    """Return the name of the topic that takes what a service could not process of a topic."""
    return f"{topic}.{service}.dlq"


def changelog(table: str) -> str:
    """Return the name of the topic that one of the associator's tables is restored from."""
    return f"associator-{table}-changelog"


def is_dead_letters(topic: str) -> bool:
    """Tell whether a topic holds dead letters."""
    return topic.endswith(".dlq")
