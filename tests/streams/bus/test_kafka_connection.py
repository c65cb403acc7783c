"""How a bus on Kafka is found and how it gets in."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.errors import CalstreamError, Retriable, UsageError
from streams.bus.kafka import KafkaBus
from streams.bus.kafka.connection import Connection
from streams.kafka.local import LocalKafka

from .brokers import demand_kafka
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


@dataclass(frozen=True)
class Locked:
    """A broker that demands TLS and a password."""

    local: LocalKafka
    authority: Path


def certificates(folder: Path) -> tuple[Path, str]:
    """Return the file of a new authority, and the text of a key and its certificate for 127.0.0.1."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes", "-keyout")
    openssl(*new, "ca.key", "-x509", "-days", "2", "-subj", "/CN=test", "-out", "ca.pem")
    openssl(*new, "node.key", "-subj", "/CN=node", "-out", "node.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "node.csr", "-days", "2", *signing, "-out", "node.pem")
    openssl("pkcs8", "-topk8", "-nocrypt", "-in", "node.key", "-out", "node.pk8")
    return folder / "ca.pem", (folder / "node.pk8").read_text() + (folder / "node.pem").read_text()


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    demand_kafka()
    folder = tmp_path_factory.mktemp("locked")
    authority, identity = certificates(folder)
    (folder / "identity.pem").write_text(identity)
    module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    extra = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "identity.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority),
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": (
            f'{module} username="admin" password="inside" user_admin="inside" user_calstream="secret";'
        ),
    }
    client = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "calstream",
        "sasl_plain_password": "secret",
        "ssl_cafile": str(authority),
    }
    local = LocalKafka(folder / "kafka", protocol="SASL_SSL", extra=extra, client=client)
    local.up(1, port=0)
    yield Locked(local, authority)
    local.down()


def test_tls_and_a_password_open_a_broker_that_demands_them(locked, monkeypatch):
    monkeypatch.setenv("CALSTREAM_KAFKA_SASL_PLAIN_USERNAME", "calstream")
    monkeypatch.setenv("CALSTREAM_KAFKA_SASL_PLAIN_PASSWORD", "secret")
    monkeypatch.setenv("CALSTREAM_KAFKA_SASL_MECHANISM", "PLAIN")
    options = f"security_protocol=SASL_SSL&ssl_cafile={locked.authority}"
    bus = KafkaBus(f"kafka://{locked.local.bootstrap}?{options}")
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
