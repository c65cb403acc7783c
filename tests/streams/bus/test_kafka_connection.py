"""How a bus on Kafka is found and how it gets in."""

from __future__ import annotations

import pytest

from schemas.errors import CalstreamError, Retriable, UsageError
from streams.bus.kafka import KafkaBus
from streams.bus.kafka.connection import Connection
from tests.streams.bus.locked import locked_broker

from .made import said, take, values


def test_a_url_names_brokers():
    connection = Connection.of("kafka://one:9092,two:9093", {})
    assert (connection.servers, dict(connection.options)) == (("one:9092", "two:9093"), {})


def test_options_come_from_the_environment_and_the_url_wins():
    environ = {
        "CALSTREAM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "CALSTREAM_KAFKA_SASL_PLAIN_USERNAME": "me",
        "CALSTREAM_KAFKA_SASL_PLAIN_PASSWORD": "secret",
        "CALSTREAM_KAFKA_SSL_CAFILE": "",
    }
    connection = Connection.of("kafka://one:9092?security_protocol=SSL&ssl_cafile=/ca.pem", environ)
    assert dict(connection.options) == {
        "security_protocol": "SSL",
        "sasl_plain_username": "me",
        "sasl_plain_password": "secret",
        "ssl_cafile": "/ca.pem",
    }
    assert "secret" not in repr(connection)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("kafka://", "is no bus"),
        ("kafka:one:9092", "is no bus"),
        ("kafka://one", "is no address"),
        ("kafka://one:9092/topic", "is no bus"),
        ("kafka://me:secret@one:9092", "no user or password"),
        ("kafka://one:9092?sasl_plain_password=secret", "unknown option"),
    ],
)
def test_what_is_no_url_is_said_so(url, says):
    with pytest.raises(UsageError, match=says):
        Connection.of(url, {})


def test_a_broker_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("streams.bus.kafka.connection._NO_BROKER", 500)
    with pytest.raises(Retriable, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        KafkaBus("kafka://127.0.0.1:1")


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    with locked_broker(tmp_path_factory.mktemp("locked")) as made:
        yield made


def test_tls_and_a_password_open_a_broker_that_demands_them(locked, monkeypatch):
    for name, value in locked.secrets.items():
        monkeypatch.setenv(name, value)
    bus = KafkaBus(locked.url)
    bus.create_topics(["raw", "ramp"])
    bus.publish([said("raw", "a", "1")])
    consumer = bus.consumer("g", ["raw"])
    consumer.commit(take(consumer, 1), [said("ramp", "a", "2")])
    assert values(bus.read("ramp")) == [b"2"]
    assert bus.lag("g", ["raw"]) == {"raw": 0}
    bus.close()


@pytest.mark.parametrize(
    "given",
    [
        {"security_protocol": "PLAINTEXT"},
        {"sasl_plain_password": "wrong"},
        {"ssl_cafile": None},
    ],
    ids=["no TLS", "a wrong password", "another authority"],
)
def test_who_has_not_what_it_demands_is_kept_out(locked, monkeypatch, given):
    monkeypatch.setattr("streams.bus.kafka.connection._NO_BROKER", 2000)
    for name, value in {**locked.local.client, **given}.items():
        if value is not None:
            monkeypatch.setenv(f"CALSTREAM_KAFKA_{name.upper()}", value)
    with pytest.raises(CalstreamError, match="no Kafka broker answers at"):
        KafkaBus(f"kafka://{locked.local.bootstrap}")
