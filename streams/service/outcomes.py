"""What becomes of an event when a child has answered, or has died of it."""

from __future__ import annotations

import time
from typing import Final

import structlog

from schemas.errors import CalstreamError
from schemas.events import parse_event
from streams import marks
from streams.deadletters import dead_letter
from streams.dispatch import failure_of
from streams.envelope import pack, unpack
from streams.metrics import ServiceMetrics
from streams.service.attempts import FAILURES
from streams.service.hurdle import Hurdle
from streams.service.messages import Failed, Finished
from streams.service.window import Entry
from streams.store import Store

PATIENCE: Final = 20
"""Tries of an event that may work another time, while as many others succeed, before it is given up."""

log = structlog.get_logger("calstream")


class Outcomes:
    """Turns answers into what is published, or into another try.

    Parameters
    ----------
    service : str
        Name, for dead letters.
    store : Store
        Where failures are marked.
    hurdle : Hurdle
        Told of failures that are nobody's fault.
    metrics : ServiceMetrics
        Told of everything.
    """

    def __init__(self, service: str, store: Store, hurdle: Hurdle, metrics: ServiceMetrics) -> None:
        self._service = service
        self._store = store
        self._hurdle = hurdle
        self._metrics = metrics
        self._successes = 0

    def finished(self, entry: Entry, answer: Finished) -> None:
        """Publish the event that the work led to."""
        entry.outputs = (answer.output,)
        self._successes += 1
        self._hurdle.passed()
        self._metrics.event(entry.message.topic, answer.outcome, answer.stage)
        self._metrics.took(answer.stage, answer.seconds, answer.parts)
        self._metrics.written(answer.written)
        self._metrics.latency_of(answer.output.topic, answer.generation)

    def failed(self, entry: Entry, answer: Failed) -> None:
        """Give the event up, or let it be tried again."""
        if answer.kind == "retriable":
            self._again_later(entry, answer)
        elif answer.kind == "unprocessable":
            self.bury(entry, answer.error, answer.sentence, entry.tries)
        else:
            self.broken(entry, answer.error, answer.sentence)

    def broken(self, entry: Entry, error: str, sentence: str) -> None:
        """Count a failure that nobody expected; after some the event is given up."""
        event = parse_event(entry.message.value)
        failures = marks.note_failure(self._store, event.id, sentence)
        log.error("failed", exposure=event.name, reason=sentence, attempt=failures)
        if failures >= FAILURES:
            self.bury(entry, error, f"{event.name}: {sentence}", failures)
        else:
            entry.given, entry.not_before = False, time.monotonic() + 2.0 ** (failures - 1) / 2

    def bury(self, entry: Entry, error: str, sentence: str, attempts: int) -> None:
        """Let an event go to the dead letters, and say that it failed.

        Raises
        ------
        Retriable
            If the store cannot be written to: then that may be why, and it may be tried again.
        """
        self._store.demand_writable()
        message = entry.message
        outputs = [dead_letter(message, self._service, error, sentence, attempts)]
        try:
            event = unpack(message)
        except CalstreamError:  # bytes that are no event have no name under which to say so
            pass
        else:
            stage = entry.stage.name if entry.stage else self._service
            outputs.append(
                pack(failure_of(stage, event, error, sentence), message.headers.get("traceparent"))
            )
        entry.outputs = tuple(outputs)
        self._metrics.event(message.topic, "failed", entry.stage.name if entry.stage else "")
        self._metrics.dead_letter(message.topic)
        log.error("dead letter", topic=message.topic, key=message.key, reason=sentence)

    def _again_later(self, entry: Entry, answer: Failed) -> None:
        if entry.tries == 1:
            entry.successes = self._successes
        if entry.tries >= PATIENCE and self._successes >= entry.successes + PATIENCE:
            self.bury(entry, answer.error, answer.sentence, entry.tries)
            return
        pause = self._hurdle.met(answer.sentence)
        entry.given, entry.not_before = False, time.monotonic() + pause
        log.warning("waiting", exposure=entry.message.key, reason=answer.sentence, seconds=pause)
