"""A step replaced by the user's own, from a package that the operator allows."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import UsageError
from schemas.reading import read

MODULE = '''
import numpy as np
from processors.options import Options, option
from processors.steps import step

FACTOR = {factor}

def plain(rate, references, options):
    out = rate.edit("data")
    out.data[...] *= np.float32(FACTOR)
    return out

class ScaleOptions(Options):
    factor: float = option(1.0, gt=0, doc="what rates are multiplied by")

@step(options=ScaleOptions)
def scaled(rate, references, options):
    """Multiply by a factor."""
    out = rate.edit("data")
    out.data[...] *= np.float32(options.factor)
    return out
'''


@pytest.fixture
def my_lab(tmp_path, monkeypatch):
    """A package of the user's own, with an entry point, as if it were installed."""
    site = tmp_path / "site"
    package = site / "my_lab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "rates.py").write_text(MODULE.format(factor=2.0))
    info = site / "my_lab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[calstream.steps]\ndoubled = my_lab.rates:plain\n")
    (info / "RECORD").write_text("my_lab/__init__.py,,\nmy_lab/rates.py,,\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("CALSTREAM_STEP_PACKAGES", "my_lab")
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "my_lab"]:
        del sys.modules[name]


def recipe(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(f"name: lab\nbase: optimal\nsteps:\n  gain_scale: {text}\n")
    return path


def rate_of(folder: Path) -> np.ndarray:
    return read(next(folder.glob("*_rate.fits"))).data


@pytest.fixture
def uncal(downlink):
    return sorted(downlink.glob("*_uncal.fits"))[0]


@pytest.mark.parametrize(
    "how", ["{use: 'my_lab.rates:plain'}", "{use: doubled}", "{use: 'my_lab.rates:scaled', factor: 2.0}"]
)
def test_the_user_s_step_takes_the_place_of_ours(uncal, my_lab, process, processed, tmp_path, how):
    summary = process(uncal, out=tmp_path / "out", until="rate", recipe=recipe(tmp_path, how))
    assert not summary.failed, summary.endings
    ours = read(processed / uncal.name.replace("_uncal", "_rate")).data
    np.testing.assert_allclose(rate_of(tmp_path / "out"), 2 * ours, rtol=1e-5, atol=1e-4)
    product = read(next((tmp_path / "out").glob("*_rate.fits")))
    record = next(r for r in product.meta.provenance.steps if r.step == "gain_scale")
    assert record.implementation.startswith("my_lab.rates:")


def test_its_edited_source_is_another_run(uncal, my_lab, process, tmp_path):
    how = recipe(tmp_path, "{use: 'my_lab.rates:plain'}")
    process(uncal, out=tmp_path / "out", until="rate", recipe=how)
    before = rate_of(tmp_path / "out")
    assert {n.outcome for n in process(uncal, out=tmp_path / "out", until="rate", recipe=how).notes} == {
        "up to date"
    }
    (my_lab / "rates.py").write_text(MODULE.format(factor=3.0))
    for name in [name for name in sys.modules if name.split(".")[0] == "my_lab"]:
        del sys.modules[name]
    summary = process(uncal, out=tmp_path / "out", until="rate", recipe=how, overwrite=True)
    assert {n.outcome for n in summary.notes} == {"complete"}
    np.testing.assert_allclose(rate_of(tmp_path / "out"), 1.5 * before, rtol=1e-5, atol=1e-4)


def test_a_package_that_is_not_allowed_is_never_imported(uncal, my_lab, process, tmp_path, monkeypatch):
    monkeypatch.setenv("CALSTREAM_STEP_PACKAGES", "other_lab")
    how = recipe(tmp_path, "{use: 'my_lab.rates:plain'}")
    with pytest.raises(UsageError, match="CALSTREAM_STEP_PACKAGES"):
        process(uncal, out=tmp_path / "out", until="rate", recipe=how)
    assert "my_lab.rates" not in sys.modules


def test_a_step_that_is_not_there_is_one_sentence(uncal, my_lab, process, tmp_path):
    how = recipe(tmp_path, "{use: 'my_lab.rates:nothing'}")
    with pytest.raises(UsageError, match="nothing") as caught:
        process(uncal, out=tmp_path / "out", until="rate", recipe=how)
    assert "\n" not in str(caught.value)
