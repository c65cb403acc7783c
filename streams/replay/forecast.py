"""What a campaign would lead to, without computing: which runs are finished, and which are not.

Each event is followed along the road with the run keys that the stages would work out. Behind a run that is
not finished nothing is, since its product is not known yet: what is foretold to be computed is the most that
there can be (a product that comes out the same as before is a hit for the stage behind it).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from processors.recipes import merged
from schemas.canonical import digest
from schemas.content import file_digest
from schemas.errors import CalstreamError, Unprocessable
from schemas.events import Artifact, AssociationEvent, Event, ProductEvent
from schemas.naming import SUFFIX_LEVEL
from schemas.recipe import Recipe
from streams.associator.companions import looks_back, needs_companions
from streams.associator.driver import Associator
from streams.associator.emissions import Emission, to_event
from streams.associator.hosting import SOURCES
from streams.associator.plans import Expectation, detector_days, route
from streams.associator.telling import Heard, heard, heard_of_plan
from streams.current import events_of
from streams.execution import event_of
from streams.manifest_files import StoreLedger
from streams.planning import Run, Tools, planned
from streams.recipes import RecipeShelf
from streams.references import ReferenceLibrary
from streams.replacements import allowed_packages, resolver
from streams.replay.campaign import Campaign
from streams.roots import handler_after, handler_of
from streams.site import Site
from streams.stages import Stage, next_stage, stage_named
from streams.stages.table import DETECTOR1, RAMP_FIT, RAW_TO_RATE
from streams.store import Store

COMPUTED: Final = "computed"
HIT: Final = "hit"
UNKNOWN: Final = "unknown"

_HISTORY: Final = "persistence"


@dataclass(frozen=True, kw_only=True)
class Affected:
    """An association that goes out again.

    Attributes
    ----------
    name, stage : str
        Of its product, and who takes it.
    members, sent : int
        How many members it has, and how many of them come from the campaign.
    outcome : str
        ``computed``, ``hit`` or ``unknown``.
    """

    name: str
    stage: str
    members: int
    sent: int
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a campaign would lead to.

    Attributes
    ----------
    runs : mapping of (str, str) to int
        How many, by stage and outcome; those of associations too.
    associations : tuple of Affected
        By name.
    others : mapping of str to int
        Events that go to services of other handlers, behind which nothing can be told.
    reasons : tuple of str
        Why outcomes are unknown.
    """

    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    associations: tuple[Affected, ...] = ()
    others: Counter[str] = field(default_factory=Counter)
    reasons: tuple[str, ...] = ()

    def count(self, outcome: str) -> int:
        """Return how many runs have an outcome."""
        return sum(number for (_, found), number in self.runs.items() if found == outcome)


def forecast(campaign: Campaign, site: Site, tools: Callable[[Recipe], Tools]) -> Forecast:
    """Return what a campaign would lead to; nothing is published, stored or computed.

    Parameters
    ----------
    campaign : Campaign
        As prepared.
    site : Site
        Bus and store.
    tools : callable
        ``tools(recipe)`` returns the tools of a stage for events under a recipe.
    """
    recipe = _recipes(campaign, site.store)
    walk = _Walk(recipe, tools)
    reached = [walk.to_the_associator(event) for event in campaign.events]
    coming = {
        one.identity: one for event in reached if event is not None for one in _with_history(event, recipe)
    }
    said = _emissions(campaign, coming.values(), site, recipe)
    if fits := [emission for emission in said if emission.stage == RAMP_FIT.name]:
        going = [walk.to_the_associator(walk.fitted(emission, coming)) for emission in fits]
        coming |= {event.identity: event for event in going if event is not None}
        said = _emissions(campaign, coming.values(), site, recipe)
    affected = [walk.combined(emission, coming) for emission in said if emission.stage != RAMP_FIT.name]
    return Forecast(
        runs=walk.runs,
        associations=tuple(sorted(affected, key=lambda one: (one.name, one.stage))),
        others=walk.others,
        reasons=tuple(dict.fromkeys(walk.reasons)),
    )


def tools_of(site: Site, campaign: Campaign, environ: Mapping[str, str]) -> Callable[[Recipe], Tools]:
    """Return what gives the tools of a stage for events under a recipe, as a service has them.

    Parameters
    ----------
    site : Site
        Bus and store.
    campaign : Campaign
        Whose recipes need not be in the store yet.
    environ : mapping of str to str
        Environment, for the packages that steps may be taken from.
    """
    known = _recipes(campaign, site.store)
    libraries: dict[str | None, ReferenceLibrary] = {}
    resolve = resolver(allowed_packages(environ))

    def tools(recipe: Recipe) -> Tools:
        context = merged(recipe).crds_context
        library = libraries.setdefault(context, ReferenceLibrary(context=context))
        return Tools(
            store=site.store,
            library=library,
            ledger=StoreLedger(site.store),
            recipe=lambda event: known(event.recipe.digest),
            resolve=resolve,
        )

    return tools


class _Walk:
    """The road, with the count of what was met on it."""

    def __init__(self, recipe: Callable[[str], Recipe], tools: Callable[[Recipe], Tools]) -> None:
        self.runs: Counter[tuple[str, str]] = Counter()
        self.others: Counter[str] = Counter()
        self.reasons: list[str] = []
        self._recipe = recipe
        self._tools = tools

    def to_the_associator(self, event: ProductEvent) -> ProductEvent | None:
        """Follow an event; return what will reach the associator, or None where its road ends before."""
        recipe = self._recipe(event.recipe.digest)
        while not needs_companions(event, recipe):
            stage = next_stage(event.topic, event.exp_type)
            if stage is None:
                return None
            if event.handler != "builtin":
                self.others[event.handler] += 1
                return _unmade(event, "cal", event.handler, UNKNOWN)
            try:
                event = self._next(stage, event, self._tools(recipe))
            except CalstreamError as error:
                self.reasons.append(str(error))
                self.runs[stage.name, UNKNOWN] += 1
                return _unmade(event, "cal", str(error), UNKNOWN)
        return event

    def fitted(self, emission: Emission, coming: Mapping[str, ProductEvent]) -> ProductEvent:
        """Return what becomes of a ramp that goes on with histories of the exposures before it.

        Its rate; an unknown ``cal`` where nothing can be told of what is behind it.
        """
        recipe = self._recipe(emission.recipe.digest)
        unmade = _rate_of(emission, handler_after("rate", str(emission.keywords.get("EXP_TYPE", "")), recipe))
        outcome, rate = self._outcome_of(emission, coming)
        if outcome == UNKNOWN:
            return _unmade(unmade, "cal", unmade.product.sha256, UNKNOWN)
        return (rate or unmade).model_copy(update={"outcome": outcome})

    def combined(self, emission: Emission, coming: Mapping[str, ProductEvent]) -> Affected:
        """Return what becomes of an association."""
        members = _identities(emission)
        outcome, _ = self._outcome_of(emission, coming)
        return Affected(
            name=emission.name,
            stage=emission.stage,
            members=len(members),
            sent=sum(identity in coming for identity in members),
            outcome=outcome,
        )

    def _next(self, stage: Stage, event: ProductEvent, tools: Tools) -> ProductEvent:
        runs = [planned(one, event, tools) for one in _ways(stage)]
        for run in runs:
            if (manifest := tools.ledger.finished(run)) is not None:
                self.runs[run.stage.name, HIT] += 1
                return event_of(run, manifest, "cached", tools)
        self.runs[stage.name, COMPUTED] += 1
        return _announced(runs[0], tools)

    def _outcome_of(
        self, emission: Emission, coming: Mapping[str, ProductEvent]
    ) -> tuple[str, ProductEvent | None]:
        """Return what becomes of an association, and its product if there is one already; count its run.

        One that goes to another's service is no run of ours, whatever its members are.
        """
        handler = handler_of(emission.stage, self._recipe(emission.recipe.digest))
        if handler != "builtin":
            self.others[handler] += 1
            return UNKNOWN, None
        outcome, made = self._worked_out(emission, coming)
        self.runs[emission.stage, outcome] += 1
        return outcome, made

    def _worked_out(
        self, emission: Emission, coming: Mapping[str, ProductEvent]
    ) -> tuple[str, ProductEvent | None]:
        outcomes = {coming[identity].outcome for identity in _identities(emission) if identity in coming}
        for outcome in (UNKNOWN, COMPUTED):
            if outcome in outcomes:
                return outcome, None
        try:
            return self._looked_up(emission)
        except CalstreamError as error:
            self.reasons.append(str(error))
            return UNKNOWN, None

    def _looked_up(self, emission: Emission) -> tuple[str, ProductEvent | None]:
        tools = self._tools(self._recipe(emission.recipe.digest))
        with _announced_association(emission) as event:
            run = planned(stage_named(event.stage), event, tools)
            if (manifest := tools.ledger.finished(run)) is None:
                return COMPUTED, None
            return HIT, event_of(run, manifest, "cached", tools)


def _identities(emission: Emission) -> list[str]:
    """Return the identities of an association's members."""
    return [member.identity for product in emission.association.products for member in product.members]


def _recipes(campaign: Campaign, store: Store) -> Callable[[str], Recipe]:
    """Return what gives recipes by digest: the campaign's, which need not be in the store yet, and others."""
    shelf = RecipeShelf(store)
    return lambda digest: campaign.recipes.get(digest) or shelf.get(digest)


@contextlib.contextmanager
def _announced_association(emission: Emission) -> Iterator[AssociationEvent]:
    """Give the event of an association that is in no store."""
    with tempfile.TemporaryDirectory(prefix="calstream-") as folder:
        path = Path(folder) / "asn.json"
        path.write_text(emission.association.to_json())
        size, sha256 = path.stat().st_size, file_digest(path)
        yield to_event(emission, Artifact(uri=path.as_uri(), size=size, sha256=sha256))


def _rate_of(emission: Emission, handler: str) -> ProductEvent:
    """Return the event of a rate that is still to be made of a ramp and what goes with it."""
    content = digest(["still to be made", emission.name, "rate", emission.association.to_json()])
    return ProductEvent(
        topic="rate",
        line=emission.line,
        name=emission.name,
        suffix="rate",
        generation=emission.generation,
        campaign=emission.campaign,
        recipe=emission.recipe,
        handler=handler,
        keywords=emission.keywords,
        product=Artifact(uri="", size=0, sha256=content, content=content),
    )


def _ways(stage: Stage) -> tuple[Stage, ...]:
    """Return the stages that may have done a stage's work: alone, or fused with the next one."""
    return (stage, RAW_TO_RATE) if stage is DETECTOR1 else (stage,)


def _announced(run: Run, tools: Tools) -> ProductEvent:
    """Return the event of a run that is not finished: where it goes is known, what is in it is not."""
    assert isinstance(run.event, ProductEvent)
    made = _unmade(run.event, run.suffixes[0], run.key, COMPUTED)
    handler = handler_after(run.stage.target, made.exp_type, tools.recipe(run.event), made.keywords)
    return made.model_copy(update={"topic": run.stage.target, "handler": handler})


def _unmade(event: ProductEvent, suffix: str, key: str, outcome: str) -> ProductEvent:
    """Return the event of a product that is still to be made; its digest is no other product's."""
    content = digest(["still to be made", event.identity, suffix, key])
    return event.model_copy(
        update={
            "topic": SUFFIX_LEVEL[suffix],
            "suffix": suffix,
            "outcome": outcome,
            "product": Artifact(uri="", size=0, sha256=content, content=content),
        }
    )


def _emissions(
    campaign: Campaign, coming: Iterable[ProductEvent], site: Site, recipe: Callable[[str], Recipe]
) -> list[Emission]:
    """Return what the associator will say of a campaign, the last word on each association.

    It is told all that it was told before, then the campaign; the campaign's programs and detectors are
    enough.
    """
    associator = Associator()
    messages = [one for event in coming for one in _heard_of(event, site.store, recipe)]
    concerned = {one.whose for one in messages} | {route(event) for event in campaign.events}
    for event in events_of(site.bus, SOURCES):
        for one in _heard_before(event, site.store, recipe):
            if one.whose in concerned:
                list(associator.hear(one.message, 0.0, one.whose))
    associator.finish()
    for plan in campaign.plans:
        expectation = Expectation(plan=plan, generation=campaign.generation, campaign=campaign.id)
        whose = next(event.recipe.digest for event in campaign.events if event.line == plan.line)
        messages = [*heard_of_plan(expectation, recipe(whose)), *messages]
    said = [after for one in messages for after in associator.hear(one.message, 0.0, one.whose)]
    said += associator.finish()
    last = {emission.association_id: emission for one in said for emission in one.emissions}
    return [emission for emission in last.values() if emission.campaign == campaign.id]


def _with_history(event: ProductEvent, recipe: Callable[[str], Recipe]) -> list[ProductEvent]:
    """Return an event, and before a ramp that is still to be made the history that will be made with it."""
    unmade = event.suffix == "ramp" and event.outcome in (COMPUTED, UNKNOWN)
    if not unmade or not looks_back(event.keywords, recipe(event.recipe.digest)):
        return [event]
    return [event.model_copy(update={"suffix": _HISTORY}), event]


def _heard_of(event: ProductEvent, store: Store, recipe: Callable[[str], Recipe]) -> list[Heard]:
    if event.suffix == _HISTORY:
        return [Heard((event.line, day), event) for day in detector_days(event.keywords)]
    return heard(event, store, recipe)


def _heard_before(event: Event, store: Store, recipe: Callable[[str], Recipe]) -> list[Heard]:
    """Return what the associator was told by an event; nothing, if it is one of those that it refused."""
    try:
        return heard(event, store, recipe)
    except Unprocessable:
        return []
