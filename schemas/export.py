"""Write the JSON Schemas of all that travels: ``python -m schemas.export``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from schemas.associations import Association
from schemas.events import KINDS, Event, Plan
from schemas.manifests import Manifest
from schemas.recipe import Recipe

FOLDER: Final = Path(__file__).parent / "json"
"""Where they are kept."""

MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "event": Event,
    **{f"{kind}-event": model for kind, model in KINDS.items()},
    "association": Association,
    "manifest": Manifest,
    "plan": Plan,
    "recipe": Recipe,
}
"""Model by the stem of its schema's file."""


def schema_text(name: str) -> str:
    """Return the JSON Schema of one of `MODELS` as the text of its file."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema.update(MODELS[name].model_json_schema())
    kind = name.removesuffix("-event")
    if kind in KINDS and kind != name:
        schema["properties"]["kind"] = {"const": kind, "title": "Kind", "type": "string"}
        schema["required"] = ["kind", *schema["required"]]
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def export(folder: Path = FOLDER) -> list[Path]:
    """Write all schemas into `folder` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in MODELS:
        path = folder / f"{name}.json"
        path.write_text(schema_text(name))
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in export():
        print(written)
