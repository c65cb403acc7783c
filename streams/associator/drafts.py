"""What there is to say of a group: a function of the state, so of which events came, not of their order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from schemas.canonical import digest
from schemas.events import RecipeReference
from streams.associator.rules import Place, Rule
from streams.associator.state import Arrival, Exposure, Group, Setback, State


@dataclass(frozen=True)
class Patience:
    """How long the associator waits, in seconds.

    Attributes
    ----------
    quiet : float
        Without a plan: since the last change.
    deadline : float
        For members that a plan or a campaign promised: since the first change that was not yet said.
    """

    quiet: float = 600.0
    deadline: float = 86400.0


@dataclass(frozen=True)
class Draft:
    """An association as it would go out now.

    Attributes
    ----------
    members : tuple of (str, Arrival)
        Role and product, sorted by name.
    failed : tuple of (str, Setback)
        Exposures of the group that failed under this recipe and have no product under it.
    missing : tuple of str
        Planned exposures that neither arrived nor failed.
    recipe : RecipeReference or None
        That of the newest arrival or failure; members under others are left out.
    planned : bool
        Whether a plan names exposures of the group.
    leading : str
        Campaign of the newest arrival or failure.
    unfinished : bool
        Whether that campaign has members of the group that are not through.
    """

    members: tuple[tuple[str, Arrival], ...]
    failed: tuple[tuple[str, Setback], ...]
    missing: tuple[str, ...]
    recipe: RecipeReference | None
    planned: bool
    leading: str
    unfinished: bool

    @property
    def newest(self) -> Arrival:
        """Return the member with the largest generation, from which the association inherits."""
        return max((arrival for _, arrival in self.members), key=lambda arrival: (arrival.rank, arrival.name))

    @property
    def completeness(self) -> str:
        """Return ``complete``, ``partial``, or ``unknown`` when no plan says what to expect."""
        if self.missing or self.unfinished:
            return "partial"
        return "complete" if self.planned else "unknown"

    @cached_property
    def signature(self) -> str:
        """Return a digest of all that would be said; empty when there are no members."""
        if not self.members:
            return ""
        members = [(role, a.identity, a.digest, a.uri, a.generation) for role, a in self.members]
        failed = [(name, setback.stage, setback.error) for name, setback in self.failed]
        whose = (self.recipe and self.recipe.digest, self.newest.campaign)
        return digest([members, failed, self.missing, whose, self.completeness])

    def suffices(self, rule: Rule) -> bool:
        """Tell whether every role has the members that it cannot do without."""
        roles = [role for role, _ in self.members]
        return all(roles.count(role.name) >= role.minimum for role in rule.roles)


def assemble(state: State, group: Group) -> Draft:
    """Return what there is to say of a group.

    Recipes are never mixed: the newest root (the largest generation among arrivals and failures) decides, and
    what came under another recipe counts as not yet there.
    """
    exposures = [(name, state.exposures[name]) for name in group.names]
    arrivals = [found for _, exposure in exposures for found in _arrivals(exposure, group)]
    at_home = [(name, exposure) for name, exposure in exposures if _role(exposure.outlook, group)]
    setbacks = [(name, setback) for name, exposure in at_home for setback in exposure.setbacks.values()]
    news: list[Arrival | Setback] = [arrival for _, arrival in arrivals]
    news.extend(setback for _, setback in setbacks)
    lead = max(news, key=lambda item: (item.generation, item.recipe.digest, item.campaign), default=None)
    recipe, leading = (lead.recipe, lead.campaign) if lead else (None, "")
    usable = [(role, arrival) for role, arrival in arrivals if _under(recipe, arrival)]
    members = tuple(sorted(usable, key=lambda member: (member[1].name, member[1].suffix, member[0])))
    there = {arrival.name for _, arrival in members}
    failed = {name: setback for name, setback in setbacks if _under(recipe, setback) and name not in there}
    expected = {name for name, exposure in at_home if "" in exposure.expected}
    return Draft(
        members=members,
        failed=tuple(sorted(failed.items())),
        missing=tuple(sorted(expected - there - failed.keys())),
        recipe=recipe,
        planned=bool(expected),
        leading=leading,
        unfinished=any(leading in e.expected and leading not in e.through for _, e in at_home if leading),
    )


def due(draft: Draft, group: Group, state: State, patience: Patience) -> float:
    """Return the time from which a draft may go out; minus infinity for at once."""
    if draft.missing or draft.unfinished:
        return group.first + patience.deadline
    if draft.leading not in state.plans or not (draft.planned or draft.leading):
        return group.last + patience.quiet
    return -math.inf


def _under(recipe: RecipeReference | None, item: Arrival | Setback) -> bool:
    return recipe is not None and item.recipe.digest == recipe.digest


def _arrivals(exposure: Exposure, group: Group) -> Iterator[tuple[str, Arrival]]:
    for arrival in exposure.arrivals.values():
        if role := _role(arrival.places, group):
            yield role, arrival


def _role(places: tuple[Place, ...], group: Group) -> str:
    return next((place.role for place in places if place.joins(group.rule, group.fields)), "")
