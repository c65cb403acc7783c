"""What there is to say of a group: a function of the state, so of which events came, not of their order.

Which products are members. Of each exposure one product of a suffix: the current one (the largest generation)
among those that count.

- Of what came with the stream (on no campaign) only what is under the recipe of the newest root counts: when
  a line goes over to another recipe, members under the one before are not yet there, and are waited for.
- What a campaign sent counts under whatever recipe, if it is newer than all that came with the stream under a
  recipe that the line has left. A replay redoes some exposures on purpose, often under a recipe derived for
  it; the others are taken as they are. So redoing one detector with another flat gives a mosaic of all
  detectors, and a replay that failed leaves the product that was there before.

What a group about one exposure takes along counts whatever its recipe: a history is no worse for that.

The association is processed under the recipe of its newest news; members that were made under another one are
named with it in ``calstream_recipes``. Lines never mix: a state knows one line only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from schemas.canonical import digest
from schemas.events import RecipeReference
from streams.associator.rules import Place, Rule
from streams.associator.state import INGESTED, Arrival, Exposure, Group, Setback, State

News = Arrival | Setback
"""What can happen to an exposure."""


PROMISES: Final = frozenset({"", INGESTED})
"""Plans of what comes with the stream: the standing one, and what has been ingested."""

WAIT: Final = 1800.0
"""Longest wait, in seconds, of an exposure that is there for others that it takes along."""


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
        Exposures of the group whose failure counts, and that have no product that does.
    missing : tuple of str
        Planned exposures that neither arrived nor failed.
    recipe : RecipeReference or None
        That of the newest arrival or failure, under which the association is processed.
    planned : bool
        Whether a plan names exposures of the group.
    leading : str
        Campaign of the newest arrival or failure.
    unfinished : bool
        Whether that campaign has members of the group that are not through.
    about : Arrival, optional
        The product of the one exposure that it is about, if it is about one; its recipe is the draft's.
    """

    members: tuple[tuple[str, Arrival], ...]
    failed: tuple[tuple[str, Setback], ...]
    missing: tuple[str, ...]
    recipe: RecipeReference | None
    planned: bool
    leading: str
    unfinished: bool
    about: Arrival | None = None

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
        if self.about is not None:  # what it waits for is nothing to be said again
            who = self.recipe and self.recipe.digest
            return digest([[(r, a.identity, a.digest, a.uri, a.generation) for r, a in self.members], who])
        members = [
            (role, a.identity, a.digest, a.uri, a.generation, a.recipe.digest) for role, a in self.members
        ]
        failed = [(name, setback.stage, setback.error) for name, setback in self.failed]
        whose = (self.recipe and self.recipe.digest, self.newest.campaign)
        return digest([members, failed, self.missing, whose, self.completeness])

    def suffices(self, rule: Rule) -> bool:
        """Tell whether every role has the members that it cannot do without."""
        roles = [role for role, _ in self.members]
        return all(roles.count(role.name) >= role.minimum for role in rule.roles)


def assemble(state: State, group: Group) -> Draft:
    """Return what there is to say of a group; the module says which products count."""
    exposures = [(name, state.exposures[name]) for name in group.names]
    at_home = [(name, exposure) for name, exposure in exposures if _role(exposure.outlook, group)]
    setbacks = [(name, setback) for name, exposure in at_home for setback in exposure.setbacks.values()]
    news: list[News] = [arrival for _, exposure in exposures for arrival in _arrivals(exposure, group)]
    news.extend(setback for _, setback in setbacks)
    lead = max(news, key=_newness, default=None)
    recipe, leading = (lead.recipe, lead.campaign) if lead else (None, "")
    counts = _era(news) if not group.about else _any
    members = tuple(
        sorted(
            (member for _, exposure in exposures for member in _members(exposure, group, counts)),
            key=lambda member: (member[1].name, member[1].suffix, member[0]),
        )
    )
    one = next((arrival for _, arrival in members if arrival.name == group.about), None)
    if group.about and one is None:
        members = ()  # it has nothing to say yet
    there = {arrival.name for _, arrival in members} | _settled(exposures, group)
    failed: dict[str, Setback] = {}
    for name, setback in sorted(setbacks, key=lambda item: item[1].rank):
        if counts(setback) and name not in there:
            failed[name] = setback
    expected = {name for name, exposure in at_home if not exposure.expected.keys().isdisjoint(PROMISES)}
    return Draft(
        members=members,
        failed=tuple(sorted(failed.items())),
        missing=tuple(sorted(expected - there - failed.keys())),
        recipe=one.recipe if one else recipe,
        planned=bool(expected),
        leading=leading,
        unfinished=any(leading in e.expected and leading not in e.through for _, e in at_home if leading),
        about=one,
    )


def due(draft: Draft, group: Group, state: State, patience: Patience) -> float:
    """Return the time from which a draft may go out; minus infinity for at once."""
    if draft.missing or draft.unfinished:
        return group.first + (min(WAIT, patience.deadline) if group.about else patience.deadline)
    if group.about:
        return -math.inf
    if draft.leading not in state.plans or not (draft.planned or draft.leading):
        return group.last + patience.quiet
    return -math.inf


def _settled(exposures: Iterable[tuple[str, Exposure]], group: Group) -> set[str]:
    """Return exposures whose ramps are there: no member will come of them that is not there too."""
    if not group.about:
        return set()
    return {name for name, e in exposures if any(a.suffix == "ramp" for a in e.arrivals.values())}


def _any(item: News) -> bool:
    return True


def _era(news: Iterable[News]) -> Callable[[News], bool]:
    """Return which arrivals and failures count together: see the module."""
    every = list(news)
    standing = [item for item in every if not item.campaign]
    newest = max(standing, key=_newness, default=None)
    if newest is None:
        return lambda item: True
    recipe = newest.recipe.digest
    before = max((item.generation for item in standing if item.recipe.digest != recipe), default="")
    return lambda item: item.generation > before if item.campaign else item.recipe.digest == recipe


def _newness(item: News) -> tuple[str, str, str]:
    return item.generation, item.recipe.digest, item.campaign


def _members(
    exposure: Exposure, group: Group, counts: Callable[[News], bool]
) -> Iterator[tuple[str, Arrival]]:
    """Yield role and product of an exposure's parts in a group: of each suffix the current product."""
    current: dict[str, Arrival] = {}
    for arrival in exposure.arrivals.values():
        known = current.get(arrival.suffix)
        if counts(arrival) and (known is None or _precedence(arrival) > _precedence(known)):
            current[arrival.suffix] = arrival
    for arrival in current.values():
        if role := _role(arrival.places, group):
            yield role, arrival


def _precedence(arrival: Arrival) -> tuple[tuple[str, int, str, str, str, str], str]:
    return arrival.rank, arrival.recipe.digest


def _arrivals(exposure: Exposure, group: Group) -> Iterator[Arrival]:
    return (arrival for arrival in exposure.arrivals.values() if _role(arrival.places, group))


def _role(places: tuple[Place, ...], group: Group) -> str:
    return next((place.role for place in places if place.joins(group.rule, group.fields)), "")
