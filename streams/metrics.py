"""What a service counts and measures, for Prometheus: base units, and no product names as labels."""

from __future__ import annotations

import platform
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

OUTCOMES: Final = ("complete", "cached", "failed", "not_its_own", "retried")
"""What may become of an event."""

COMPLETENESS: Final = ("complete", "partial", "unknown")
"""What may be said of an association that goes out."""

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_LATENCY: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)


class _Families:
    """The metrics of a registry, shared by the services of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, ("service", *labels), namespace="calstream", registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ("service", *labels), namespace="calstream", registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            names = ("service", *labels)
            return Histogram(
                name, text, names, namespace="calstream", registry=registry, buckets=tuple(buckets)
            )

        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.events = counter("events", "Events taken, by what became of them.", "topic", "stage", "outcome")
        self.stage = histogram("stage_duration_seconds", "Time that a run took.", _SECONDS, "stage")
        self.step = histogram("step_duration_seconds", "Time of a run's parts.", _SECONDS, "stage", "step")
        self.latency = histogram(
            "end_to_end_latency_seconds",
            "Time from an exposure's arrival to the commit of a product on a topic.",
            _LATENCY,
            "topic",
        )
        self.retries = counter("retries", "Events that are tried again.")
        self.letters = counter("dead_letters", "Events that could not be processed.", "topic")
        self.hits = counter("cache_hits", "Events whose run had been done before.", "stage")
        self.written = counter("written_bytes", "Bytes of products stored.")
        self.emitted = counter("associations_emitted", "Associations that went out.", "completeness")
        self.in_work = gauge("in_work", "Events that are computed now.")
        self.lag = gauge("lag_messages", "Messages that the service's group is not through with.", "topic")
        self.oldest = gauge("oldest_age_seconds", "How long the oldest of them waits; 0 if none.", "topic")
        self.memory = gauge("child_memory_bytes", "Resident memory of the children.")
        self.open = gauge("associations_open", "Associations that wait for members.")
        self.waiting = gauge("waiting", "1 while something that the service needs is not there.")
        self.turned = gauge("last_turn_timestamp_seconds", "When the service's loop last went round.")
        self.progress = gauge(
            "last_progress_timestamp_seconds",
            "When every topic was last found read to its end, or read further than before.",
        )
        self.build = gauge("build_info", "1, with versions as labels.", "version", "python")


_FAMILIES: Final[weakref.WeakKeyDictionary[CollectorRegistry, _Families]] = weakref.WeakKeyDictionary()


class ServiceMetrics:
    """The metrics of one service; several of one process may share a registry.

    Parameters
    ----------
    service : str
        Its name, a label of every metric.
    topics : iterable of str
        What it reads.
    stages : iterable of str
        What it does; by the service's name when it has no stage, as the associator.
    targets : iterable of str, optional
        What it publishes on.
    registry : CollectorRegistry, optional
        Where they are collected from.
    """

    def __init__(
        self,
        service: str,
        topics: Iterable[str],
        stages: Iterable[str],
        targets: Iterable[str] = (),
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        if registry not in _FAMILIES:
            _FAMILIES[registry] = _Families(registry)
        self._families = _FAMILIES[registry]
        self._service = service
        self._topics = tuple(topics)
        self._stages = tuple(stages) or (service,)
        self._zero(tuple(targets))

    def event(self, topic: str, outcome: str, stage: str = "") -> None:
        """Count an event by what became of it, one of :data:`OUTCOMES`.

        Parameters
        ----------
        topic : str
            Where it came from.
        outcome : str
            What became of it; hits and retries are counted for themselves too.
        stage : str, optional
            What was asked for; the service's first one when absent.
        """
        stage = stage or self._stages[0]
        self._families.events.labels(self._service, topic, stage, outcome).inc()
        if outcome == "cached":
            self._families.hits.labels(self._service, stage).inc()
        elif outcome == "retried":
            self._of(self._families.retries).inc()

    def retried(self, topic: str = "") -> None:
        """Count an event that will be tried again; the same as the outcome ``retried``."""
        self.event(topic or self._topics[0], "retried")

    def dead_letter(self, topic: str) -> None:
        """Count an event of a topic that went to the dead letters."""
        self._families.letters.labels(self._service, topic).inc()

    def took(self, stage: str, seconds: float, parts: Mapping[str, float] | None = None) -> None:
        """Tell how long a run took, and its parts: steps, reading and writing; seconds."""
        self._families.stage.labels(self._service, stage).observe(seconds)
        for part, spent in (parts or {}).items():
            self._families.step.labels(self._service, stage, part).observe(spent)

    def latency(self, topic: str, seconds: float) -> None:
        """Tell how long after the arrival of its exposure a product was published on a topic."""
        self._families.latency.labels(self._service, topic).observe(max(0.0, seconds))

    def latency_of(self, topic: str, generation: str, now: float | None = None) -> None:
        """Tell the same of a product of a generation, a ULID whose time is that of the arrival."""
        from ulid import ULID

        began = float(ULID.from_str(generation).timestamp)
        self.latency(topic, (time.time() if now is None else now) - began)

    def written(self, size: int) -> None:
        """Count bytes of products that were stored."""
        self._of(self._families.written).inc(size)

    def emitted(self, completeness: str) -> None:
        """Count an association that went out."""
        self._families.emitted.labels(self._service, completeness).inc()

    def associations_open(self, number: int) -> None:
        """Tell how many associations wait for members."""
        self._of(self._families.open).set(number)

    def in_work(self, number: int) -> None:
        """Tell how many events are computed now."""
        self._of(self._families.in_work).set(number)

    def lag(self, behind: Mapping[str, int]) -> None:
        """Tell how many messages of each topic the group is not through with."""
        for topic, number in behind.items():
            self._families.lag.labels(self._service, topic).set(number)

    def oldest(self, since: Mapping[str, float | None]) -> None:
        """Tell when the oldest of them was published, by topic; None if there is none.

        Its age is worked out whenever it is asked for.
        """
        for topic, moment in since.items():
            gauge = self._families.oldest.labels(self._service, topic)
            if moment is None:
                gauge.set_function(_none)
            else:
                gauge.set_function(_Age(moment))

    def child_memory(self, size: int) -> None:
        """Tell how much memory the children hold, bytes."""
        self._of(self._families.memory).set(size)

    def waiting(self, waits: bool) -> None:
        """Tell whether something that the service needs is not there."""
        self._of(self._families.waiting).set(float(waits))

    def turned(self) -> None:
        """Tell that the service's loop has gone round."""
        self._of(self._families.turned).set_to_current_time()

    def progressed(self, moment: float) -> None:
        """Tell when the service last got on with all that it reads; seconds since 1970."""
        self._of(self._families.progress).set(moment)

    def _of(self, family: Any) -> Any:
        return family.labels(self._service)

    def _zero(self, targets: Sequence[str]) -> None:
        every = self._families
        for topic in self._topics:
            every.letters.labels(self._service, topic)
            every.lag.labels(self._service, topic)
            every.oldest.labels(self._service, topic)
            for stage in self._stages:
                for outcome in OUTCOMES:
                    every.events.labels(self._service, topic, stage, outcome)
        for stage in self._stages:
            every.stage.labels(self._service, stage)
            every.hits.labels(self._service, stage)
        for topic in targets:
            every.latency.labels(self._service, topic)
        for completeness in COMPLETENESS:
            every.emitted.labels(self._service, completeness)
        for family in (every.retries, every.written, every.in_work, every.memory, every.open, every.waiting):
            self._of(family)
        every.build.labels(self._service, version("calstream"), platform.python_version()).set(1)


class _Age:
    """Seconds since a moment."""

    def __init__(self, moment: float) -> None:
        self._moment = moment

    def __call__(self) -> float:
        return max(0.0, time.time() - self._moment)


def _none() -> float:
    return 0.0
