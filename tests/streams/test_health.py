"""What a service answers over HTTP, and where Prometheus finds it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from schemas.errors import UsageError
from schemas.records import ServiceRecord
from streams.health import HealthServer, targets_json, write_targets
from streams.metrics import ServiceMetrics


@dataclass
class Loop:
    """What a service says of itself."""

    health: str = ""
    readiness: str = "kernels are not warm yet"


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def server(loop: Loop) -> Iterator[HealthServer]:
    registry = CollectorRegistry()
    ServiceMetrics("detector1", ["raw"], ["detector1"], registry=registry)
    served = HealthServer(registry, lambda: loop.health, lambda: loop.readiness)
    yield served
    served.close()


def ask(server: HealthServer, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.headers["Content-Type"], answer.read().decode()
    connection.close()
    return found


def test_a_service_that_goes_round_is_healthy_and_one_that_hangs_says_why(
    server: HealthServer, loop: Loop
) -> None:
    assert ask(server, "/healthz")[::2] == (200, "ok\n")
    loop.health = "the loop has not gone round for 42 s"
    assert ask(server, "/healthz")[::2] == (503, "the loop has not gone round for 42 s\n")


def test_readiness_is_another_question(server: HealthServer, loop: Loop) -> None:
    assert ask(server, "/readyz")[::2] == (503, "kernels are not warm yet\n")
    loop.readiness = ""
    assert ask(server, "/readyz")[::2] == (200, "ok\n")


def test_metrics_are_served_as_prometheus_reads_them(server: HealthServer) -> None:
    status, kind, text = ask(server, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=")
    assert 'calstream_retries_total{service="detector1"} 0.0' in text.splitlines()
    modern = ask(server, "/metrics?name=x", Accept="application/openmetrics-text; version=1.0.0")
    assert modern[1].startswith("application/openmetrics-text")
    assert modern[2].endswith("# EOF\n")


def test_head_gives_no_body_and_other_paths_are_not_there(server: HealthServer) -> None:
    assert ask(server, "/healthz", "HEAD") == (200, "text/plain; charset=utf-8", "")
    status, _, text = ask(server, "/")
    assert status == 404
    assert "/metrics, /healthz, /readyz" in text


def test_a_question_that_cannot_be_answered_is_a_failure_and_not_the_end() -> None:
    def broken() -> str:
        raise RuntimeError("no idea")

    server = HealthServer(CollectorRegistry(), broken, str)
    try:
        assert ask(server, "/healthz")[::2] == (500, "RuntimeError: no idea\n")
        assert ask(server, "/readyz")[0] == 200
    finally:
        server.close()


def test_only_this_machine_is_answered(server: HealthServer) -> None:
    assert server.address == f"127.0.0.1:{server.port}"
    assert server._server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_told(server: HealthServer) -> None:
    with pytest.raises(UsageError, match=f"port {server.port}.*choose another one with --metrics-port"):
        HealthServer(CollectorRegistry(), str, str, server.port)
    with pytest.raises(UsageError, match="port 70000"):
        HealthServer(CollectorRegistry(), str, str, 70000)


def test_a_closed_server_gives_its_port_back(server: HealthServer) -> None:
    other = HealthServer(CollectorRegistry(), str, str)
    port = other.port
    other.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=30)
    HealthServer(CollectorRegistry(), str, str, port).close()


def record(service: str, metrics: str, state: str = "ready") -> ServiceRecord:
    return ServiceRecord(
        service=service, instance=metrics or "none", host="here", pid=1, state=state, metrics=metrics,
        started=0.0, time=0.0,
    )  # fmt: skip


def test_targets_are_those_that_serve_metrics_each_once() -> None:
    records = [
        record("ramp_fit", "127.0.0.1:9002"),
        record("image2", "127.0.0.1:9001"),
        record("detector1", "127.0.0.1:9002"),
        record("image3", ""),
        record("associator", "127.0.0.1:9003", state="stopped"),
    ]
    assert json.loads(targets_json(records)) == [
        {"targets": ["127.0.0.1:9001"], "labels": {"service": "image2"}},
        {"targets": ["127.0.0.1:9002"], "labels": {"service": "detector1,ramp_fit"}},
    ]


def test_the_targets_file_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    write_targets([record("image2", "127.0.0.1:9001")], path)
    held = path.open()
    write_targets([], path)
    assert len(json.load(held)) == 1
    assert json.loads(path.read_text()) == []
    assert [file.name for file in tmp_path.iterdir()] == ["targets.json"]
    assert path.stat().st_mode & 0o777 == 0o644
