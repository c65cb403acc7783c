"""Real brokers for tests, shared by all: started when the first test needs them, stopped with the session."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient, MemberToRemove

from schemas.errors import CalstreamError
from streams.bus.kafka import KafkaBus
from streams.kafka.jars import jars, java
from streams.kafka.local import LocalKafka

MISSING = "no Kafka here"


@cache
def missing() -> str:
    """Say what of Java, Maven and the jars is not there."""
    try:
        java()
        jars()
    except CalstreamError as error:
        return str(error)
    return ""


def demand_kafka() -> None:
    """Skip the test where Kafka cannot run; with CALSTREAM_REQUIRE_KAFKA it is a failure."""
    if missing():
        if os.environ.get("CALSTREAM_REQUIRE_KAFKA"):
            pytest.fail(missing())
        pytest.skip(f"{MISSING}: {missing()}")


_RUNNING: dict[int, LocalKafka] = {}


def cluster(nodes: int = 1) -> LocalKafka:
    """Return a running Kafka."""
    demand_kafka()
    if nodes not in _RUNNING:
        _RUNNING[nodes] = LocalKafka(Path(tempfile.mkdtemp(prefix="calstream-kafka-")))
        _RUNNING[nodes].up(nodes, port=0)
    return _RUNNING[nodes]


def stop_clusters() -> None:
    """Stop those that were started, and remove what they wrote."""
    for local in _RUNNING.values():
        local.down()
        shutil.rmtree(local.folder, ignore_errors=True)
    _RUNNING.clear()


def _topics(admin: KafkaAdminClient) -> list[str]:
    return [name for name in admin.list_topics() if not name.startswith("__")]


def _send_away(admin: KafkaAdminClient, groups: list[str]) -> None:
    """Let members that were killed be none any more; the groups would wait for them."""
    for group, found in admin.describe_groups(groups).items():
        if dead := [MemberToRemove(member_id=one["member_id"]) for one in found["members"]]:
            admin.remove_group_members(group, dead)


def empty_kafka(nodes: int = 1) -> str:
    """Return the URL of a running Kafka in which nothing is left of earlier tests."""
    local = cluster(nodes)
    with KafkaAdminClient(bootstrap_servers=local.bootstrap.split(",")) as admin:
        groups = [group["group_id"] for group in admin.list_groups()]
        if groups:
            _send_away(admin, groups)
            admin.delete_groups(groups)
        if topics := _topics(admin):
            admin.delete_topics(topics)
        seen = 0
        while seen < 10 * nodes:  # each broker learns of it in its own time
            seen = 0 if _topics(admin) else seen + 1
            time.sleep(0.01)
    return f"kafka://{local.bootstrap}"


def empty_bus(nodes: int = 1, **options: object) -> KafkaBus:
    """Return a bus on a running Kafka in which nothing is left of earlier tests."""
    return KafkaBus(empty_kafka(nodes), **options)
