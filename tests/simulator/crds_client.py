"""Ask the unmodified CRDS client, in a process of its own: it keeps its configuration for life."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_ASK = """
import json, sys
import crds
header, types = json.loads(sys.argv[1]), json.loads(sys.argv[2])
try:
    found = crds.getreferences(header, reftypes=types, observatory="jwst")
except Exception as error:
    found = {"error": f"{type(error).__name__}: {error}"}
print("ANSWER" + json.dumps(found))
"""


def best_references(cache: Path, header: dict[str, str], types: list[str]) -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CRDS")}
    environment["CRDS_PATH"] = str(cache)
    done = subprocess.run(
        [sys.executable, "-c", _ASK, json.dumps(header), json.dumps(types)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("ANSWER"))
    return json.loads(line.removeprefix("ANSWER"))


def match_keys(header: dict[str, object]) -> dict[str, str]:
    """Return an exposure's header as the pipelines hand it to CRDS."""
    names = {
        "INSTRUME": "META.INSTRUMENT.NAME",
        "DETECTOR": "META.INSTRUMENT.DETECTOR",
        "FILTER": "META.INSTRUMENT.FILTER",
        "PUPIL": "META.INSTRUMENT.PUPIL",
        "READPATT": "META.EXPOSURE.READPATT",
        "SUBARRAY": "META.SUBARRAY.NAME",
        "EXP_TYPE": "META.EXPOSURE.TYPE",
        "DATE-OBS": "META.OBSERVATION.DATE",
        "TIME-OBS": "META.OBSERVATION.TIME",
        "CHANNEL": "META.INSTRUMENT.CHANNEL",
        "MODULE": "META.INSTRUMENT.MODULE",
    }
    return {name: str(header[key]) for key, name in names.items() if key in header}
