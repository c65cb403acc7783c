"""Between events and the reducer, where files of the store are needed: plans to read, associations to put."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from schemas.events import Event, FailureEvent, Plan, PlanEvent, PlannedExposure, ProductEvent
from schemas.manifests import Manifest
from schemas.recipe import Recipe
from streams.associator.companions import looks_back
from streams.associator.emissions import to_event
from streams.associator.plans import Expectation, detector_days, route
from streams.associator.reducer import Reduced
from streams.roots import handler_of, put_association
from streams.store import Store

log = structlog.get_logger("calstream")


@dataclass(frozen=True)
class Heard:
    """What a state of the reducer's takes: whose it is, as line and address, and the message."""

    whose: tuple[str, str]
    message: ProductEvent | FailureEvent | Expectation


def heard(event: Event, store: Store, recipe: Callable[[str], Recipe]) -> list[Heard]:
    """Return what the reducer takes of an event: of a plan what its file says, of a ramp its history too.

    A program's state takes what goes into its associations. Where the recipe has persistence on, a detector's
    state takes plans, raw exposures, ramps and their histories, and failures: that of the day on which the
    exposure began, and those of the days after on which the exposure goes on or may still tell.

    The recipe is looked up already: once an event has been taken, there is no way back when it turns out that
    what is to be said of it cannot be.

    Raises
    ------
    Retriable
        If a plan's file or the recipe cannot be read now.
    Unprocessable
        If there is no such recipe.
    """
    known = recipe(event.recipe.digest)
    if isinstance(event, PlanEvent):
        with store.fetch(event.plan) as path:
            plan = Plan.model_validate_json(path.read_bytes())
        return heard_of_plan(Expectation.of(event, plan), known)
    if isinstance(event, FailureEvent):
        first = event.stage.partition("+")[0] in ("ingest", "detector1")  # no ramp comes of it
        days = _days(event, known) if first else []
        return [Heard(route(event), event), *(Heard((event.line, day), event) for day in days)]
    if not isinstance(event, ProductEvent):
        return []
    if event.topic in ("raw", "ramp"):
        return list(_heard_of_detector(event, _days(event, known), store))
    return [Heard(route(event), event)]


def _days(event: Event, recipe: Recipe) -> list[str]:
    return detector_days(event.keywords) if looks_back(event.keywords, recipe) else []


def heard_of_plan(expectation: Expectation, recipe: Recipe) -> list[Heard]:
    """Return a plan for its program, and for each detector that part of it which is the detector's."""
    parts: dict[str, list[PlannedExposure]] = {}
    for exposure in expectation.plan.exposures:
        for day in detector_days(exposure.keywords) if looks_back(exposure.keywords, recipe) else ():
            parts.setdefault(day, []).append(exposure)
    days = sorted(parts)
    known = expectation.model_copy(update={"whole": expectation.version.rpartition("/")[2]})
    found = [Heard(route(known), known.model_copy(update={"days": tuple(days)}))]
    return [*found, *(Heard((known.plan.line, day), known.part(parts[day])) for day in days)]


def _heard_of_detector(event: ProductEvent, days: list[str], store: Store) -> Iterator[Heard]:
    """Yield a raw exposure, or the history that came with a ramp and then the ramp, for each of the days."""
    if event.topic == "ramp" and days and event.manifest is not None:
        with store.fetch(event.manifest) as path:
            products = Manifest.model_validate_json(path.read_bytes()).products
        for entry in products:
            if (entry.name, entry.suffix) == (event.name, "persistence"):
                update = {"suffix": entry.suffix, "product": entry.artifact}
                history = event.model_copy(update=update)
                yield from (Heard((event.line, day), history) for day in days)
    yield from (Heard((event.line, day), event) for day in days)


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
