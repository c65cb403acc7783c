"""The Python lines in the README run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from schemas.reading import read

README = Path(__file__).parents[2] / "README.md"


def test_the_python_lines_of_the_readme_run(downlink, crds, monkeypatch):
    monkeypatch.chdir(downlink)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    calls = [line for line in code.splitlines() if line and not line.startswith("from ")]
    assert len(calls) == 5
    exec(compile(code, "README.md", "exec"), {})
    rates = read(downlink / "my_rateints.fits")
    assert rates.data.shape[0] == 2
    assert np.isfinite(rates.data).mean() > 0.9
    (downlink / "my_rateints.fits").unlink()


def test_every_command_that_the_readme_names_is_there():
    from streams.cli.application import COMMANDS

    named = set(re.findall(r"calstream ([a-z]+)", README.read_text())) - {"is"}
    assert named <= {*COMMANDS, "simulate"}
