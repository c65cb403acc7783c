"""From event to events: resolve the recipe, know the run's key, reuse or compute, publish.

Services and `calstream run` share this. It knows stages, store and references; it knows no bus.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import structlog
from ulid import ULID

from processors.pipelines import Settings
from processors.recipes import effective, merged
from processors.steps import Step, StepSettings
from schemas.associations import Association
from schemas.canonical import digest
from schemas.errors import Unprocessable
from schemas.events import Artifact, AssociationEvent, Event, Input, ProductEvent, Scalar
from schemas.keywords import event_keywords
from schemas.manifests import Manifest, ManifestEntry
from schemas.naming import product_filename
from schemas.recipe import Recipe, StepTable
from schemas.references import Window
from streams.job import BLOCK_BYTES, InputFile, Job
from streams.manifest_files import manifest_artifact
from streams.recipes import fingerprint
from streams.references import ReferenceLibrary
from streams.replacements import code_digest
from streams.stages import Stage, next_stage
from streams.store import Store

log = structlog.get_logger("calstream")


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


def handle(stage: Stage, event: ProductEvent | AssociationEvent, tools: Tools) -> ProductEvent:
    """Do what an event asks of a stage; return the event to publish.

    Raises
    ------
    Unprocessable
        If data or request are bad.
    Retriable
        If it may work another time.
    """
    run = planned(stage, event, tools)
    with structlog.contextvars.bound_contextvars(exposure=run.name, run_key=run.key[:12], stage=stage.name):
        manifest = tools.ledger.finished(run)
        outcome = "cached"
        if manifest is None:
            tools.ledger.begin(run)
            log.info("started")
            manifest = _compute(run, tools)
            outcome = "complete"
        log.info(outcome, **manifest.timing)
        return _event(run, manifest, outcome, tools)


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
                role="science", identity=event.identity, digest=event.product.content, uri=event.product.uri
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


def _compute(run: Run, tools: Tools) -> Manifest:
    attempt = str(ULID())
    folder = f"runs/{run.key[:2]}/{run.key}/{attempt}"
    began = time.time()
    with _local_inputs(run, tools.store) as inputs, tools.store.workspace(folder) as place:
        job = _job(run, tools, inputs, place)
        try:
            run.stage.compute(job)
        finally:
            job.settings = {}  # they watch the job: break the circle, which holds the decoded references
        products = tuple(
            ManifestEntry(
                name=run.name,
                suffix=suffix,
                artifact=tools.store.artifact(f"{folder}/{out.path.name}", out.path, out.content),
            )
            for suffix in run.suffixes
            for out in (job.outputs[suffix],)
        )
    primary = job.outputs[run.suffixes[0]]
    keywords = event_keywords(primary.keywords.keywords()) if primary.keywords else {}
    seconds = time.time() - began
    manifest = Manifest(
        run_key=run.key,
        stage=run.stage.name,
        attempt=attempt,
        products=products,
        inputs=run.inputs,
        keywords={**run.event.keywords, **keywords},
        quality=job.quality,
        timing={
            "started": datetime.fromtimestamp(began, UTC).isoformat(),
            "seconds": round(seconds, 4),
            "parts": {part: round(value, 4) for part, value in job.timing.items()},
        },
    )
    return tools.ledger.finish(run, manifest)


def _job(run: Run, tools: Tools, inputs: tuple[InputFile, ...], folder: Path) -> Job:
    keywords = dict(run.event.keywords)
    window = Window.of(keywords)
    types = sorted({t for step in run.stage.steps(keywords) for t in _needed(step, run.settings[step.name])})
    job = Job(
        name=run.name,
        folder=folder,
        inputs=inputs,
        settings={},
        references=tools.library.references(keywords, types, window),
        stamp=_stamp(tools),
        run=run.provenance,
        block_bytes=tools.block_bytes,
    )
    job.settings = {
        name: replace(settings, watch=job.watch, references=_overridden(name, settings, run, tools))
        for name, settings in run.settings.items()
    }
    return job


def _overridden(name: str, settings: StepSettings, run: Run, tools: Tools) -> Any:
    if not settings.overrides:
        return None
    keywords = dict(run.event.keywords)
    step = settings.use or next(s for s in run.stage.steps(keywords) if s.name == name)
    return tools.library.references(keywords, step.wanted, Window.of(keywords), settings.overrides)


def _needed(step: Step, settings: StepSettings) -> tuple[str, ...]:
    return () if settings.skip else (settings.use or step).wanted


def _stamp(tools: Tools) -> dict[str, Any]:
    return {
        "CAL_VER": (version("calstream"), "Calibration software version number"),
        "CAL_VCS": ("calstream", "Calibration software"),
        "CRDS_VER": (version("crds"), "Version of CRDS file selection software used"),
        "CRDS_CTX": (tools.library.context(), "CRDS context (.pmap) used to select ref files"),
    }


@contextlib.contextmanager
def _local_inputs(run: Run, store: Store) -> Iterator[tuple[InputFile, ...]]:
    with contextlib.ExitStack() as stack:
        files = []
        for item in run.inputs:
            artifact = _artifact_of(item, run.event, store)
            path = stack.enter_context(store.fetch(artifact))
            name = item.identity.split("/")[1]
            files.append(InputFile(role=item.role, name=name, path=path, input=item))
        yield tuple(files)


def _artifact_of(item: Input, event: Event, store: Store) -> Artifact:
    if isinstance(event, ProductEvent):
        return event.product
    return store.claim(item.uri, item.digest)


def _read(artifact: Artifact, store: Store) -> bytes:
    with store.fetch(artifact) as path:
        return path.read_bytes()


def _event(run: Run, manifest: Manifest, outcome: str, tools: Tools) -> ProductEvent:
    event = run.event
    recipe = tools.recipe(event)
    following = next_stage(run.stage.target, event.exp_type)
    handler = recipe.handlers.get(following.name) if following else None
    keywords: dict[str, Scalar] = {**event.keywords, **manifest.keywords}
    return ProductEvent(
        topic=run.stage.target,
        line=event.line,
        name=run.name,
        suffix=run.suffixes[0],
        generation=event.generation,
        campaign=event.campaign,
        recipe=event.recipe,
        handler=handler.service if handler else "builtin",
        keywords=keywords,
        product=manifest.primary.artifact,
        manifest=manifest_artifact(manifest, tools.store),
        inputs=run.inputs if isinstance(event, ProductEvent) else (),
        input_count=len(run.inputs),
        association=event.association if isinstance(event, AssociationEvent) else None,
        stage=run.stage.name,
        run_key=run.key,
        outcome=outcome,
        quality=manifest.quality,
    )
