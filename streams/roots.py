"""Root events: those of files and associations that come from outside, and the plans of what is to come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from schemas.associations import Association, AssociationProduct, Member
from schemas.events import (
    Artifact,
    AssociationEvent,
    Event,
    Plan,
    PlanEvent,
    ProductEvent,
    RecipeReference,
)
from schemas.recipe import Recipe
from streams.associator.companions import looks_back
from streams.associator.emissions import shared_keywords
from streams.associator.plans import plan_from
from streams.inputs import InputAssociation, InputProduct
from streams.recipes import freeze
from streams.stages import next_stage
from streams.store import Store
from streams.stored_associations import TABLE

ASSOCIATOR: Final = "associator"
"""Handler of what goes on by way of the associator only, so that no other service takes it before."""


class Roots:
    """Makes root events on one line, all of one generation unless another one is said.

    Parameters
    ----------
    recipe : Recipe
        What they are to be processed under; it is frozen into the store.
    store : Store
        Where plans and associations are put.
    generation : str
        Of the events.
    line : str, optional
        On which they go.
    campaign : str, optional
        To which they belong.
    """

    def __init__(
        self, recipe: Recipe, store: Store, generation: str, *, line: str = "main", campaign: str = ""
    ) -> None:
        self._recipe = recipe
        self._store = store
        self._line = line
        self._campaign = campaign
        self.generation = generation
        self.reference = RecipeReference(name=recipe.name, digest=freeze(recipe, store))

    def product(
        self, item: InputProduct, artifact: Artifact | None = None, generation: str | None = None
    ) -> ProductEvent:
        """Return the event of a file.

        Parameters
        ----------
        item : InputProduct
            The file, checked.
        artifact : Artifact, optional
            Its claim check where it was copied to.
        generation : str, optional
            Instead of that of all.
        """
        return ProductEvent(
            topic=item.level,
            line=self._line,
            name=item.name,
            suffix=item.suffix,
            generation=generation or self.generation,
            campaign=self._campaign,
            recipe=self.reference,
            keywords=item.keywords,
            product=artifact or item.artifact,
            handler=handler_after(
                item.level, str(item.keywords.get("EXP_TYPE", "")), self._recipe, item.keywords
            ),
        )

    def plans(self, products: Iterable[InputProduct]) -> list[PlanEvent]:
        """Return the plans that say that these exposures are to come, one for each program."""
        return [
            self.plan(plan)
            for plan in plan_from(((item.name, item.keywords) for item in products), self._line)
        ]

    def plan(self, plan: Plan) -> PlanEvent:
        """Return the event of a plan."""
        return PlanEvent(
            line=self._line,
            name=f"plan-{plan.program}".lower(),
            generation=self.generation,
            campaign=self._campaign,
            recipe=self.reference,
            keywords={"PROGRAM": plan.program},
            plan=put_by_digest(self._store, "plans", plan.model_dump_json().encode(), ".json"),
        )

    def associations(self, item: InputAssociation) -> list[AssociationEvent]:
        """Return an event for each product of an association file that the user gave."""
        by_name = {member.path.name: member for member in item.members}
        return [self._association(item, product, by_name) for product in item.association.products]

    def _association(
        self, item: InputAssociation, product: AssociationProduct, by_name: dict[str, InputProduct]
    ) -> AssociationEvent:
        found = [by_name[member.expname.rpartition("/")[2]] for member in product.members]
        members = tuple(
            Member(
                expname=member.expname,
                exptype=member.exptype,
                identity=f"{self._line}/{there.name}/{there.suffix}",
                digest=there.artifact.content,
                uri=there.artifact.uri,
            )
            for member, there in zip(product.members, found, strict=True)
        )
        one = item.association.model_copy(
            update={
                "products": (AssociationProduct(name=product.name, members=members),),
                TABLE: item.path.name,
            }
        )
        stage = item.association.asn_type
        return AssociationEvent(
            line=self._line,
            name=product.name.lower(),
            suffix="asn",
            generation=self.generation,
            campaign=self._campaign,
            recipe=self.reference,
            handler=handler_of(stage, self._recipe),
            keywords=shared_keywords(there.keywords for there in found),
            association=put_association(self._store, one),
            stage=stage,
            association_id=f"{self._line}-{product.name.lower()}",
            members=len(members),
            completeness="complete",
        )


def put_association(store: Store, association: Association) -> Artifact:
    """Put an association's JSON into the store, under its digest."""
    return put_by_digest(store, "associations", association.to_json().encode(), "_asn.json")


def put_by_digest(store: Store, folder: str, content: bytes, ending: str) -> Artifact:
    """Put a small file into the store, named by its digest."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = f"{folder}/{sha256}{ending}"
    store.put_if_absent(path, content)
    return Artifact(uri=store.uri(path), size=len(content), sha256=sha256)


def handler_of(stage: str, recipe: Recipe) -> str:
    """Return who is to take events for a stage, as the recipe says."""
    handler = recipe.handlers.get(stage)
    return handler.service if handler else "builtin"


def handler_after(
    topic: str, exp_type: str, recipe: Recipe, keywords: Mapping[str, Any] | None = None
) -> str:
    """Return who is to take what is published on a topic, for exposures of a type.

    Parameters
    ----------
    topic, exp_type : str
        The topic and the type.
    recipe : Recipe
        With its handlers.
    keywords : mapping of str to scalar, optional
        Of the exposure: the associator takes a ramp that waits for others, and hands it on with them.
    """
    if topic == "ramp" and keywords and looks_back(keywords, recipe):
        return ASSOCIATOR
    following = next_stage(topic, exp_type)
    return handler_of(following.name, recipe) if following else "builtin"


def run_events(
    roots: Roots, inputs: Sequence[InputProduct | InputAssociation], *, combining: bool
) -> list[Event]:
    """Return the root events of a set of inputs: plans first, if exposures are to be combined."""
    products = [item for item in inputs if isinstance(item, InputProduct)]
    events: list[Event] = [*roots.plans(products)] if combining else []
    events.extend(roots.product(item) for item in products)
    if combining:
        for item in inputs:
            if isinstance(item, InputAssociation):
                events.extend(roots.associations(item))
    return events
