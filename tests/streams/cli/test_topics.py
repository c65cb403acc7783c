"""``calstream topics create``, and what commands say of topics that are not as they must be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from streams.bus.opening import open_bus
from streams.cli import main
from streams.site import Address, open_site
from streams.topics import every_topic
from tests.streams.bus.brokers import cluster, empty_kafka

EVERY = len(every_topic())

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


@pytest.fixture
def url() -> str:
    return empty_kafka()


@pytest.fixture
def admin(url: str) -> Iterator[KafkaAdminClient]:
    with KafkaAdminClient(bootstrap_servers=cluster().bootstrap.split(",")) as made:
        yield made


def delete(admin: KafkaAdminClient, topic: str) -> None:
    """Delete a topic, and wait until the broker has it no more: it says so now and then before that."""
    admin.delete_topics([topic])
    seen = 0
    while seen < 10:
        seen = 0 if topic in admin.list_topics() else seen + 1
        time.sleep(0.01)


def change(admin: KafkaAdminClient, topic: str, options: dict[str, str]) -> None:
    """Set options of a topic, and wait until the broker says so."""
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(options))])
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic)]
    seen = 0
    while seen < 10:
        told = admin.describe_configs(asked, config_filter="all")["topic"][topic]
        seen = seen + 1 if all(told[name]["value"] == value for name, value in options.items()) else 0
        time.sleep(0.01)


def test_a_bus_in_a_folder_gets_the_partitions_that_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"embedded:{tmp_path / 'bus'}"
    assert main(["topics", "create", "--bus", url, "--partitions", "3"]) == 0
    number = len(every_topic())
    assert (
        capsys.readouterr().out == f"{number} topics made, 0 were there, with 3 partitions each, on {url}\n"
    )
    assert main(["topics", "create", "--bus", url]) == 0
    assert f"0 topics made, {number} were there, with 3 partitions" in capsys.readouterr().out
    assert main(["topics", "create", "--bus", url, "--partitions", "4"]) == 2
    site = open_site(Address(bus=url, store=str(tmp_path / "store")))
    assert len(site.bus.offsets_at("raw", 0.0)) == 3
    site.bus.close()


def test_kafka_gets_every_topic_with_partitions_retention_and_compaction(
    url: str, admin: KafkaAdminClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["topics", "create", "--bus", url, "--partitions", "5"]) == 0
    names = {topic.name for topic in every_topic()}
    assert {name for name in admin.list_topics() if not name.startswith("__")} == names
    assert {len(topic["partitions"]) for topic in admin.describe_topics(list(names))} == {5}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    told = admin.describe_configs(asked, config_filter="all")["topic"]
    compacted = {name for name in names if told[name]["cleanup.policy"]["value"] == "compact"}
    assert compacted == {topic.name for topic in every_topic() if topic.compacted}
    kept = {name: told[name]["retention.ms"]["value"] for name in names - compacted}
    assert kept.pop("members") == str(30 * 86_400_000)
    assert set(kept.values()) == {"-1"}
    assert {told[name]["retention.bytes"]["value"] for name in names} == {"-1"}
    bus = open_bus(url)  # it keeps to the number that is there
    bus.create_topics(every_topic())
    bus.close()


@pytest.mark.parametrize(
    ("topic", "set_to", "says"),
    [
        ("raw", {"retention.ms": "604800000"}, "remove what must be kept"),
        ("cal", {"retention.bytes": "1000000"}, "remove what must be kept"),
        ("members", {"retention.ms": "1000"}, "remove what must be kept"),
        ("services", {"cleanup.policy": "compact,delete"}, "remove what must be kept"),
        ("rate", {"compression.type": "producer"}, "keep it compressed"),
    ],
)
def test_a_topic_that_is_not_kept_as_it_must_be_is_refused_until_it_is_told(
    url: str, admin: KafkaAdminClient, capsys: pytest.CaptureFixture[str], topic: str, set_to: dict[str, str],
    says: str,
) -> None:  # fmt: skip
    assert main(["topics", "create", "--bus", url]) == 0
    if topic == "services":
        set_to = {**set_to, "retention.ms": "604800000"}
    change(admin, topic, set_to)
    assert main(["status", "--bus", url]) == 2
    assert f"topic {topic} is there already, and Kafka would {says}: it must have " in capsys.readouterr().err
    assert main(["topics", "create", "--bus", url]) == 0
    assert f"set as they must be: {topic}\n" in capsys.readouterr().out
    assert main(["topics", "create", "--bus", url]) == 0
    assert "set as they" not in capsys.readouterr().out


def test_what_is_kept_for_longer_than_it_must_be_stays_as_it_is(url: str, admin: KafkaAdminClient) -> None:
    assert main(["topics", "create", "--bus", url]) == 0
    change(admin, "members", {"retention.ms": "-1", "compression.type": "gzip"})
    assert main(["topics", "create", "--bus", url]) == 0
    asked = [ConfigResource(ConfigResourceType.TOPIC, "members")]
    told = admin.describe_configs(asked, config_filter="all")["topic"]["members"]
    assert told["retention.ms"]["value"] == "-1"


def test_who_comes_to_a_kafka_without_topics_is_told_to_create_them(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["--bus", url, "--store", str(tmp_path / "store")]
    assert main(["serve", "associator", *there]) == 2
    told = capsys.readouterr().err
    assert f"{EVERY} of {EVERY} topics are not on {url} (raw, ramp, rate, ...)" in told
    assert f"run `calstream topics create --bus {url}`" in told
    assert main(["status", "--bus", url]) == 2
    assert "there is no pipeline at" in capsys.readouterr().err


def test_a_topic_that_is_gone_and_one_with_other_partitions_are_named(
    url: str, admin: KafkaAdminClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["--bus", url, "--store", str(tmp_path / "store")]
    assert main(["topics", "create", "--bus", url]) == 0
    delete(admin, "plan")
    assert main(["serve", "associator", *there]) == 2
    assert f"1 of {EVERY} topics are not on" in capsys.readouterr().err
    admin.create_topics({"plan": {"num_partitions": 2, "replication_factor": 1}})
    admin.wait_for_topics(["plan"])
    for command in (
        ["serve", "associator", *there],
        ["status", "--bus", url],
        ["topics", "create", "--bus", url],
    ):
        assert main(command) == 2
        assert "topic plan is there already and has 2 partitions, not 12" in capsys.readouterr().err


def test_up_begins_a_kafka_that_is_empty_but_mends_none_that_lacks_a_topic(
    url: str, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    where = Address(bus=url, store=str(tmp_path / "store"))
    site = open_site(where, begin=True)
    assert set(site.bus.topics()) == {topic.name for topic in every_topic()}
    site.bus.close()
    delete(admin, "plan")
    with pytest.raises(Exception, match=f"1 of {EVERY} topics are not on"):
        open_site(where, begin=True)
