"""A step replaced by the user's own, from a package that the operator allows, or left out."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from processors.detector1 import DETECTOR1_MIRI, DETECTOR1_NIR
from processors.registry import STEPS
from schemas.errors import UsageError
from schemas.history_file import read_history
from schemas.reading import read

ELSEWHERE = {step.name for step in DETECTOR1_MIRI.steps if step not in DETECTOR1_NIR.steps}
ELSEWHERE |= {"guider_cds", "persistence_history"}
"""Steps that an image of NIRCam does not meet; no other product tells of a history."""
ROAD = [name for name in STEPS if name not in ELSEWHERE]
MODULE = '''
from dataclasses import replace

import numpy as np
from processors.registry import STEPS
from schemas.products import Rate
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

def first_only(rateints, references, options):
    assert rateints.data.ndim == 3 and rateints.shares is not None
    planes = {{name: array[0] for name, array in rateints.arrays().items() if name != "shares"}}
    return Rate(meta=rateints.meta, **planes)

def same_average(rateints, references, options):
    return STEPS["average_integrations"].function(rateints, references, options)

def half_averaged(rateints, references, options):
    return replace(rateints, data=rateints.data.mean(axis=0))

def _around(name):
    def function(*given):
        return STEPS[name].function(*given)
    function.__module__, function.__qualname__ = __name__, "around_" + name
    return function

globals().update({{"around_" + name: _around(name) for name in STEPS}})
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


def recipe(tmp_path: Path, text: str, step: str = "gain_scale") -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(f"name: lab\nbase: optimal\nsteps:\n  {step}: {text}\n")
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


def test_the_user_s_average_is_given_the_integrations(uncal, my_lab, process, processed, tmp_path):
    how = recipe(tmp_path, "{use: 'my_lab.rates:first_only'}", "average_integrations")
    summary = process(uncal, out=tmp_path / "out", until="rate", recipe=how)
    assert not summary.failed, summary.endings
    rateints = next((tmp_path / "out").glob("*_rateints.fits"))
    assert rateints.read_bytes() != (processed / rateints.name).read_bytes()  # they say of which run they are
    np.testing.assert_array_equal(read(rateints).data, read(processed / rateints.name).data)
    rate = read(next((tmp_path / "out").glob("*_rate.fits")))
    np.testing.assert_array_equal(rate.data, read(rateints).data[0])
    (record,) = [r for r in rate.meta.provenance.steps if r.step == "average_integrations"]
    assert record.implementation == "my_lab.rates:first_only"
    assert "INT_TIMES" not in rate.meta.tables


def test_ours_in_its_place_makes_the_same_rate_in_blocks_too(uncal, my_lab, process, processed, tmp_path):
    how = recipe(tmp_path, "{use: 'my_lab.rates:same_average'}", "average_integrations")
    assert not process(uncal, out=tmp_path / "out", until="rate", recipe=how, block_bytes=1).failed
    made = read(next((tmp_path / "out").glob("*_rate.fits")))
    for name, array in read(processed / uncal.name.replace("_uncal", "_rate")).arrays().items():
        np.testing.assert_array_equal(getattr(made, name), array, err_msg=name)


def test_an_average_that_left_integrations_is_one_sentence(uncal, my_lab, process, tmp_path):
    how = recipe(tmp_path, "{use: 'my_lab.rates:half_averaged'}", "average_integrations")
    (ending,) = process(uncal, out=tmp_path / "out", until="rate", recipe=how).endings
    assert ending.failed
    assert "half_averaged returned err of shape" in ending.reason
    assert not list((tmp_path / "out").iterdir())


def test_every_step_can_be_replaced(downlink, my_lab, process, processed, tmp_path):
    """One run in which all steps are the user's, each around ours: what is made is the same."""
    steps = "".join(f"  {name}: {{use: 'my_lab.rates:around_{name}'}}\n" for name in STEPS)
    how = tmp_path / "all.yaml"
    how.write_text(f"name: all\nbase: optimal\nsteps:\n{steps}")
    summary = process(*sorted(downlink.glob("*nrca1_uncal.fits")), out=tmp_path / "out", recipe=how)
    assert not summary.failed, summary.endings
    segm = read(next((tmp_path / "out").glob("*_segm.fits")))
    ran = {record.step: record.implementation for record in segm.meta.provenance.steps}
    assert ran == {name: "" if STEPS[name].off else f"my_lab.rates:around_{name}" for name in ROAD}
    cal = next((tmp_path / "out").glob("*_cal.fits"))
    np.testing.assert_array_equal(read(cal).data, read(processed / cal.name).data)


def test_the_history_of_an_exposure_can_be_the_users(uncal, my_lab, process, tmp_path):
    steps = {
        "ours": "{skip: false}",
        "theirs": "{use: 'my_lab.rates:around_persistence_history', skip: false}",
    }
    made = {}
    for name, text in steps.items():
        how = recipe(tmp_path, text, "persistence_history")
        assert not process(uncal, out=tmp_path / name, until="ramp", recipe=how).failed
        made[name] = read_history(next((tmp_path / name).glob("*_persistence.fits")))
    ours, theirs = made["ours"], made["theirs"]
    np.testing.assert_array_equal(ours.pixels, theirs.pixels)
    (record,) = [r for r in theirs.meta.provenance.steps if r.step == "persistence_history"]
    assert record.implementation == "my_lab.rates:around_persistence_history"


@pytest.mark.parametrize("name", [n for n in ROAD if n not in ("ramp_fit", "average_integrations")])
def test_a_step_that_is_left_out_is_said_to_be(name, downlink, process, tmp_path):
    """Or what needs it says so: nothing is skipped, or run in spite of it, in silence."""
    pair = sorted(downlink.glob("*nrca1_uncal.fits"))
    summary = process(*pair, out=tmp_path, command_line={name: {"skip": True}})
    products = [read(path) for path in tmp_path.glob("*.fits")]
    outcomes = {r.outcome for p in products for r in p.meta.provenance.steps if r.step == name}
    words = {"resample": "resample.skip = true", "assign_wcs": "run assign_wcs", "photom": "run photom"}
    if name in words:
        reasons = {ending.reason for ending in summary.endings if ending.failed}
        assert len(reasons) >= 1
        assert all(words[name] in reason for reason in reasons)
    else:
        assert not summary.failed
    if name == "source_catalog":
        assert not list(tmp_path.glob("*_segm.fits"))
    assert outcomes == (set() if name in ("source_catalog", "resample", "assign_wcs") else {"skipped"})


@pytest.mark.parametrize("name", ["ramp_fit", "average_integrations"])
def test_what_a_rate_is_made_by_cannot_be_left_out(name, uncal, process, tmp_path):
    settings = {name: {"skip": True}}
    with pytest.raises(UsageError, match=rf"^{name}\.skip = true: .* no rate; .*--until ramp$"):
        process(uncal, out=tmp_path / "out", command_line=settings)
    assert not (tmp_path / "out").exists()
    assert not process(uncal, out=tmp_path / "out", until="ramp", command_line=settings).failed
