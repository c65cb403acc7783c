"""After warming up, no kernel is left to compile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CODE = """
import json, sys
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from streams.run.driver import RunRequest, run
from streams.warm import warm

def signatures():
    modules = [module for name, module in sys.modules.items() if name.startswith("processors")]
    kernels = {id(o): o for module in modules for o in vars(module).values() if isinstance(o, Dispatcher)}
    return {f"{k.py_func.__module__}.{k.py_func.__name__}": len(k.signatures) for k in kernels.values()}

warm()
before = signatures()
folder, out = sys.argv[1:]
options = {"ramp_fit": {"fit_diagnostics": True}}
recipes = (("optimal", {}), ("baseline", {}), ("optimal", options))
runs = [
    run(RunRequest(paths=[folder], out=Path(out) / str(i), recipe=recipe, command_line=given))
    for i, (recipe, given) in enumerate(recipes)
]
after = signatures()
grown = sorted(name for name in after if after[name] > before.get(name, 0))
failed = [summary.failed for summary in runs]
print(json.dumps({"failed": failed, "used": sum(before.values()), "grown": grown}))
"""


def test_no_kernel_is_left_to_compile(downlink: Path, crds: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", CODE, str(downlink), str(tmp_path)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True, env=dict(os.environ))
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["used"] > 20
    assert (found["failed"], found["grown"]) == ([False] * 3, [])
