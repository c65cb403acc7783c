"""Run the peer's Detector1 in its own interpreter: this file is a script there, and a module here.

As a script: ``python peer.py FOLDER STEPS UNCAL CRDS_PATH [UNCAL CRDS_PATH]...`` writes what it makes to
FOLDER; STEPS is JSON, the parameters of each step.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

SUFFIX = {
    "group_scale": "group_scale",
    "dq_init": "dq_init",
    "emicorr": "emicorr",
    "saturation": "saturation",
    "lastframe": "lastframe",
    "reset": "reset",
    "superbias": "superbias",
    "refpix": "refpix",
    "linearity": "linearity",
    "rscd": "rscd",
    "dark_current": "dark_current",
    "jump": "jump",
}
"""Suffix of the file that each of the peer's steps saves; not every exposure goes through all of them."""

SAVING = {step: {"save_results": True} for step in SUFFIX}
VARIABLE = "CALSTREAM_PEER_PYTHON"


def interpreter():
    """Path of the peer's interpreter, or None."""
    return os.environ.get(VARIABLE)


def run(caches, folder, steps=None):
    """Run the peer on Level-1b files, each with its CRDS cache (a mapping), in one start.

    Unless parameters of steps are given, what each step makes is saved too.

    Returns
    -------
    Path
        The folder with its products.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keep = {key: value for key, value in os.environ.items() if not key.startswith("CRDS")}
    pairs = [str(path) for pair in caches.items() for path in pair]
    done = subprocess.run(
        [interpreter(), str(Path(__file__).resolve()), str(folder), json.dumps(steps or SAVING), *pairs],
        env=keep,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the peer failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return folder


def _main(folder, steps, pairs):
    """Import the pipeline once; the CRDS client keeps to one cache, so each has a process of its own."""
    from jwst.pipeline import Detector1Pipeline

    for uncal, crds in zip(pairs[::2], pairs[1::2], strict=True):
        child = os.fork()
        if not child:
            os.environ["CRDS_PATH"] = crds
            Detector1Pipeline.call(uncal, steps=steps, save_results=True, output_dir=folder)
            sys.stdout.flush()
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"no products of {uncal}")


if __name__ == "__main__":
    _main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:])
