"""Where the brokers are, how to get in, and the clients that do."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, UnknownBrokerIdError

from schemas.errors import UsageError
from streams.bus.kafka.failures import told

PREFIX: Final = "CALSTREAM_KAFKA_"
"""Of the environment variables, as ``CALSTREAM_KAFKA_SASL_MECHANISM``."""

PUBLIC: Final = ("security_protocol", "sasl_mechanism", "ssl_cafile", "ssl_certfile", "ssl_keyfile")
"""Options that a URL may name too, after ``?``."""

SECRET: Final = ("sasl_plain_username", "sasl_plain_password", "ssl_password")
"""Options that only the environment gives: URLs are shown and logged."""

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of the longest message that any topic may take."""

BACKOFF: Final = 10
"""Milliseconds: a transaction right after another is told to wait, and with the default waits 100."""

_NO_BROKER: Final = 15_000
"""Milliseconds to find one."""


class Patient:
    """A client whose calls are tried again for a while when they fail for a reason that passes.

    Parameters
    ----------
    make : callable
        Makes the client; called again where one does not know a broker that has come back, which it would not
        for minutes.
    patience : float
        Seconds.
    """

    def __init__(self, make: Callable[[], Any], patience: float = 20.0) -> None:
        self._make, self._patience = make, patience
        self._clients = [make()]

    def __getattr__(self, name: str) -> Any:
        """Return a method of the client, made patient."""

        def call(*arguments: Any, **named: Any) -> Any:
            deadline = time.monotonic() + self._patience
            while True:
                try:
                    return getattr(self._clients[-1], name)(*arguments, **named)
                except UnknownBrokerIdError:
                    if time.monotonic() > deadline:
                        raise
                    self._clients.append(self._make())
                except KafkaError as error:
                    if not error.retriable or time.monotonic() > deadline:
                        raise
                time.sleep(0.1)

        return call

    def close(self) -> None:
        """Close every client there was: another thread may have been busy with an old one."""
        for client in self._clients:
            client.close()


@dataclass(frozen=True)
class Connection:
    """Addresses of brokers, and the options of a client that may talk to them.

    Attributes
    ----------
    servers : tuple of str
        ``HOST:PORT``.
    options : mapping
        Of kafka-python's clients.
    """

    servers: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, url: str, environ: Mapping[str, str] = os.environ) -> Connection:
        """Return what ``kafka://HOST:PORT[,HOST:PORT][?OPTION=VALUE]`` and the environment say; the URL wins.

        Raises
        ------
        UsageError
            If the URL is no such URL.
        """
        parts = urlsplit(url)
        servers = tuple(one for one in parts.netloc.split(",") if one)
        if parts.scheme != "kafka" or not servers or parts.path not in ("", "/"):
            raise UsageError(f"{url!r} is no bus; write kafka://HOST:PORT[,HOST:PORT]")
        if "@" in parts.netloc:
            raise UsageError(
                f"no user or password in the URL of a bus; set {PREFIX}SASL_PLAIN_USERNAME and _PASSWORD"
            )
        for server in servers:
            host, _, port = server.rpartition(":")
            if not host or not port.isdecimal():
                raise UsageError(f"{server!r} in {url!r} is no address; write HOST:PORT")
        _silence()
        asked = dict(parse_qsl(parts.query))
        if unknown := asked.keys() - set(PUBLIC):
            raise UsageError(f"{url!r}: unknown option {min(unknown)!r}; there are {', '.join(PUBLIC)}")
        given = {name: environ.get(PREFIX + name.upper()) for name in (*PUBLIC, *SECRET)}
        return cls(servers, {name: value for name, value in given.items() if value} | asked)

    def admin(self) -> Patient:
        """Return a client for topics and groups; it may be used by several threads."""
        with told(f"no Kafka broker answers at {','.join(self.servers)}"):
            return Patient(lambda: KafkaAdminClient(**self._common()))

    def consumer(self, **more: Any) -> Any:
        """Return a client that reads what was committed, from the beginning, and commits nothing itself."""
        with told(f"no Kafka broker answers at {','.join(self.servers)}"):
            return KafkaConsumer(
                **self._common(),
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                metrics_enabled=False,
                **more,
            )

    def producer(self, **more: Any) -> Any:
        """Return a client that writes."""
        with told(f"no Kafka broker answers at {','.join(self.servers)}"):
            return KafkaProducer(
                **self._common(),
                max_request_size=LARGEST + 1024 * 1024,
                allow_auto_create_topics=False,
                metrics_enabled=False,
                **more,
            )

    def _common(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": list(self.servers),
            "client_id": "calstream",
            "retry_backoff_ms": BACKOFF,
            "reconnect_backoff_max_ms": 1000,
            "bootstrap_timeout_ms": _NO_BROKER,
            **self.options,
        }


def _silence() -> None:
    """Let the client's loggers keep quiet, unless the program has said what it wants of them.

    Whatever it cannot do is told by an error of ours; it would tell of each try to reach a broker, many times
    a second.
    """
    logger = logging.getLogger("kafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
