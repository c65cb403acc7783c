"""The standard pipeline's functions on arrays of ours, in its own interpreter."""

import subprocess

import numpy as np

from tests.parity import peer

SCRIPT = """
import sys
from pathlib import Path
from types import SimpleNamespace as Space
import numpy as np
from stcal.jump.jump import detect_jumps_data
from stcal.jump.jump_class import JumpData
from stcal.ramp_fitting.ramp_fit import ramp_fit
from stdatamodels.jwst.datamodels import dqflags


class Model:
    def __init__(self, a):
        self.data, self.groupdq, self.pixeldq = (a[name].copy() for name in ("data", "groupdq", "pixeldq"))
        self.average_dark_current = a["dark"].copy()
        group_time = float(a["tframe"] * (a["nframes"] + a["gap"]))
        self.meta = Space(
            instrument=Space(name="NIRCAM"),
            exposure=Space(frame_time=float(a["tframe"]), group_time=group_time, groupgap=int(a["gap"]),
                           nframes=int(a["nframes"]), drop_frames1=0),
        )

    def hasattr(self, name):
        return hasattr(self, name)


def find_jumps(a):
    jump = JumpData(Model(a), a["gain"].copy(), a["readnoise"].copy(), dqflags.pixel)
    jump.set_detection_settings(4.0, 6.0, 5.0, 1000.0, 10.0, True)
    jump.set_after_jump(50.0, int(a["after"]), 500.0, 2 * int(a["after"]))
    jump.set_snowball_info(False, 5.0, 1.0, 2.0, True, 2.5, 4, 25)
    jump.set_shower_info(False, 1.2, 90, 1, 2.6, 1.1, 10, 400)
    jump.set_sigma_clipping_info(3, 100, True)
    jump.max_cores = "1"
    return {"groupdq": detect_jumps_data(jump)[0]}


def fit(a, algorithm):
    rate, ints, _ = ramp_fit(Model(a), False, a["readnoise"].copy(), a["gain"].copy(), algorithm, "optimal",
                             "none", dqflags.pixel, suppress_one_group=bool(a["suppress"]))
    found = {"rate_" + k: v for k, v in rate.items()}
    return found | {"ints_" + k: v for k, v in ints.items()}


for source in Path(sys.argv[1]).glob("*_in.npz"):
    a = dict(np.load(source))
    task = str(a["task"])
    made = find_jumps(a) if task == "jump" else fit(a, task)
    np.savez(str(source).replace("_in.npz", "_out.npz"), **made)
"""
"""Makes an ``_out.npz`` of each ``_in.npz`` in a folder; `task` there says which function is called."""


def answers(given, folder, script=SCRIPT):
    """Return what the standard pipeline makes of arrays, by task name: one start of its interpreter.

    Parameters
    ----------
    given : mapping of str to mapping
        Arrays of each task, by the names that the script reads.
    folder : Path
        Where files are exchanged.
    script : str
        Makes an ``_out.npz`` of each ``_in.npz`` in the folder that it is given.
    """
    for name, arrays in given.items():
        np.savez(folder / f"{name}_in.npz", **arrays)
    run = subprocess.run(
        [peer.interpreter(), "-W", "ignore", "-c", script, folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return {name: dict(np.load(folder / f"{name}_out.npz")) for name in given}
