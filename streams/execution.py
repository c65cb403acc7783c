"""From event to event: know the run, reuse what is finished or compute, say what was made.

Services and `calstream run` share this. It knows stages, store and references; it knows no bus.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
from ulid import ULID

from processors.steps import Step, StepSettings
from schemas.events import Artifact, AssociationEvent, Event, Input, ProductEvent, Scalar
from schemas.keywords import event_keywords
from schemas.manifests import Manifest, ManifestEntry
from schemas.references import Window
from streams.job import InputFile, Job
from streams.manifest_files import manifest_artifact
from streams.planning import Run, Tools, planned
from streams.roots import handler_after
from streams.stages import Stage
from streams.store import Store
from streams.stored_associations import association_cards, stored_association

log = structlog.get_logger("calstream")


@dataclass(frozen=True)
class Handled:
    """The event to publish, and the manifest of its run."""

    event: ProductEvent
    manifest: Manifest


def handle(stage: Stage, event: ProductEvent | AssociationEvent, tools: Tools) -> Handled:
    """Do what an event asks of a stage.

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
            manifest, outcome = _computed(run, tools)
        log.info(outcome, **manifest.timing)
        return Handled(event_of(run, manifest, outcome, tools), manifest)


def _computed(run: Run, tools: Tools) -> tuple[Manifest, str]:
    """Return the manifest of a run that was not finished when it was looked up, and the outcome."""
    try:
        return _compute(run, tools), "complete"
    except Exception:
        # Another attempt may have been finished meanwhile, and have swept what this one was writing.
        if (manifest := tools.ledger.finished(run)) is None:
            raise
        return manifest, "cached"


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
                artifact=tools.store.artifact(f"{folder}/{out.path.name}", out.path, out.content, out.sha256),
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
        quality=job.known_quality(),
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
        stamp=_stamp(run, tools.store),
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


def _stamp(run: Run, store: Store) -> dict[str, Any]:
    return {
        **_association_cards(run, store),
        "CAL_VER": (_version("calstream"), "Calibration software version number"),
        "CAL_VCS": ("calstream", "Calibration software"),
        "CRDS_VER": (_version("crds"), "Version of CRDS file selection software used"),
        "CRDS_CTX": (run.provenance["crds_context"], "CRDS context (.pmap) used to select ref files"),
    }


@cache
def _version(distribution: str) -> str:
    return version(distribution)


def _association_cards(run: Run, store: Store) -> dict[str, Any]:
    """Return the cards that JWST's products carry from stage 2 on."""
    if isinstance(run.event, AssociationEvent) and run.stage.source == "association":
        return association_cards(stored_association(run.event, store), run.name)
    return association_cards(None, run.name) if run.stage.target == "cal" else {}


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


def event_of(run: Run, manifest: Manifest, outcome: str, tools: Tools) -> ProductEvent:
    """Return the event that says what a run made, as its manifest lists it."""
    event = run.event
    recipe = tools.recipe(event)
    keywords: dict[str, Scalar] = {**event.keywords, **manifest.keywords}
    return ProductEvent(
        topic=run.stage.target,
        line=event.line,
        name=run.name,
        suffix=run.suffixes[0],
        generation=event.generation,
        campaign=event.campaign,
        recipe=event.recipe,
        handler=handler_after(run.stage.target, event.exp_type, recipe, event.keywords),
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
