"""The AsyncAPI document says what the code does, and is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from schemas.events import KINDS
from streams import asyncapi
from streams.topics import READERS, TOPICS

GOLDEN = Path(__file__).parents[1] / "schemas" / "golden"
KEPT: dict[str, Any] = yaml.safe_load(asyncapi.FILE.read_text())


def references(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from references(value)


def resolved(reference: str) -> Any:
    found = KEPT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_it_is_current() -> None:
    assert asyncapi.FILE.read_text() == asyncapi.text(), "run python -m streams.asyncapi"


def test_every_reference_leads_somewhere() -> None:
    every = set(references(KEPT))
    assert len(every) >= 30
    assert all(resolved(reference) for reference in every)


def test_every_topic_is_a_channel_and_every_reader_an_operation() -> None:
    assert {topic.name for topic in TOPICS} <= {one["address"] for one in KEPT["channels"].values()}
    read = {
        (one["summary"].split()[0], one["channel"]["$ref"].removeprefix("#/channels/"))
        for one in KEPT["operations"].values()
        if one["action"] == "receive"
    }
    assert read == {(group, topic) for group, topics in READERS.items() for topic in topics}


def test_every_message_of_a_channel_has_a_payload_and_events_their_headers() -> None:
    carried = {ref for channel in KEPT["channels"].values() for ref in references(channel["messages"])}
    assert {reference.rpartition("/")[2] for reference in carried} == set(KEPT["components"]["messages"])
    assert all("payload" in resolved(reference) for reference in carried)
    for kind in KINDS:
        (trait,) = KEPT["components"]["messages"][kind]["traits"]
        assert "ce_id" in resolved(trait["$ref"])["headers"]["properties"]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("**/*.json")), ids=lambda path: path.stem)
def test_events_that_were_released_satisfy_it(path: Path) -> None:
    event = json.loads(path.read_text())
    if event["kind"] not in KINDS:
        pytest.skip("of a kind that is not known")
    payload = KEPT["components"]["messages"][event["kind"]]["payload"]
    schema = {**payload, "components": KEPT["components"]}
    jsonschema.validate(event, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**event, "generation": 5}, schema)
