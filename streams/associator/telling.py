"""Between events and the reducer, where files of the store are needed: plans to read, associations to put."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog

from schemas.events import Event, FailureEvent, Plan, PlanEvent, ProductEvent
from schemas.recipe import Recipe
from streams.associator.emissions import to_event
from streams.associator.plans import Expectation
from streams.associator.reducer import Reduced
from streams.roots import handler_of, put_association
from streams.store import Store

log = structlog.get_logger("calstream")


def heard(
    event: Event, store: Store, recipe: Callable[[str], Recipe]
) -> ProductEvent | FailureEvent | Expectation | None:
    """Return what the reducer takes of an event, of a plan what its file says; None where it takes nothing.

    The recipe is looked up already: once an event has been taken, there is no way back when it turns out that
    what is to be said of it cannot be.

    Raises
    ------
    Retriable
        If a plan's file or the recipe cannot be read now.
    Unprocessable
        If there is no such recipe.
    """
    recipe(event.recipe.digest)
    if isinstance(event, PlanEvent):
        with store.fetch(event.plan) as path:
            plan = Plan.model_validate_json(path.read_bytes())
        return Expectation.of(event, plan)
    return event if isinstance(event, ProductEvent | FailureEvent) else None


def told(reduced: Reduced, store: Store, recipe: Callable[[str], Recipe]) -> Iterator[Event]:
    """Yield the events of what there is to say, each when its association lies in the store.

    Parameters
    ----------
    reduced : Reduced
        What the reducer returned; of what it refused the log is told.
    store : Store
        Where associations are put.
    recipe : callable
        ``recipe(digest)`` returns a recipe, for the services that it hands stages to.

    Raises
    ------
    Retriable
        If the store cannot be written now.
    """
    for emission in reduced.emissions:
        handler = handler_of(emission.stage, recipe(emission.recipe.digest))
        yield to_event(emission, put_association(store, emission.association), handler)
    for refused in reduced.refused:
        log.warning("refused", exposure=refused.name, reason=refused.reason)
