"""The first events of a run: one for each file, one for each association, and the plan of what is to come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.associations import Association, AssociationProduct, Member
from schemas.events import (
    Artifact,
    AssociationEvent,
    Event,
    PlanEvent,
    ProductEvent,
    RecipeReference,
    next_generation,
)
from schemas.naming import LEVELS
from schemas.recipe import Recipe
from streams.associator import plan_from
from streams.associator.emissions import shared_keywords
from streams.run.inputs import InputAssociation, InputProduct
from streams.stages import next_stage
from streams.store import Store

LINE = "main"


class Roots:
    """Makes the root events of a run, all of one generation.

    Parameters
    ----------
    recipe : Recipe
        What they are to be processed under.
    store : Store
        Where plans and associations are put.
    now : float
        Seconds since 1970.
    """

    def __init__(self, recipe: Recipe, store: Store, now: float) -> None:
        self._recipe = recipe
        self._store = store
        self.generation = next_generation(now)
        self.reference = RecipeReference(name=recipe.name, digest=recipe.digest)
        store.put_if_absent(f"recipes/{recipe.digest}.yaml", recipe.to_yaml().encode())

    def names(self, inputs: Iterable[InputProduct | InputAssociation]) -> list[str]:
        """Return the names of the exposures and of the associations' products."""
        return [
            item.name if isinstance(item, InputProduct) else item.association.products[0].name
            for item in inputs
        ]

    def events(self, inputs: Sequence[InputProduct | InputAssociation], until: str) -> list[Event]:
        """Return all root events: plans first, if the run goes beyond single exposures."""
        products = [item for item in inputs if isinstance(item, InputProduct)]
        events: list[Event] = []
        if until == LEVELS[-1]:
            events.extend(self._plans(products))
        events.extend(self._product(item) for item in products)
        if until == LEVELS[-1]:
            for item in inputs:
                if isinstance(item, InputAssociation):
                    events.extend(self._associations(item))
        return events

    def put_association(self, association: Association) -> Artifact:
        """Put an association's JSON into the store, under its digest."""
        return self._put("associations", association.to_json().encode(), "_asn.json")

    def _put(self, folder: str, content: bytes, ending: str) -> Artifact:
        import hashlib

        sha256 = hashlib.sha256(content).hexdigest()
        path = f"{folder}/{sha256}{ending}"
        self._store.put_if_absent(path, content)
        return Artifact(uri=self._store.uri(path), size=len(content), sha256=sha256)

    def handler_of(self, stage: str) -> str:
        """Return who is to take events for a stage, as the recipe says."""
        handler = self._recipe.handlers.get(stage)
        return handler.service if handler else "builtin"

    def _handler(self, topic: str, exp_type: str) -> str:
        following = next_stage(topic, exp_type)
        return self.handler_of(following.name) if following else "builtin"

    def _product(self, item: InputProduct) -> ProductEvent:
        return ProductEvent(
            topic=item.level,
            line=LINE,
            name=item.name,
            suffix=item.suffix,
            generation=self.generation,
            recipe=self.reference,
            keywords=item.keywords,
            product=item.artifact,
            handler=self._handler(item.level, str(item.keywords.get("EXP_TYPE", ""))),
        )

    def _plans(self, products: Sequence[InputProduct]) -> list[Event]:
        plans = plan_from(((item.name, item.keywords) for item in products), LINE)
        return [
            PlanEvent(
                line=LINE,
                name=f"plan-{plan.program}".lower(),
                generation=self.generation,
                recipe=self.reference,
                keywords={"PROGRAM": plan.program},
                plan=self._put("plans", plan.model_dump_json().encode(), ".json"),
            )
            for plan in plans
        ]

    def _associations(self, item: InputAssociation) -> list[Event]:
        """Return an event for each product of an association file that the user gave."""
        by_name = {member.path.name: member for member in item.members}
        events: list[Event] = []
        for product in item.association.products:
            members = tuple(
                Member(
                    expname=member.expname,
                    exptype=member.exptype,
                    identity=f"{LINE}/{found.name}/{found.suffix}",
                    digest=found.artifact.content,
                    uri=found.artifact.uri,
                )
                for member in product.members
                for found in (by_name[member.expname.rpartition("/")[2]],)
            )
            one = item.association.model_copy(
                update={"products": (AssociationProduct(name=product.name, members=members),)}
            )
            events.append(
                AssociationEvent(
                    line=LINE,
                    name=product.name.lower(),
                    suffix="asn",
                    generation=self.generation,
                    recipe=self.reference,
                    keywords=shared_keywords(
                        by_name[member.expname.rpartition("/")[2]].keywords for member in product.members
                    ),
                    association=self.put_association(one),
                    stage=item.association.asn_type,
                    association_id=f"{LINE}-{product.name.lower()}",
                    members=len(members),
                    completeness="complete",
                )
            )
        return events
