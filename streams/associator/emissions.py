"""What the associator says: an association as JWST's JSON, and the event that announces it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from schemas.associations import Association, AssociationProduct, Member
from schemas.events import Artifact, AssociationEvent, Frozen, RecipeReference, Scalar
from schemas.naming import product_filename
from streams.associator.drafts import Draft
from streams.associator.rules import Rule, group_id
from streams.associator.state import Arrival, Group, State

BEGINNING: Final = ("DATE-OBS", "TIME-OBS")
"""Keywords that tell when an exposure began."""

DETECTORS: Final = ("DETECTOR", "MODULE", "CHANNEL")
"""Keywords that may differ in members of one association."""


class Emission(Frozen):
    """One association that is ready to go out.

    Attributes
    ----------
    association : Association
        To be stored as ``association.to_json()``; the same members give the same text.
    association_id, name, stage : str
        The group's id, its product name, and who is to take it.
    line, generation, campaign, recipe, keywords
        What the event inherits: generation and campaign of the newest member, keywords that all share.
    completeness : str
        ``complete``, ``partial`` or ``unknown``.
    """

    association: Association
    association_id: str
    name: str
    stage: str
    line: str
    generation: str
    campaign: str
    recipe: RecipeReference
    keywords: Mapping[str, Scalar]
    completeness: str

    @property
    def members(self) -> int:
        """Return how many members there are."""
        return sum(len(product.members) for product in self.association.products)


class Refused(Frozen):
    """An exposure that a rule is meant for and cannot place: it goes no further on that road."""

    name: str
    suffix: str
    rule: str
    stage: str
    reason: str


def emission(state: State, group: Group, rule: Rule, draft: Draft) -> Emission:
    """Return what goes out for a group; `draft` must have members."""
    assert draft.recipe is not None
    return Emission(
        association=_association(group, rule, draft),
        association_id=group_id(state.line, group.rule, group.fields),
        name=rule.product(group.fields),
        stage=rule.stage,
        line=state.line,
        generation=draft.newest.generation,
        campaign=draft.newest.campaign,
        recipe=draft.recipe,
        keywords=draft.about.keywords
        if draft.about
        else shared_keywords(a.keywords for _, a in draft.members),
        completeness=draft.completeness,
    )


def to_event(emission: Emission, artifact: Artifact, handler: str = "builtin") -> AssociationEvent:
    """Return the event that announces an emission.

    Parameters
    ----------
    emission : Emission
        What goes out.
    artifact : Artifact
        The stored file that holds ``emission.association.to_json()``.
    handler : str, optional
        Who may take it: what the recipe says of the stage.
    """
    return AssociationEvent(
        line=emission.line,
        name=emission.name,
        suffix="asn",
        generation=emission.generation,
        campaign=emission.campaign,
        recipe=emission.recipe,
        handler=handler,
        keywords=emission.keywords,
        association=artifact,
        stage=emission.stage,
        association_id=emission.association_id,
        members=emission.members,
        completeness=emission.completeness,
    )


def shared_keywords(every: Iterable[Mapping[str, Scalar]]) -> dict[str, Scalar]:
    """Return the keywords that all members have with one value, and those by which references are matched.

    As JWST's combined products have them: date and time of the member that began first, and ``MULTIPLE`` for
    the detector and what goes with it where they differ.
    """
    members = list(every)
    first = members[0]
    shared = {key: value for key, value in first.items() if all(other.get(key) == value for other in members)}
    earliest = min(members, key=lambda member: tuple(str(member.get(key, "9")) for key in BEGINNING))
    began = {key: earliest[key] for key in BEGINNING if key in earliest}
    mixed = {key: "MULTIPLE" for key in DETECTORS if key in first and key not in shared}
    return {**shared, **began, **mixed}


def member(role: str, arrival: Arrival) -> Member:
    """Return a product as a member of an association, in some role."""
    return Member(
        expname=product_filename(arrival.name, arrival.suffix),
        exptype=role,
        identity=arrival.identity,
        digest=arrival.digest,
        uri=arrival.uri,
    )


def _association(group: Group, rule: Rule, draft: Draft) -> Association:
    members = tuple(member(role, arrival) for role, arrival in draft.members)
    failed = [{"name": name, "stage": s.stage, "error": s.error} for name, s in draft.failed]
    extra: dict[str, Any] = {"calstream_failed": failed} if failed else {}
    assert draft.recipe is not None
    others = {
        product_filename(arrival.name, arrival.suffix): arrival.recipe.model_dump()
        for _, arrival in draft.members
        if arrival.recipe.digest != draft.recipe.digest
    }
    if others:
        extra["calstream_recipes"] = others
    if draft.missing:
        extra["calstream_missing"] = list(draft.missing)
    return Association(
        asn_type=rule.stage,
        asn_rule=rule.name,
        asn_id=group.fields.get("candidate", ""),
        program=group.fields.get("program", ""),
        target=group.fields.get("target", ""),
        asn_pool="none",
        products=(AssociationProduct(name=rule.product(group.fields), members=members),),
        **extra,
    )
