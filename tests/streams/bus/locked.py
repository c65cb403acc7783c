"""A broker that demands TLS and a password."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streams.kafka.local import LocalKafka
from tests.streams.bus.brokers import demand_kafka


@dataclass(frozen=True)
class Locked:
    """A broker that demands TLS and a password."""

    local: LocalKafka
    authority: Path

    @property
    def url(self) -> str:
        """Where it is, with all that is no secret."""
        return f"kafka://{self.local.bootstrap}?security_protocol=SASL_SSL&ssl_cafile={self.authority}"

    @property
    def secrets(self) -> dict[str, str]:
        """The rest, as environment variables."""
        wanted = ("sasl_mechanism", "sasl_plain_username", "sasl_plain_password")
        return {f"CALSTREAM_KAFKA_{name.upper()}": self.local.client[name] for name in wanted}


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


@contextmanager
def locked_broker(folder: Path) -> Iterator[Locked]:
    """Run one in a folder."""
    demand_kafka()
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
    try:
        yield Locked(local, authority)
    finally:
        local.down()
