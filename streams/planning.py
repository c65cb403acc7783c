"""What an event means for a stage, before anything is computed: its run, and the run's key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from processors.pipelines import Settings
from processors.recipes import effective, merged
from processors.steps import Step, StepSettings
from schemas.associations import Association
from schemas.canonical import digest
from schemas.errors import Unprocessable
from schemas.events import Artifact, AssociationEvent, Event, Input, ProductEvent
from schemas.manifests import Manifest
from schemas.naming import product_filename
from schemas.recipe import Recipe, StepTable
from streams.job import BLOCK_BYTES
from streams.recipes import fingerprint
from streams.references import ReferenceLibrary
from streams.replacements import code_digest
from streams.stages import Stage
from streams.store import Store


class Ledger(Protocol):
    """Who knows which runs are finished."""

    def finished(self, run: Run) -> Manifest | None:
        """Return the manifest of a run that needs not be done again, or None."""

    def begin(self, run: Run) -> None:
        """Record that an attempt at a run begins."""

    def finish(self, run: Run, manifest: Manifest) -> Manifest:
        """Record a run as finished; return the manifest that counts, which may be another attempt's."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What an execution needs besides the event.

    Attributes
    ----------
    store : Store
        Where products go.
    library : ReferenceLibrary
        Where references come from.
    ledger : Ledger
        Which runs are finished.
    recipe : callable
        ``recipe(event)`` returns the recipe that the event names.
    command_line : mapping
        Parameters given with ``--set``.
    resolve : callable, optional
        Finds the step that ``use:`` names.
    block_bytes : int
        Bound on a block of integrations.
    """

    store: Store
    library: ReferenceLibrary
    ledger: Ledger
    recipe: Callable[[Event], Recipe]
    command_line: StepTable = field(default_factory=dict)
    resolve: Callable[[str], object] | None = None
    block_bytes: int = BLOCK_BYTES


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a stage on its inputs, before it begins.

    Attributes
    ----------
    key : str
        The run key.
    stage : Stage
        What is executed.
    event : Event
        What asked for it.
    name : str
        Of the products.
    suffixes : tuple of str
        Of the products, the primary one's first.
    settings : mapping of str to StepSettings
        By step.
    inputs : tuple of Input
        Sorted by role and identity.
    provenance : mapping
        What the products' CALSTREAM extension says of the run.
    """

    key: str
    stage: Stage
    event: Event
    name: str
    suffixes: tuple[str, ...]
    settings: Settings
    inputs: tuple[Input, ...]
    provenance: Mapping[str, Any]

    def filenames(self) -> tuple[str, ...]:
        """Return the names of the files that the run makes, the primary one's first."""
        return tuple(product_filename(self.name, suffix) for suffix in self.suffixes)


def planned(stage: Stage, event: ProductEvent | AssociationEvent, tools: Tools) -> Run:
    """Work out what an event means for a stage, without computing: its run and the run's key."""
    recipe = tools.recipe(event)
    keywords = dict(event.keywords)
    steps = stage.steps(keywords)
    settings = settings_of(recipe, steps, stage.pipeline, keywords, tools)
    inputs = inputs_of(event, tools.store)
    name = event.name
    suffixes = stage.outputs(keywords, settings)
    said = {step.name: _said_of(step, settings[step.name], keywords, tools) for step in steps}
    request = {
        "stage": stage.name,
        "name": name,
        "fingerprint": fingerprint(),
        "steps": said,
        "inputs": [[i.role, i.identity.partition("/")[2], i.digest] for i in inputs],
    }
    key = digest(request)
    provenance = {
        "run_key": key,
        "stage": stage.name,
        "fingerprint": request["fingerprint"],
        "inputs": [
            {"role": i.role, "product": i.identity.partition("/")[2], "digest": i.digest} for i in inputs
        ],
        "crds_context": tools.library.context(),
    }
    return Run(
        key=key,
        stage=stage,
        event=event,
        name=name,
        suffixes=suffixes,
        settings=settings,
        inputs=inputs,
        provenance=provenance,
    )


def settings_of(
    recipe: Recipe, steps: tuple[Step, ...], pipeline: str, keywords: Mapping[str, Any], tools: Tools
) -> dict[str, StepSettings]:
    """Return the effective settings of a pipeline's steps for an exposure."""
    from processors.registry import STEPS

    parameters: Mapping[str, Mapping[str, Any]] = {}
    if merged(recipe).crds_parameters:
        names = [step.name for step in steps]
        parameters = tools.library.parameters(keywords, names, (pipeline,))
    return effective(
        recipe,
        {step.name: step for step in steps},
        keywords,
        crds_parameters=parameters,
        command_line=tools.command_line,
        resolve=tools.resolve,
        known=STEPS,
    )


def inputs_of(event: Event, store: Store) -> tuple[Input, ...]:
    """Return what a run on this event is made from."""
    if isinstance(event, AssociationEvent):
        association = Association.model_validate_json(_read(event.association, store))
        members = [member for product in association.products for member in product.members]
        return tuple(Input(role=m.exptype, identity=m.identity, digest=m.digest, uri=m.uri) for m in members)
    if isinstance(event, ProductEvent):
        return (
            Input(
                role="science",
                identity=event.identity,
                digest=event.product.content or event.product.sha256,
                uri=event.product.uri,
            ),
        )
    raise Unprocessable(f"{event.name}: an event of kind {event.kind!r} cannot be processed")


def _said_of(step: Step, settings: StepSettings, keywords: Mapping[str, Any], tools: Tools) -> Any:
    """Return what of a step's settings decides its result."""
    if settings.skip:
        return {"skip": True}
    used = settings.use or step
    options = settings.options or used.options_type()
    references = tools.library.digests(keywords, used.wanted, settings.overrides)
    said: dict[str, Any] = {
        "options": options.model_dump(),
        "references": {reftype: found["digest"] for reftype, found in references.items()},
    }
    if settings.use is not None:
        said["code"] = [settings.use.implementation, code_digest(settings.use)]
    return said


def _read(artifact: Artifact, store: Store) -> bytes:
    with store.fetch(artifact) as path:
        return path.read_bytes()
