"""Metrics of services: at 0 from the start, and counted once."""

from __future__ import annotations

import time

import pytest
from prometheus_client import CollectorRegistry
from ulid import ULID

from streams.metrics import OUTCOMES, ServiceMetrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> ServiceMetrics:
    return ServiceMetrics("ramp_fit", ["ramp"], ["ramp_fit"], ["rate"], registry=registry)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"calstream_{name}", {"service": "ramp_fit", **labels})


def event(registry: CollectorRegistry, outcome: str) -> float | None:
    return value(registry, "events_total", topic="ramp", stage="ramp_fit", outcome=outcome)


def test_every_counter_is_at_0_before_the_first_event(
    metrics: ServiceMetrics, registry: CollectorRegistry
) -> None:
    assert [event(registry, outcome) for outcome in OUTCOMES] == [0] * len(OUTCOMES)
    counters = [metric for metric in registry.collect() if metric.type in ("counter", "histogram")]
    empty = [metric.name for metric in counters if not metric.samples]
    assert empty == ["calstream_step_duration_seconds"]  # which steps there are shows when they run
    assert all(sample.value == 0 for metric in counters for sample in metric.samples)


def test_an_event_is_counted_by_its_outcome(metrics: ServiceMetrics, registry: CollectorRegistry) -> None:
    for outcome in ("complete", "complete", "failed", "not_its_own", "cached"):
        metrics.event("ramp", outcome)
    assert [event(registry, outcome) for outcome in OUTCOMES] == [2, 1, 1, 1, 0]
    assert value(registry, "cache_hits_total", stage="ramp_fit") == 1


def test_a_retry_is_one_however_it_is_told(metrics: ServiceMetrics, registry: CollectorRegistry) -> None:
    metrics.retried()
    metrics.event("ramp", "retried")
    assert event(registry, "retried") == 2
    assert value(registry, "retries_total") == 2


def test_durations_of_stages_and_of_their_parts(metrics: ServiceMetrics, registry: CollectorRegistry) -> None:
    metrics.took("ramp_fit", 3.0, {"ramp_fit": 2.5, "write": 0.25})
    metrics.took("ramp_fit", 1.0, {"ramp_fit": 0.5})
    assert value(registry, "stage_duration_seconds_sum", stage="ramp_fit") == 4
    assert value(registry, "stage_duration_seconds_bucket", stage="ramp_fit", le="2.5") == 1
    assert value(registry, "step_duration_seconds_sum", stage="ramp_fit", step="ramp_fit") == 3
    assert value(registry, "step_duration_seconds_count", stage="ramp_fit", step="write") == 1


def test_latency_counts_from_the_time_of_the_generation(
    metrics: ServiceMetrics, registry: CollectorRegistry
) -> None:
    generation = str(ULID.from_timestamp(1_000_000.0))
    metrics.latency_of("rate", generation, now=1_000_040.0)
    metrics.latency_of("rate", generation, now=999_999.0)  # the clock was set back
    assert value(registry, "end_to_end_latency_seconds_sum", topic="rate") == pytest.approx(40)
    assert value(registry, "end_to_end_latency_seconds_count", topic="rate") == 2


def test_the_age_of_the_oldest_message_grows_by_itself(
    metrics: ServiceMetrics, registry: CollectorRegistry
) -> None:
    metrics.oldest({"ramp": time.time() - 100})
    first = value(registry, "oldest_age_seconds", topic="ramp")
    second = value(registry, "oldest_age_seconds", topic="ramp")
    assert first is not None
    assert second is not None
    assert 100 <= first < second < 200
    metrics.oldest({"ramp": None})
    assert value(registry, "oldest_age_seconds", topic="ramp") == 0


def test_gauges_and_the_other_counters(metrics: ServiceMetrics, registry: CollectorRegistry) -> None:
    metrics.in_work(3)
    metrics.lag({"ramp": 17})
    metrics.child_memory(5_000_000)
    metrics.waiting(True)
    metrics.associations_open(2)
    metrics.emitted("partial")
    metrics.dead_letter("ramp")
    metrics.written(1000)
    metrics.written(500)
    metrics.turned()
    assert value(registry, "in_work") == 3
    assert value(registry, "lag_messages", topic="ramp") == 17
    assert value(registry, "child_memory_bytes") == 5_000_000
    assert value(registry, "waiting") == 1
    assert value(registry, "associations_open") == 2
    assert value(registry, "associations_emitted_total", completeness="partial") == 1
    assert value(registry, "dead_letters_total", topic="ramp") == 1
    assert value(registry, "written_bytes_total") == 1500
    turned = value(registry, "last_turn_timestamp_seconds")
    assert turned is not None
    assert abs(time.time() - turned) < 60


def test_several_services_of_a_process_share_a_registry(registry: CollectorRegistry) -> None:
    first = ServiceMetrics("detector1", ["raw"], ["detector1"], registry=registry)
    second = ServiceMetrics("associator", ["plan", "cal", "failures"], [], registry=registry)
    first.event("raw", "complete")
    second.event("cal", "complete")
    name = "calstream_events_total"
    assert registry.get_sample_value(
        name, {"service": "detector1", "topic": "raw", "stage": "detector1", "outcome": "complete"}
    ) == 1  # fmt: skip
    assert registry.get_sample_value(
        name, {"service": "associator", "topic": "cal", "stage": "associator", "outcome": "complete"}
    ) == 1  # fmt: skip


def test_names_have_the_prefix_and_base_units(metrics: ServiceMetrics, registry: CollectorRegistry) -> None:
    names = {metric.name for metric in registry.collect()}
    assert all(name.startswith("calstream_") for name in names)
    assert not {name for name in names if name.endswith(("_ms", "_milliseconds", "_mb", "_percent"))}
    labels = {label for metric in registry.collect() for s in metric.samples for label in s.labels}
    assert labels <= {
        "service", "topic", "stage", "step", "outcome", "completeness", "version", "python", "le",
    }  # fmt: skip
