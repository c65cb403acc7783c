"""A pipeline without services: stages and associator take turns in this process, until nothing is left."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from processors.recipes import builtin
from schemas.errors import CalstreamError
from schemas.events import AssociationEvent, ProductEvent, next_generation
from schemas.recipe import Recipe
from streams.associator import Patience
from streams.associator.hosting import HostedAssociator
from streams.current import current_products, events_of
from streams.deadletters import dead_letter, dead_letter_topics
from streams.dispatch import failure_of, is_for
from streams.envelope import pack, unpack
from streams.execution import handle
from streams.inputs import open_inputs
from streams.manifest_files import StoreLedger
from streams.planning import Tools
from streams.recipes import frozen
from streams.references import ReferenceLibrary
from streams.roots import Roots, run_events
from streams.site import Site
from streams.stages import STAGES

PATIENCE = Patience(quiet=1e6, deadline=2e6)
"""No association goes out because time has passed."""


@dataclass
class Works:
    """What was done, as ``(stage, name, outcome)``."""

    site: Site
    done: list[tuple[str, str, str]] = field(default_factory=list)

    def ingest(self, *paths, line="main", recipe="optimal"):
        chosen = recipe if isinstance(recipe, Recipe) else builtin(recipe)
        roots = Roots(chosen, self.site.store, next_generation(time.time()), line=line)
        events = run_events(roots, open_inputs(paths), combining=True)
        self.site.bus.publish([pack(event) for event in events])

    def run(self):
        """Process all that there is; return how many runs had which outcome, by stage."""
        bus, before = self.site.bus, len(self.done)
        tools = Tools(
            store=self.site.store, library=ReferenceLibrary(), ledger=StoreLedger(self.site.store),
            recipe=lambda event: frozen(self.site.store, event.recipe.digest),
        )  # fmt: skip
        for stage in STAGES:
            bus.create_topics(dead_letter_topics(stage.name, stage.sources))
        members = {stage: bus.consumer(stage.name, list(stage.sources)) for stage in STAGES}
        associator = HostedAssociator(
            bus, self.site.store, lambda digest: frozen(self.site.store, digest), PATIENCE
        )
        working = True
        while working:
            turns = [self._turn(stage, member, tools) for stage, member in members.items()]
            working = any(turns) or associator.turn()
        for member in members.values():
            member.close()
        associator.close()
        return Counter((stage, outcome) for stage, _, outcome in self.done[before:])

    def current(self, level):
        return {p.name: p for p in current_products(events_of(self.site.bus, [level])).values()}

    def _turn(self, stage, member, tools):
        messages = member.poll(0)
        for message in messages:
            event = unpack(message)
            outputs = []
            recipe = tools.recipe(event)
            if isinstance(event, ProductEvent | AssociationEvent) and is_for(stage, event, recipe):
                try:
                    result = handle(stage, event, tools).event
                    outputs, outcome = [pack(result)], result.outcome
                except CalstreamError as error:
                    outputs = [
                        pack(failure_of(stage.name, event, error, str(error))),
                        dead_letter(message, stage.name, type(error).__name__, str(error), 1),
                    ]
                    outcome = "failed"
                self.done.append((stage.name, event.name, outcome))
            member.commit([message], outputs)
        return bool(messages)
