"""What the associator remembers of one program on one line: only what has arrived, as sets that grow.

Every part merges in any order to the same value: of two arrivals the more current one stays, of two plans the
newer one. So what is derived from a state depends on which events came, not on when.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from schemas.events import FailureEvent, Frozen, ProductEvent, RecipeReference, Scalar
from streams.associator.rules import Place

OF_DETECTOR: Final = "@"
"""Parts detector and day in the address of a state that is a detector's."""

INGESTED: Final = "ingested"
"""Stands for a plan of what has been ingested, where a raw exposure alone says that more is to come."""


def _shared(keywords: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    """Return keywords of which each text is in memory once: exposures of a program have most in common."""
    return {
        sys.intern(key): sys.intern(value) if isinstance(value, str) else value
        for key, value in keywords.items()
    }


Keywords = Annotated[Mapping[str, Scalar], AfterValidator(_shared)]


class Arrival(Frozen):
    """A product that has arrived: the most current one of an exposure, a suffix and a recipe; what a campaign
    sent is apart from what came with the stream.
    """

    name: str
    suffix: str
    identity: str
    digest: str
    uri: str
    generation: str
    inputs: int
    run_key: str
    campaign: str
    recipe: RecipeReference
    keywords: Keywords
    places: tuple[Place, ...]

    @classmethod
    def of(cls, event: ProductEvent, places: tuple[Place, ...]) -> Arrival:
        """Return the arrival that an event tells of."""
        return cls(
            name=event.name,
            suffix=event.suffix,
            identity=event.identity,
            digest=event.product.content or event.product.sha256,
            uri=event.product.uri,
            generation=event.generation,
            inputs=len(event.inputs),
            run_key=event.run_key,
            campaign=event.campaign,
            recipe=event.recipe,
            keywords=dict(event.keywords),
            places=places,
        )

    @property
    def rank(self) -> tuple[str, int, str, str, str, str]:
        """Return how current it is; see :func:`schemas.events.is_current`."""
        return self.generation, self.inputs, self.run_key, self.campaign, self.digest, self.uri

    @property
    def key(self) -> str:
        """Return the key under which an exposure holds it."""
        return f"{self.suffix}/{_key(self.recipe, self.campaign)}"


class Setback(Frozen):
    """The newest failure of an exposure under one recipe; what a campaign met with is apart."""

    generation: str
    stage: str
    error: str
    message: str
    campaign: str
    recipe: RecipeReference
    keywords: Keywords

    @classmethod
    def of(cls, event: FailureEvent) -> Setback:
        """Return the setback that an event tells of."""
        return cls(
            generation=event.generation,
            stage=event.stage,
            error=event.error,
            message=event.message,
            campaign=event.campaign,
            recipe=event.recipe,
            keywords=dict(event.keywords),
        )

    @property
    def rank(self) -> tuple[str, str, str, str, str]:
        """Return how current it is."""
        return self.generation, self.stage, self.error, self.message, self.campaign

    @property
    def key(self) -> str:
        """Return the key under which an exposure holds it."""
        return _key(self.recipe, self.campaign)


class Exposure(Frozen):
    """All that is known of one exposure.

    Attributes
    ----------
    arrivals : mapping
        By suffix, recipe's digest, and whether a campaign sent it.
    setbacks : mapping
        By recipe's digest, and whether a campaign sent it.
    expected : mapping of str to keywords
        The plans that name it, with the keywords that they give: by campaign, the standing plan under "".
    through : tuple of str
        Campaigns for which it has arrived or failed.
    outlook : tuple of Place
        Where its products belong that are to come: by the newest arrival's keywords, else the plan's, else
        the failure's.
    """

    arrivals: Mapping[str, Arrival] = Field(default_factory=dict)
    setbacks: Mapping[str, Setback] = Field(default_factory=dict)
    expected: Mapping[str, Keywords] = Field(default_factory=dict)
    through: tuple[str, ...] = ()
    outlook: tuple[Place, ...] = ()

    @property
    def keywords(self) -> Mapping[str, Scalar]:
        """Return the keywords by which it is grouped until the product itself is there."""
        if self.arrivals:
            return max(self.arrivals.values(), key=lambda arrival: (arrival.rank, arrival.key)).keywords
        if self.expected:
            return self.expected[""] if "" in self.expected else self.expected[max(self.expected)]
        if self.setbacks:
            return max(self.setbacks.values(), key=lambda setback: setback.rank).keywords
        return {}

    @property
    def places(self) -> tuple[Place, ...]:
        """Return every place that it has."""
        return (*self.outlook, *(place for arrival in self.arrivals.values() for place in arrival.places))

    def ingested(self, keywords: Mapping[str, Scalar]) -> Exposure:
        """Return the exposure when its raw file is known: more is to come of it."""
        return self.model_copy(update={"expected": {**self.expected, INGESTED: dict(keywords)}})

    def with_arrival(self, arrival: Arrival) -> Exposure:
        """Return the exposure after an arrival; one that is less current changes nothing but `through`."""
        known = self.arrivals.get(arrival.key)
        newer = known is None or arrival.rank > known.rank
        arrivals = {**self.arrivals, arrival.key: arrival} if newer else self.arrivals
        return self.model_copy(update={"arrivals": arrivals, "through": self._through(arrival.campaign)})

    def with_setback(self, setback: Setback) -> Exposure:
        """Return the exposure after a failure; one that is less current changes nothing but `through`."""
        known = self.setbacks.get(setback.key)
        newer = known is None or setback.rank > known.rank
        setbacks = {**self.setbacks, setback.key: setback} if newer else self.setbacks
        return self.model_copy(update={"setbacks": setbacks, "through": self._through(setback.campaign)})

    def _through(self, campaign: str) -> tuple[str, ...]:
        return tuple(sorted({*self.through, campaign} - {""}))


class Group(Frozen):
    """One association in the making: what was last said of it, and what waits to be said.

    Attributes
    ----------
    rule : str
        Name of the rule.
    fields : mapping of str to str
        What its members have in common.
    names : tuple of str
        Exposures that have or had a part in it: where to look for members.
    said, pending : str
        Digests of what went out last, and of what there is to say now; empty for nothing.
    first, last : float
        When the first and the last change since the last emission came, seconds.

    A group may be about one exposure: then it has nothing to say before that one's own product is there.
    """

    rule: str
    fields: Mapping[str, str]
    names: tuple[str, ...] = ()
    said: str = ""
    pending: str = ""
    first: float = 0.0
    last: float = 0.0

    @property
    def about(self) -> str:
        """Return the name of the exposure that it is about, empty for a group whose members are equals."""
        return self.fields.get("exposure", "")


class State(Frozen):
    """The associator's memory of one program on one line, or of one detector on one day.

    Attributes
    ----------
    line, program : str
        Whose it is: the program's number, or the address of a detector's day.
    exposures : mapping of str to Exposure
        By name.
    groups : mapping of str to Group
        By association id.
    plans : mapping of str to str
        Which plan holds, as ``generation/digest``, and the detectors' days that were told of parts of it: by
        campaign, the standing plan under "".
    """

    line: str
    program: str
    exposures: Mapping[str, Exposure] = Field(default_factory=dict)
    groups: Mapping[str, Group] = Field(default_factory=dict)
    plans: Mapping[str, str] = Field(default_factory=dict)

    @property
    def of_detector(self) -> bool:
        """Tell whether it is a detector's: the rules about single exposures are for it."""
        return OF_DETECTOR in self.program


def _key(recipe: RecipeReference, campaign: str) -> str:
    return f"{recipe.digest}/replayed" if campaign else recipe.digest
