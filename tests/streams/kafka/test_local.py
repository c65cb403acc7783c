"""A Kafka on this machine: what is missing, what cannot be, and one that starts, stops and starts again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from schemas.errors import Retriable, Unprocessable, UsageError
from streams.kafka import jars as fetching
from streams.kafka.local import LocalKafka
from streams.kafka.nodes import Node
from tests.streams.bus.brokers import demand_kafka

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An empty folder that is all of PATH, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def script(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def test_java_that_is_missing_or_old_is_said_so(path, tmp_path, monkeypatch):
    with pytest.raises(Unprocessable, match="no `java` on PATH"):
        fetching.java()
    script(path / "java", "echo 'openjdk version \"11.0.2\"' >&2")
    with pytest.raises(Unprocessable, match=r"newer, and .*/java is 11;"):
        fetching.java()
    script(path / "java", "echo 'openjdk version \"21\"' >&2")
    assert fetching.java() == str(path / "java")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert fetching.java() == str(path / "java")
    (path / "java").unlink()
    with pytest.raises(Unprocessable, match="no `java` in JAVA_HOME"):
        fetching.java()


def test_maven_that_is_missing_or_fails_is_said_so_and_leaves_nothing(path, tmp_path):
    with pytest.raises(Unprocessable, match="no `mvn` on PATH"):
        fetching.jars()
    script(path / "mvn", "echo '[ERROR] no such host'; exit 1")
    with pytest.raises(Retriable, match=r"could not fetch Kafka's jars \(\[ERROR\] no such host\)"):
        fetching.jars()
    assert list((tmp_path / "cache/calstream/kafka").iterdir()) == []


def test_jars_are_fetched_once(path, tmp_path):
    put = 'for a in "$@"; do case $a in -DoutputDirectory=*) d=${a#*=};; esac; done'
    script(path / "mvn", f"{put}; /bin/mkdir -p $d; echo > $d/kafka_2.13-4.jar; echo x >> {tmp_path}/count")
    folder = fetching.jars()
    assert fetching.jars() == folder
    assert [file.name for file in folder.iterdir()] == ["kafka_2.13-4.jar"]
    assert (tmp_path / "count").read_text() == "x\n"


def test_the_wheel_brings_what_it_needs(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist() if "kafka/deploy/" in name}
    deployed = ROOT / "deploy/kafka"
    assert inside == {
        f"streams/kafka/deploy/{file.name}": file.read_bytes()
        for file in deployed.iterdir()
        if file.is_file()
    }
    assert {"pom.xml", "server.properties", "log4j2.properties"} <= {Path(name).name for name in inside}
    for file in deployed.iterdir():
        assert fetching.deployed(file.name).read_bytes() == file.read_bytes()


def test_it_has_one_node_or_three(tmp_path):
    with pytest.raises(UsageError, match="1 node or 3, not 2"):
        LocalKafka(tmp_path).up(2, port=0)


def test_a_folder_keeps_its_nodes_and_ports(tmp_path):
    (tmp_path / "ports.json").write_text(json.dumps({"ports": [19092], "controllers": [19093]}))
    local = LocalKafka(tmp_path)
    assert local.bootstrap == "127.0.0.1:19092"
    for nodes, port in ((3, None), (None, 20000)):
        with pytest.raises(UsageError, match=r"holds a Kafka of 1 node\(s\) at port 19092"):
            local.up(nodes, port)


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken"):
            LocalKafka(tmp_path).up(1, port)


def test_another_process_of_the_same_number_is_not_taken_for_the_node(tmp_path):
    (tmp_path / "pid").write_text(str(os.getpid()))
    assert Node(tmp_path, 1).pid is None
    Node(tmp_path, 1).stop()


def calstream(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("calstream"), "kafka", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def runnable():
    """Java, Maven and the jars, or the test is skipped."""
    demand_kafka()


@pytest.mark.usefixtures("runnable")
def test_it_is_started_asked_stopped_and_started_again_by_commands(tmp_path):
    where = ("--dir", str(tmp_path / "kafka"))
    assert calstream("status", *where).stdout == "it does not run\n"
    try:
        up = calstream("up", "--port", "0", *where)
        assert (up.returncode, up.stderr) == (0, "")
        local = LocalKafka(tmp_path / "kafka")
        assert up.stdout == f"kafka://{local.bootstrap}\n"
        assert local.taking_part() == 1
        status = calstream("status", *where)
        assert status.returncode == 0
        assert f"1 of 1 node(s) ready: kafka://{local.bootstrap}" in status.stdout
        again = calstream("up", *where)
        assert again.stdout == up.stdout
        assert calstream("down", *where).stdout == "1 node(s) stopped\n"
        assert calstream("down", *where).stdout == "it was not running\n"
        stopped = calstream("status", *where)
        assert stopped.returncode == 1
        assert "stopped" in stopped.stdout
        assert calstream("up", *where).stdout == up.stdout
    finally:
        calstream("down", *where)


@pytest.mark.usefixtures("runnable")
def test_a_node_that_ends_before_it_is_ready_says_why(tmp_path):
    local = LocalKafka(tmp_path, extra={"log.retention.ms": "never"})
    with pytest.raises(Unprocessable, match=r"Kafka refuses it .*log\.retention\.ms"):
        local.up(1, port=0)
    assert local.down() == 0
