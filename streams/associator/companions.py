"""Who goes on alone, and who waits for company: one predicate for the whole road."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from processors.modes import MODES, is_miri
from processors.recipes import asks_for, merged
from schemas.events import AssociationEvent, Event
from schemas.keywords import began
from schemas.naming import SUFFIX_LEVEL
from schemas.recipe import Recipe

_PERSISTENCE: Final = "persistence"
_HISTORY: Final = "persistence_history"

_ALONE: Final = frozenset({"raw", "ramp", "rate"})
"""Levels from which every exposure of the modes that we have goes on by itself."""


def needs_companions(event: Event, recipe: Recipe) -> bool:
    """Tell whether what an event announces reaches its next stage by way of the associator only.

    Raw exposures and the second stage of imaging never wait; a ramp waits for the persistence histories of
    its detector where the recipe has persistence on; stage 3 takes nothing but associations. Each event is
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
    level = SUFFIX_LEVEL.get(event.suffix, event.topic)
    return looks_back(event.keywords, recipe) if level == "ramp" else level not in _ALONE


def looks_back(keywords: Mapping[str, Any], recipe: Recipe) -> bool:
    """Tell whether an exposure is to know what the exposures before it on its detector left behind.

    Parameters
    ----------
    keywords : mapping of str to scalar
        Of the exposure.
    recipe : Recipe
        With persistence on or off; what CRDS says of the step does not count.
    """
    if not (asks_for(recipe, _PERSISTENCE, keywords) and asks_for(recipe, _HISTORY, keywords)):
        return False
    mode = MODES.get(str(keywords.get("EXP_TYPE", "")))
    near_infrared = not is_miri(keywords)
    known = bool(keywords.get("DETECTOR")) and began(keywords) is not None
    return near_infrared and known and mode is not None and mode.stage1 == "detector1"


def keeps_history(keywords: Mapping[str, Any], recipe: Recipe) -> bool:
    """Tell whether the history that an exposure leaves is to be kept, so that its ramp is stored too."""
    return asks_for(recipe, _HISTORY, keywords)


def may_keep_histories(recipe: Recipe) -> bool:
    """Tell whether there are exposures of which a recipe keeps histories."""
    whole = merged(recipe)
    tables = [whole.steps, *(override.steps for override in whole.overrides)]
    names = (_PERSISTENCE, _HISTORY)
    return any(table[name].get("skip") is False for table in tables for name in names if name in table)
