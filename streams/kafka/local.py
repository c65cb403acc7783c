"""A local Kafka of one node or three: start, wait until it is ready, stop."""

from __future__ import annotations

import json
import socket
import string
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from schemas.errors import Retriable, Unprocessable, UsageError
from streams.kafka.jars import deployed
from streams.kafka.nodes import GRACE, Node

PORT: Final = 19092
"""Of the first node, unless said otherwise; the others follow, then the controllers."""

SIZES: Final = (1, 3)

LEFT_ALONE: Final = 3.0
"""Seconds that the last of several nodes has to stop before it is killed."""

READY_WITHIN: Final = 120.0
"""Seconds."""


@dataclass(frozen=True)
class LocalKafka:
    """A local Kafka in a folder; its processes outlive the one that started them.

    Attributes
    ----------
    folder : Path
        Configuration, logs, data and process ids, a folder for each node.
    protocol : str
        What clients speak with it, ``PLAINTEXT`` or ``SASL_SSL``.
    extra : mapping of str to str
        More of the broker's properties.
    client : mapping
        Options that a client of kafka-python needs to get in.
    """

    folder: Path
    protocol: str = "PLAINTEXT"
    extra: Mapping[str, str] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        """Return its nodes; none where it was never started."""
        return [Node(self._node_folder(i), port) for i, port in enumerate(self._ports())]

    @property
    def bootstrap(self) -> str:
        """Return the addresses of its nodes, as in ``kafka://`` URLs."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def up(self, nodes: int | None = None, port: int | None = None) -> str:
        """Start what does not run, wait until all is ready, and return the bootstrap address.

        Parameters
        ----------
        nodes : int, optional
            1 or 3; those that there were, else 1.
        port : int, optional
            Of the first node; 0 for any that are free; those that there were, else 19092.

        Raises
        ------
        UsageError
            If the folder holds a Kafka of another size or port, or the ports are taken.
        Unprocessable
            If there is no Java or Maven, or a node ends before it is ready.
        Retriable
            If it is not ready in time.
        """
        folder = self.folder.absolute()
        self._settle(folder, nodes, port)
        stopped = [(i, node) for i, node in enumerate(self.nodes) if node.pid is None]
        _demand_free([node.port for _, node in stopped])
        with ThreadPoolExecutor(len(SIZES)) as together:
            list(together.map(lambda one: one[1].configure(self._rendered(one[0])), stopped))
        for _, node in stopped:
            node.start(heap=512 if len(self.nodes) == 1 else 320)
        self.wait_until_ready()
        return self.bootstrap

    def down(self) -> int:
        """Stop every node, and return how many ran."""
        running = [node for node in self.nodes if node.pid is not None]
        for index, node in enumerate(running):
            # One of three that is left alone asks controllers that are gone for leave to stop.
            alone = len(self.nodes) > 1 and index == len(running) - 1
            node.stop(grace=LEFT_ALONE if alone else GRACE)
        return len(running)

    def wait_until_ready(self, within: float = READY_WITHIN) -> None:
        """Wait until every node takes part.

        Raises
        ------
        Unprocessable
            If a node has ended.
        Retriable
            If it takes too long.
        """
        deadline = time.monotonic() + within
        while self.taking_part() < len(self.nodes):
            for node in self.nodes:
                if node.pid is None:
                    raise Unprocessable(
                        f"the Kafka node in {node.folder} ended before it was ready "
                        f"({node.last_error()}); see {node.log}"
                    )
            if time.monotonic() > deadline:
                raise Retriable(
                    f"Kafka in {self.folder} is not ready after {within:.0f} s; see its server.log"
                )
            time.sleep(0.2)

    def taking_part(self) -> int:
        """Return how many nodes the cluster counts as alive."""
        from kafka.admin import KafkaAdminClient
        from kafka.errors import KafkaError

        alive = [f"127.0.0.1:{node.port}" for node in self.nodes if _answers(node.port)]
        if not alive:
            return 0
        try:
            with KafkaAdminClient(bootstrap_servers=alive, bootstrap_timeout_ms=5000, **self.client) as admin:
                brokers = admin.describe_cluster()["brokers"]
        except KafkaError:
            return 0
        return sum(not broker.get("is_fenced", False) for broker in brokers)

    def _settle(self, folder: Path, nodes: int | None, port: int | None) -> None:
        known = self._ports()
        size = nodes or len(known) or SIZES[0]
        if size not in SIZES:
            raise UsageError(f"a local Kafka has 1 node or 3, not {size}")
        if known and (size != len(known) or (port and port != known[0])):
            raise UsageError(
                f"{folder} holds a Kafka of {len(known)} node(s) at port {known[0]}; stop it and remove the "
                "folder, or name another with --dir"
            )
        if not known:
            folder.mkdir(parents=True, exist_ok=True)
            chosen = _free(2 * size) if port == 0 else list(range(port or PORT, (port or PORT) + 2 * size))
            self._book.write_text(json.dumps({"ports": chosen[:size], "controllers": chosen[size:]}))

    def _rendered(self, index: int) -> str:
        book = json.loads(self._book.read_text())
        controllers: Sequence[int] = book["controllers"]
        size = len(controllers)
        template = string.Template(deployed("server.properties").read_text(encoding="utf-8"))
        text = template.substitute(
            node=index + 1,
            voters=",".join(f"{i + 1}@127.0.0.1:{port}" for i, port in enumerate(controllers)),
            protocol=self.protocol,
            port=book["ports"][index],
            controller_port=controllers[index],
            data=self._node_folder(index) / "data",
            copies=size,
            in_sync=1 if size == 1 else 2,
        )
        return text + "".join(f"{key}={value}\n" for key, value in self.extra.items())

    @property
    def _book(self) -> Path:
        return self.folder / "ports.json"

    def _ports(self) -> list[int]:
        try:
            return list(json.loads(self._book.read_text())["ports"])
        except FileNotFoundError:
            return []

    def _node_folder(self, index: int) -> Path:
        return self.folder.absolute() / f"node-{index + 1}"


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _demand_free(ports: Sequence[int]) -> None:
    for port in ports:
        if _answers(port):
            raise UsageError(f"port {port} is taken; choose another with --port, or 0 for any that is free")


def _free(count: int) -> list[int]:
    """Return ports that nobody uses now."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
