"""A Faust app as the associator needs it, and its messages as those of the bus."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from streams.associator.tables import GROUP
from streams.bus import Message
from streams.bus.kafka.connection import LARGEST, Connection
from streams.bus.kafka.messages import RANK


def make_app(connection: Connection, partitions: int, lease: float) -> Any:
    """Return a Faust app that keeps its tables in memory, and serves and creates nothing.

    Parameters
    ----------
    connection : Connection
        To the brokers.
    partitions : int
        Of every topic.
    lease : float
        Seconds after which a worker that was killed counts as dead.
    """
    import faust

    from streams.associator.faust_reading import Transport

    servers = ";".join(f"kafka://{server}" for server in connection.servers)

    class App(faust.App):  # type: ignore[misc]
        """One that makes no folders: its tables are in memory, and where it is started may be read-only."""

        def _create_directories(self) -> None:
            pass

    app = App(
        GROUP,
        broker=servers,
        broker_credentials=_credentials(connection.options),
        broker_session_timeout=lease,
        broker_heartbeat_interval=lease / 5,
        broker_request_timeout=max(30.0, lease),
        broker_commit_interval=0.1,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_max_request_size=LARGEST + 2**20,
        topic_partitions=partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=False,
        store="memory://",
        web_enabled=False,
        web_tables_enabled=False,
        web_router_enabled=False,
        web_bind="127.0.0.1",
    )
    app.transport = Transport(app.conf.broker_consumer, app)
    return app


def _credentials(options: Mapping[str, Any]) -> Any:
    """Return kafka-python's options as Faust's credentials; None where brokers let everybody in."""
    import faust

    protocol = str(options.get("security_protocol", "PLAINTEXT"))
    context = None
    if protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=options.get("ssl_cafile"))
        if options.get("ssl_certfile"):
            context.load_cert_chain(
                options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password")
            )
    if protocol.startswith("SASL"):
        return faust.SASLCredentials(
            mechanism=options.get("sasl_mechanism"),
            username=options.get("sasl_plain_username"),
            password=options.get("sasl_plain_password"),
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def message_of(event: Any) -> Message:
    """Return what Faust read as a message of the bus."""
    read = event.message
    pairs = read.headers.items() if isinstance(read.headers, Mapping) else read.headers or ()
    return Message(
        topic=read.topic,
        key=(read.key or b"").decode(errors="replace"),
        value=read.value or b"",
        headers={
            name: value if isinstance(value, str) else (value or b"").decode(errors="replace")
            for name, value in pairs
            if name != RANK
        },
        partition=read.partition,
        offset=read.offset,
        timestamp=read.timestamp,
    )
