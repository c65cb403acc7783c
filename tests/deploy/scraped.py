"""A process with the metrics of two services that are at work, until its standard input ends."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from schemas.records import ServiceRecord
from streams.health import HealthServer, write_targets
from streams.metrics import OUTCOMES, ServiceMetrics


def work(detector1: ServiceMetrics, associator: ServiceMetrics, turn: int) -> None:
    for outcome in OUTCOMES:
        detector1.event("raw", outcome)
    detector1.took("detector1", 0.3, {"jump": 0.2, "write": 0.1})
    detector1.latency("ramp", 2.0)
    detector1.dead_letter("raw")
    detector1.written(2**20)
    detector1.in_work(2)
    detector1.lag({"raw": turn})
    detector1.oldest({"raw": time.time() - 5})
    detector1.child_memory(2**30)
    detector1.waiting(turn % 2 == 0)
    associator.event("cal", "complete")
    associator.associations_open(1)
    associator.emitted("complete")
    for service in (detector1, associator):
        service.turned()


def main(targets: Path) -> None:
    registry = CollectorRegistry()
    detector1 = ServiceMetrics("detector1", ["raw"], ["detector1"], ["ramp"], registry=registry)
    associator = ServiceMetrics("associator", ["plan", "cal", "failures"], [], ["association"], registry)
    server = HealthServer(registry, str, str)
    record = ServiceRecord(
        service="detector1", instance="one", host="here", pid=1, started=0, time=0, metrics=server.address
    )
    write_targets([record, record.model_copy(update={"service": "associator"})], targets)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    turn = 0
    while not ended.wait(0.1):
        turn += 1
        work(detector1, associator, turn)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
