"""Plans of what ingest is about to publish, merged with what was planned before."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from schemas.events import Plan, PlanEvent, PlannedExposure, next_generation
from streams.associator.plans import plan_from, route
from streams.bus import Bus
from streams.current import events_of
from streams.envelope import pack
from streams.inputs import InputProduct
from streams.roots import Roots
from streams.store import Store
from streams.topics import PLAN


def publish_plans(products: Iterable[InputProduct], line: str, roots: Roots, bus: Bus, store: Store) -> int:
    """Say that exposures are to come on a line; return how many programs' plans were published.

    The newest plan of a program replaces the older one, so each is published with all that the one before
    said. One that says nothing new is not published.

    Parameters
    ----------
    products : iterable of InputProduct
        The exposures.
    line : str
        The line.
    roots : Roots
        Makes the events; of that line.
    bus, store : Bus, Store
        Where plans are.
    """
    wanted = plan_from(((item.name, item.keywords) for item in products), line)
    return sum(_published(plan, roots, bus, store) for plan in wanted)


def _published(plan: Plan, roots: Roots, bus: Bus, store: Store) -> bool:
    """Publish a plan until the newest one holds all of it, and all that others said in between."""
    seen = _standing(plan, bus)
    newest = max(seen.values(), key=_generation, default=None)
    wanted = _merged(plan, [newest] if newest else [], store)
    published = False
    while newest is None or not _holds(_content(newest, store), wanted):
        last = newest.generation if newest else None
        event = roots.plan(wanted).with_(generation=next_generation(time.time(), last))
        bus.publish([pack(event)])
        published = True
        there = _standing(plan, bus)
        others = [one for key, one in there.items() if key not in seen and key != event.id]
        newest, seen = max(there.values(), key=_generation), there
        wanted = _merged(wanted, others, store)
    return published


def _standing(plan: Plan, bus: Bus) -> Mapping[str, PlanEvent]:
    """Return the plans of a program and line that belong to no campaign, by id."""
    whose = (plan.line, plan.program)
    plans = (event for event in events_of(bus, [PLAN]) if isinstance(event, PlanEvent))
    return {event.id: event for event in plans if not event.campaign and route(event) == whose}


def _generation(event: PlanEvent) -> str:
    return event.generation


def _content(event: PlanEvent, store: Store) -> Plan:
    with store.fetch(event.plan) as path:
        return Plan.model_validate_json(path.read_bytes())


def _merged(plan: Plan, others: Iterable[PlanEvent], store: Store) -> Plan:
    """Return a plan of all exposures of several; what `plan` says of one holds."""
    planned: dict[str, PlannedExposure] = {}
    for other in sorted(others, key=_generation):
        planned.update({exposure.name: exposure for exposure in _content(other, store).exposures})
    planned.update({exposure.name: exposure for exposure in plan.exposures})
    return plan.model_copy(update={"exposures": tuple(planned[name] for name in sorted(planned))})


def _holds(plan: Plan, wanted: Plan) -> bool:
    there = {exposure.name: exposure for exposure in plan.exposures}
    return all(there.get(exposure.name) == exposure for exposure in wanted.exposures)
