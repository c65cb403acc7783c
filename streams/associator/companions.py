"""Who goes on alone, and who waits for company: one predicate for the whole road."""

from __future__ import annotations

from typing import Final

from schemas.events import AssociationEvent, Event
from schemas.naming import SUFFIX_LEVEL
from schemas.recipe import Recipe

_ALONE: Final = frozenset({"raw", "ramp", "rate"})
"""Levels from which every exposure of the modes that we have goes on by itself."""


def needs_companions(event: Event, recipe: Recipe) -> bool:
    """Tell whether what an event announces reaches its next stage by way of the associator only.

    Stage 1 and the second stage of imaging never wait; stage 3 takes nothing but associations. Each event is
    for exactly one of the two: a stage leaves alone what needs companions, and takes the associator's event.

    Parameters
    ----------
    event : Event
        What was published.
    recipe : Recipe
        The recipe that its digest names: steps that are skipped need no companions.
    """
    if isinstance(event, AssociationEvent):
        return False
    return SUFFIX_LEVEL.get(event.suffix, event.topic) not in _ALONE
