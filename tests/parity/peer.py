"""Run the peer's Detector1 in its own interpreter: this file is a script there, and a module here.

As a script: ``python peer.py UNCAL FOLDER [STEP_PARAMETERS_AS_JSON]`` writes what each step makes to FOLDER.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

SUFFIX = {
    "group_scale": "group_scale",
    "dq_init": "dq_init",
    "saturation": "saturation",
    "superbias": "superbias",
    "refpix": "refpix",
    "linearity": "linearity",
    "dark_current": "dark_current",
    "jump": "jump",
}
"""Suffix of the file that each of the peer's steps saves."""

VARIABLE = "CALSTREAM_PEER_PYTHON"


def interpreter():
    """Path of the peer's interpreter, or None."""
    return os.environ.get(VARIABLE)


def run(uncal, folder, crds_path, parameters=None):
    """Run the peer on a Level-1b file; return the folder with its products."""
    folder.mkdir(parents=True, exist_ok=True)
    keep = {key: value for key, value in os.environ.items() if not key.startswith("CRDS")}
    done = subprocess.run(
        [interpreter(), str(Path(__file__).resolve()), str(uncal), str(folder), json.dumps(parameters or {})],
        env={**keep, "CRDS_PATH": str(crds_path)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the peer failed on {uncal}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return folder


def _main(uncal, folder, parameters):
    from jwst.pipeline import Detector1Pipeline

    steps = {step: {"save_results": True} for step in SUFFIX}
    for step, values in parameters.items():
        steps.setdefault(step, {}).update(values)
    Detector1Pipeline.call(uncal, steps=steps, save_results=True, output_dir=folder)


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
