"""Whose an event is, and what is said when its work failed."""

from __future__ import annotations

from schemas.errors import CalstreamError
from schemas.events import AssociationEvent, Event, FailureEvent, ProductEvent
from schemas.recipe import Recipe
from streams.associator.companions import needs_companions
from streams.stages import Stage


def is_for(stage: Stage, event: Event, recipe: Recipe, handler: str = "builtin") -> bool:
    """Tell whether a service that does a stage's work takes an event of its topic.

    Parameters
    ----------
    stage : Stage
        What the service does.
    event : Event
        As read from the stage's source.
    recipe : Recipe
        That the event names.
    handler : str, optional
        The service's name.
    """
    if event.handler != handler or needs_companions(event, recipe):
        return False
    if isinstance(event, AssociationEvent):
        return event.stage == stage.name
    return isinstance(event, ProductEvent) and stage.accepts(event.exp_type)


def sentence_of(error: BaseException) -> str:
    """Return a failure as one sentence for the user."""
    if isinstance(error, CalstreamError):
        return str(error)
    return f"internal error, {type(error).__name__}: {error}; please report it"


def failure_of(stage: str, event: Event, error: str | BaseException, sentence: str) -> FailureEvent:
    """Return the event that says that the work on another event failed for good.

    Parameters
    ----------
    stage : str
        Where.
    event : Event
        What could not be processed.
    error : str or exception
        Its class.
    sentence : str
        What, where, and what to do.
    """
    return FailureEvent(
        line=event.line,
        name=event.name,
        suffix=event.suffix,
        generation=event.generation,
        campaign=event.campaign,
        recipe=event.recipe,
        keywords=event.keywords,
        stage=stage,
        error=error if isinstance(error, str) else type(error).__name__,
        message=sentence[:4000],
        event_id=event.id,
    )
