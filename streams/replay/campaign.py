"""A campaign: chosen events in a new generation, and plans by which the associator waits for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ulid import ULID

from schemas.errors import UsageError
from schemas.events import Plan, PlanEvent, ProductEvent, RecipeReference, next_generation
from schemas.recipe import Recipe
from streams.associator.plans import plan_from
from streams.bus import Outgoing
from streams.envelope import pack
from streams.recipes import enabled, freeze
from streams.replay.selection import Selection
from streams.roots import handler_after, put_by_digest
from streams.site import Site
from streams.store import Store

TOGETHER: Final = 1000
"""Messages that share a transaction at most."""


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What a replay publishes.

    Attributes
    ----------
    id, generation : str
        Of the campaign and all its events; ULIDs.
    events : tuple of ProductEvent
        What goes on its topic again.
    plans : tuple of Plan
        Which exposures the campaign sends through again, by line and program.
    recipes : mapping of str to Recipe
        Those that the events name, by digest.
    """

    id: str
    generation: str
    events: tuple[ProductEvent, ...]
    plans: tuple[Plan, ...]
    recipes: Mapping[str, Recipe]


def prepare(selection: Selection, recipes: Mapping[str, Recipe], now: float | None = None) -> Campaign:
    """Return the campaign that replays a selection; nothing is stored or published.

    Parameters
    ----------
    selection : Selection
        What was chosen.
    recipes : mapping of str to Recipe
        Under which to replay, by the digest of the recipe that an event names.
    now : float, optional
        Seconds since 1970; the clock's when absent.
    """
    generation = next_generation(time.time() if now is None else now, selection.newest or None)
    name = str(ULID())
    events = tuple(
        _again(event, recipes[event.recipe.digest], generation, name) for event in selection.events
    )
    plans: list[Plan] = []
    for line in sorted({event.line for event in events}):
        plans += plan_from(((event.name, event.keywords) for event in events if event.line == line), line)
    return Campaign(
        id=name,
        generation=generation,
        events=events,
        plans=tuple(plans),
        recipes={recipe.digest: recipe for recipe in recipes.values()},
    )


def publish(campaign: Campaign, site: Site) -> None:
    """Freeze a campaign's recipes and plans into the store, and publish its plans and events.

    All at once if they are few. Else plans go first: an interrupted replay leaves a campaign whose
    associations go out at the associator's deadline, or with the campaign that says the same again.

    Raises
    ------
    UsageError
        If a recipe replaces code and nobody has enabled it; nothing is published then.
    """
    for recipe in campaign.recipes.values():
        digest = freeze(recipe, site.store)
        if not enabled(site.store, digest):
            raise UsageError(
                f"recipe {recipe.name} replaces steps by other code, which the operator has not allowed; "
                f"look at it and say `calstream recipe enable {digest}`, then replay again"
            )
    outputs = [pack(_plan_event(plan, campaign, site.store)) for plan in campaign.plans]
    outputs += [pack(event) for event in campaign.events]
    for batch in _batches(outputs):
        site.bus.publish(batch)


def _again(event: ProductEvent, recipe: Recipe, generation: str, campaign: str) -> ProductEvent:
    return event.model_copy(
        update={
            "generation": generation,
            "campaign": campaign,
            "recipe": RecipeReference(name=recipe.name, digest=recipe.digest),
            "handler": handler_after(event.topic, event.exp_type, recipe, event.keywords),
        }
    )


def _plan_event(plan: Plan, campaign: Campaign, store: Store) -> PlanEvent:
    recipe = next(event.recipe for event in campaign.events if event.line == plan.line)
    return PlanEvent(
        line=plan.line,
        name=f"plan-{plan.program}".lower(),
        generation=campaign.generation,
        campaign=campaign.id,
        recipe=recipe,
        keywords={"PROGRAM": plan.program},
        plan=put_by_digest(store, "plans", plan.model_dump_json().encode(), ".json"),
    )


def _batches(outputs: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    for start in range(0, len(outputs), TOGETHER):
        yield outputs[start : start + TOGETHER]
