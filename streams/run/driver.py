"""Drive the stages over a private ``memory:`` bus until nothing is left to do.

Each stage is a consumer group of its own, as it is when it runs as a service; only here one thread polls
them in turn, those nearest to the end of the road first, so that few products are under way at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processors.recipes import effective, merged
from schemas.errors import Retriable, Unprocessable
from schemas.events import AssociationEvent, Event, ProductEvent, next_generation
from schemas.manifests import Manifest
from schemas.naming import LEVELS, level, product_filename
from schemas.recipe import Override, Recipe, StepTable
from streams.associator.companions import may_keep_histories
from streams.associator.hosting import HostedAssociator
from streams.bus import Consumer, Message
from streams.bus.memory import MemoryBus
from streams.dispatch import failure_of, is_for, sentence_of
from streams.envelope import pack, unpack
from streams.execution import handle
from streams.inputs import InputAssociation, InputProduct, RefusedInput, expand, is_history, open_inputs
from streams.kernel_cache import use_kernel_cache
from streams.logs import quiet_unless_configured
from streams.planning import Tools
from streams.recipes import load_recipe
from streams.references import ReferenceLibrary
from streams.replacements import allowed_packages, resolver
from streams.roots import Roots, run_events
from streams.run.endings import endings_of
from streams.run.folder import FolderLedger, Refused, private_store
from streams.run.histories import given_histories
from streams.run.report import Begun, Done, Reporter, RunSummary, Silent
from streams.stages import STAGES, Stage
from streams.stages.table import DETECTOR1, RAMP_FIT, RAW_TO_RATE
from streams.stored_associations import shortfall, stored_association
from streams.topics import TOPICS

TRIES = 3
"""How often a run that may pass is tried."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What the user asks of `calstream run`.

    Attributes
    ----------
    paths : sequence of str or Path
        Files, folders, associations.
    out : Path
        Where the products go.
    recipe : str or Path
        Name or file.
    until : str
        Last level to be made.
    command_line : mapping
        Parameters by step, as given with ``--set``.
    context : str, optional
        CRDS context; overrules the recipe's.
    overwrite : bool
        Whether files of other runs may be replaced.
    block_bytes : int, optional
        Bound on a block of integrations.
    """

    paths: Sequence[str | Path]
    out: Path = Path(".")
    recipe: str | Path = "optimal"
    until: str = "combined"
    command_line: StepTable = field(default_factory=dict)
    context: str | None = None
    overwrite: bool = False
    block_bytes: int | None = None


def run(request: RunRequest, reporter: Reporter | None = None) -> RunSummary:
    """Process files as far as they go.

    Parameters
    ----------
    request : RunRequest
        What is asked.
    reporter : Reporter, optional
        Told of the progress.

    Returns
    -------
    RunSummary
        Where each input's road ended.

    Raises
    ------
    CalstreamError
        If the request as a whole cannot be carried out: a path that is not there, an unknown recipe.
    """
    use_kernel_cache()
    quiet_unless_configured()
    until = level(request.until)
    recipe = load_recipe(request.recipe)
    resolve = resolver(allowed_packages(os.environ))
    _check(request, recipe, until, resolve)
    paths = expand(request.paths)
    named = [path for path in paths if is_history(path)]
    inputs = open_inputs(path for path in paths if path not in named)
    with private_store(request.out) as store:
        library = ReferenceLibrary(context=request.context or merged(recipe).crds_context)
        tools = Tools(
            store=store,
            library=library,
            ledger=FolderLedger(request.out, store, overwrite=request.overwrite),
            recipe=lambda event: recipe,
            command_line=request.command_line,
            resolve=resolve,
            **({"block_bytes": request.block_bytes} if request.block_bytes else {}),
        )
        return _Drive(tools, recipe, until, reporter or Silent(), request.out).run(inputs, named)


def _check(request: RunRequest, recipe: Recipe, until: str, resolve: Callable[[str], Any]) -> None:
    """Find what is wrong with the request before anything is computed, in steps far down the road too."""
    from processors.registry import STEPS

    settings = effective(recipe, STEPS, {}, command_line=request.command_line, resolve=resolve)
    for stage in stages_until(until, recipe):
        if stage.source != "association":  # whether anything comes so far is not known yet
            stage.outputs({}, settings)


def stages_until(until: str, recipe: Recipe) -> tuple[Stage, ...]:
    """Return the stages that a run goes through, raw -> rate fused unless the ramp is asked for."""
    last = LEVELS.index(until)
    wanted = tuple(stage for stage in STAGES if LEVELS.index(stage.target) <= last)
    ours = not {DETECTOR1.name, RAMP_FIT.name} & set(recipe.handlers)
    if RAMP_FIT in wanted and ours and not (recipe.publish_ramp or may_keep_histories(recipe)):
        return (RAW_TO_RATE, RAMP_FIT, *(s for s in wanted if s not in (DETECTOR1, RAMP_FIT)))
    return wanted


def _with_command_line(recipe: Recipe, command_line: StepTable) -> Recipe:
    """Return what decides who goes on alone, and who waits: the recipe and what overrules it."""
    if not command_line:
        return recipe
    return recipe.model_copy(update={"overrides": (*recipe.overrides, Override(when={}, steps=command_line))})


class _Drive:
    """One run in progress."""

    def __init__(self, tools: Tools, recipe: Recipe, until: str, reporter: Reporter, out: Path) -> None:
        whole = _with_command_line(recipe, tools.command_line)
        self._tools = tools
        self._recipe = whole
        self._reporter = reporter
        self._out = out
        self._notes: list[Done] = []
        self._until = until
        self._stages = stages_until(until, whole)
        self._bus = MemoryBus()
        self._bus.create_topics(TOPICS)
        self._roots = Roots(recipe, tools.store, next_generation(time.time()))
        self._members: dict[Stage, Consumer] = {
            stage: self._bus.consumer(stage.name, list(stage.sources)) for stage in self._stages
        }
        self._associator = HostedAssociator(self._bus, tools.store, lambda digest: whole)

    def run(
        self, inputs: Sequence[InputProduct | InputAssociation | RefusedInput], named: Sequence[Path] = ()
    ) -> RunSummary:
        """Publish the roots, drain the bus, and tell where everything ended; histories may be named."""
        good = [item for item in inputs if not isinstance(item, RefusedInput)]
        histories = given_histories(named, good, self._recipe)
        inputs = [*inputs, *histories.refused]
        ramps = any(isinstance(item, InputProduct) and item.level == "ramp" for item in good)
        fused = RAW_TO_RATE in self._stages and not ramps
        stages = [stage.name for stage in self._stages if not (fused and stage is RAMP_FIT)]
        self._reporter.planned([item.product_name for item in good], stages)
        for item in inputs:
            if isinstance(item, RefusedInput):
                self._note(
                    Done(
                        stage="",
                        name=str(item.path),
                        outcome="failed",
                        sentence=str(item.error),
                        error=item.error,
                    )
                )
        events = run_events(self._roots, good, combining=self._until == LEVELS[-1])
        self._bus.publish([pack(self._roots.product(item)) for item in histories.taken])
        while self._associator.turn():
            pass  # what is there already is known before anybody can go on without it
        self._bus.publish([pack(event) for event in events])
        while self._turn() or self._associator.turn() or self._associator.turn(finish=True):
            pass
        handlers = {stage: handler.service for stage, handler in self._recipe.handlers.items()}
        endings = endings_of(inputs, self._notes, self._until, handlers)
        return RunSummary(endings=(*endings, *histories.endings), notes=tuple(self._notes))

    def _turn(self) -> bool:
        """Process one event, of the stage nearest to the end of the road; return whether there was one."""
        for stage in reversed(self._stages):
            for message in self._members[stage].poll(0, limit=1):
                self._process(stage, message)
                return True
        return False

    def _process(self, stage: Stage, message: Message) -> None:
        event = unpack(message)
        outputs: list[Event] = []
        if isinstance(event, ProductEvent | AssociationEvent) and is_for(stage, event, self._recipe):
            outputs = [self._attempt(stage, event)]
        traceparent = message.headers.get("traceparent")
        self._members[stage].commit([message], [pack(output, traceparent) for output in outputs])

    def _attempt(self, stage: Stage, event: ProductEvent | AssociationEvent) -> Event:
        begun = time.time()
        self._reporter.begun(Begun(stage=stage.name, name=event.name, time=begun))
        output, told = self._outcome(stage, event)
        self._note(Done(stage=stage.name, name=event.name, begun=begun, ended=time.time(), **told))
        return output

    def _outcome(self, stage: Stage, event: ProductEvent | AssociationEvent) -> tuple[Event, dict[str, Any]]:
        """Return the event to publish, and what the user is told."""
        try:
            result = _tried(stage, event, self._tools)
        except Exception as error:
            sentence = sentence_of(error)
            outcome = "refused" if isinstance(error, Refused) else "failed"
            told = {"outcome": outcome, "sentence": sentence, "error": error}
            return failure_of(stage.name, event, error, sentence), told
        outcome = "up to date" if result.outcome == "cached" else "complete"
        return result, {
            "outcome": outcome,
            "remark": self._remark(event),
            "files": self._files(result),
            "event": result,
        }

    def _remark(self, event: ProductEvent | AssociationEvent) -> str:
        if isinstance(event, AssociationEvent):
            return shortfall(stored_association(event, self._tools.store))
        return ""

    def _files(self, result: ProductEvent) -> tuple[Path, ...]:
        assert result.manifest is not None
        with self._tools.store.fetch(result.manifest) as path:
            manifest = Manifest.model_validate_json(path.read_bytes())
        return tuple(self._out / product_filename(entry.name, entry.suffix) for entry in manifest.products)

    def _note(self, note: Done) -> None:
        self._notes.append(note)
        self._reporter.done(note)


def _tried(stage: Stage, event: ProductEvent | AssociationEvent, tools: Tools) -> ProductEvent:
    for left in reversed(range(TRIES)):
        try:
            return handle(stage, event, tools).event
        except Retriable:
            if not left:
                raise
            time.sleep(0.5)
    raise Unprocessable(f"{event.name}: no try was made")
