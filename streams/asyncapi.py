"""An AsyncAPI 3 document of all topics: ``python -m streams.asyncapi`` writes ``deploy/asyncapi.yaml``.

What is on which topic, who reads and who publishes it, and what it looks like; made from the table of topics,
the table of stages and the models of :mod:`schemas`, so that it says what the code does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from schemas.events import KINDS
from schemas.naming import LEVELS
from schemas.records import LineRecord, ServiceRecord
from streams.bus import Topic
from streams.bus.protocol import PARTITIONS
from streams.stages import STAGES
from streams.topics import (
    ASSOCIATION,
    ASSOCIATOR_STATE,
    FAILURES,
    LINES,
    MEMBERS,
    PLAN,
    READERS,
    SERVICES,
    SETTLED,
    TOPICS,
    changelogs,
    dead_letters,
)

FILE: Final = Path(__file__).parents[1] / "deploy" / "asyncapi.yaml"
"""Where it is kept."""

_PRODUCT: Final = ("product",)
_CARRIES: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(LEVELS, _PRODUCT),
    ASSOCIATION: ("association",),
    FAILURES: ("failure",),
    PLAN: ("plan",),
    MEMBERS: ("product", "failure", "plan", "left", "tick"),
    LINES: ("line",),
    SERVICES: ("service",),
    ASSOCIATOR_STATE: ("piece",),
    SETTLED: ("settled",),
}
_KEYS: Final[Mapping[str, str]] = {
    "raw": "name of the exposure",
    "ramp": "name of the exposure",
    "rate": "name of the exposure",
    "cal": "name of the exposure",
    "combined": "name of the product",
    ASSOCIATION: "id of the association",
    FAILURES: "name of the exposure",
    PLAN: "program",
    MEMBERS: "program, or detector and day; empty for ticks, which go to each partition",
    LINES: "name of the line",
    SERVICES: "service and instance",
    ASSOCIATOR_STATE: "line, program, part and name, as a JSON list",
    SETTLED: "topic, partition and offset of the dead letter",
}
_DEAD: Final = "deadLetters"
_CE: Final = {
    "ce_specversion": "1.0",
    "ce_id": "The same whenever the same is said again.",
    "ce_source": "Who says it.",
    "ce_type": "org.calstream. and the kind.",
    "ce_subject": "Identity: line/name/suffix.",
    "content-type": "application/json",
    "traceparent": "W3C trace context.",
}
_DLQ: Final = {
    "dlq.topic": "Where it was read.",
    "dlq.partition": "Its partition there.",
    "dlq.offset": "Its offset there.",
    "dlq.service": "Who could not process it.",
}


def document() -> dict[str, Any]:
    """Return the document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "calstream",
            "version": version("calstream"),
            "description": "Topics of an event-driven calibration pipeline for the James Webb Space "
            "Telescope. Events are claim checks of at most 16 KiB: products lie in a store. Unknown "
            "fields are to be ignored; kinds, suffixes, roles and outcomes are open. Whoever takes over a "
            "stage as a handler copies line, generation, campaign, recipe and keywords from what it read.",
            "license": {"name": "BSD-3-Clause"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:19092",
                "protocol": "kafka",
                "description": "What `calstream kafka up` starts; readers take what is committed.",
            }
        },
        "channels": {**{topic.name: _channel(topic) for topic in _topics()}, _DEAD: _dead_letters()},
        "operations": _operations(),
        "components": {"messages": _messages(), "messageTraits": _traits(), "schemas": _schemas()},
    }


def text() -> str:
    """Return the document as the text of its file."""
    head = "# Made by `python -m streams.asyncapi` from the code; a test holds it current.\n"
    return head + yaml.safe_dump(document(), sort_keys=False, width=110, allow_unicode=True)


def _topics() -> tuple[Topic, ...]:
    return (*TOPICS, *changelogs())


def _channel(topic: Topic) -> dict[str, Any]:
    carries = _CARRIES.get(topic.name, ("piece",))
    key = _KEYS.get(topic.name, _KEYS[ASSOCIATOR_STATE])
    kept = "for ever" if topic.retention is None else f"for {topic.retention / 86400:.0f} days"
    kept = "the last one of each key is kept" if topic.compacted else f"kept {kept}"
    return {
        "address": topic.name,
        "description": f"Key: {key}; {kept}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in carries},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": PARTITIONS,
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if topic.compacted else "delete"],
                    "retention.ms": -1 if topic.retention is None else round(topic.retention * 1000),
                    "max.message.bytes": topic.max_bytes,
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _dead_letters() -> dict[str, Any]:
    return {
        "address": dead_letters("{topic}", "{service}"),
        "description": "What a service could not process, its bytes as they were.",
        "parameters": {
            "topic": {"description": "Where it was read."},
            "service": {"description": "Consumer group of the service."},
        },
        "messages": {"deadLetter": {"$ref": "#/components/messages/deadLetter"}},
    }


def _operations() -> dict[str, Any]:
    made: dict[str, Any] = {}
    for group, topics in READERS.items():
        for topic in topics:
            made[f"{group}-reads-{topic}"] = _operation("receive", topic, f"{group} reads {topic}.")
    writes = [(stage.name, topic) for stage in STAGES for topic in (stage.target, FAILURES)]
    writes += [("associator", topic) for topic in (ASSOCIATION, MEMBERS)]
    writes += [("ingest", topic) for topic in ("raw", PLAN)]
    for service, topic in writes:
        made[f"{service}-publishes-{topic}"] = _operation("send", topic, f"{service} publishes on {topic}.")
    return made


def _operation(action: str, topic: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic}"}, "summary": summary}


def _messages() -> dict[str, Any]:
    events = {kind: _message(model, ["cloudEvent"]) for kind, model in KINDS.items()}
    return {
        **events,
        "service": _message(ServiceRecord),
        "line": _message(LineRecord),
        "left": {
            "title": "Left",
            "summary": "A newer plan names nothing of a detector's day; the associator's own business.",
            "headers": _headers({"calstream_left": "The program whose plan it is."}),
            "payload": {"type": "object"},
        },
        "tick": {
            "title": "Tick",
            "summary": "Time has passed.",
            "headers": _headers({"calstream_tick": "due, or end when nothing more will come."}),
            "payload": {"type": "object"},
        },
        "piece": {
            "title": "Piece",
            "summary": "A part of what the associator remembers; its own business.",
            "payload": {"type": ["object", "string"]},
        },
        "settled": {
            "title": "Settled",
            "summary": "What became of a dead letter, and when.",
            "contentType": "text/plain",
            "payload": {"type": "string"},
        },
        "deadLetter": {
            "title": "DeadLetter",
            "summary": "Bytes as they were read, with headers that say why.",
            "contentType": "application/octet-stream",
            "headers": _headers(_DLQ),
            "payload": {"type": "string", "format": "binary"},
        },
    }


def _message(model: type[BaseModel], traits: Iterable[str] = ()) -> dict[str, Any]:
    made: dict[str, Any] = {
        "title": model.__name__,
        "summary": (model.__doc__ or "").strip().splitlines()[0],
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
    }
    if refs := [{"$ref": f"#/components/messageTraits/{trait}"} for trait in traits]:
        made["traits"] = refs
    return made


def _traits() -> dict[str, Any]:
    return {
        "cloudEvent": {
            "contentType": "application/json",
            "headers": _headers(_CE),
            "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
        }
    }


def _headers(described: Mapping[str, str]) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": what} for name, what in described.items()}
    return {"type": "object", "properties": properties}


def _schemas() -> dict[str, Any]:
    models: list[type[BaseModel]] = [*KINDS.values(), ServiceRecord, LineRecord]
    _, made = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = made["$defs"]
    for kind, model in KINDS.items():
        schema = schemas[model.__name__]
        schema["properties"]["kind"] = {"const": kind, "title": "Kind", "type": "string"}
        schema["required"] = ["kind", *schema["required"]]
    return schemas


if __name__ == "__main__":
    FILE.write_text(text())
    print(FILE)
