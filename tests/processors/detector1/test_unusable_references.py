"""References that lack something: one sentence that names the file and says what to do, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from processors.detector1 import (
    dark_current,
    dq_init,
    emicorr,
    ipc,
    jump,
    linearity,
    reset,
    rscd,
    saturation,
    superbias,
)
from processors.ramp_fit import persistence, ramp_fit
from schemas.errors import Unprocessable
from schemas.products import HISTORY_COLUMNS, PersistenceHistory, Ramp
from schemas.references import ModelReference, Reference, TableReference
from simulator.persistence import FAMILIES
from tests.processors.detector1 import build
from tests.processors.detector1.build import MIRI, image, make_ramp, references

SHAPE = (1, 4, 16, 20)
NY, NX = SHAPE[2:]
GOOD = build.everything((NY, NX))
WAVE = np.sin(2 * np.pi * (np.arange(100) + 0.5) / 100)


def miri() -> Ramp:
    return make_ramp(np.full(SHAPE, 9000.0), **MIRI)


def near() -> Ramp:
    return make_ramp(np.full(SHAPE, 12000.0))


def after_another() -> Ramp:
    given = make_ramp(np.full(SHAPE, 100.0), EXPSTART=60000.1, EFFINTTM=40.0)
    before = make_ramp(np.full(SHAPE, 100.0), EXPSTART=60000.0, EFFINTTM=40.0)
    noted = np.zeros(1, list(HISTORY_COLUMNS))
    noted["y"], noted["x"], noted["time"], noted["fluence"] = 905, 1005, 60000.09, 6e4
    history = PersistenceHistory(meta=before.meta, pixels=noted, integrations=np.array([[60000.0, 60000.09]]))
    return replace(given, histories=(history,))


def tree(**changes: Any) -> ModelReference:
    """The reference for emicorr with other entries of its case; None leaves one out."""
    good = build.emicorr(WAVE, SUB64=(28, 8512))
    case = {**good.tree["subarray_cases"]["SUB64"], **changes}
    case = {name: value for name, value in case.items() if value is not None}
    return replace(good, tree={**good.tree, "subarray_cases": {"SUB64": case}})


def waves(**found: Any) -> ModelReference:
    good = build.emicorr(WAVE, SUB64=(28, 8512))
    return replace(good, tree={**good.tree, **found})


def table(reftype: str, **tables: np.ndarray) -> TableReference:
    return TableReference(reftype=reftype, name=f"test_{reftype}.fits", digest="0" * 64, tables=tables)


def skips(**columns: Any) -> TableReference:
    rows = {"subarray": ["SUB64"], "readpatt": ["FASTR1"], "group_skip": [1]} | columns
    kept = {name: np.array(value) for name, value in rows.items() if value is not None}
    made = np.zeros(1, [(name, value.dtype) for name, value in kept.items()])
    for name, value in kept.items():
        made[name] = value
    return table("rscd", RSCD_GROUP_SKIP=made)


def traps(families: np.ndarray | None) -> list[Reference]:
    tables = {} if families is None else {"TRAPPARS": families}
    planes = [image("trapdensity", np.full((NY, NX), 600.0)), image("persat", np.full((NY, NX), 6e4))]
    return [*planes, table("trappars", **tables)]


def without(rows: np.ndarray, name: str) -> np.ndarray:
    return rows[[other for other in rows.dtype.names or () if other != name]].copy()


def ragged(reftype: str) -> Reference:
    """Groups of another size than the flags say."""
    good = build.dark(np.zeros((3, NY, NX))) if reftype == "dark" else build.by_integration(
        "reset", np.zeros((1, 3, NY, NX))
    )  # fmt: skip
    return replace(good, group=lambda i: np.zeros((NY - 1, NX), np.float32))


def no_group(reftype: str) -> Reference:
    return replace(build.dark(np.zeros((3, NY, NX))), reftype=reftype, name=f"test_{reftype}.fits", ngroup=0)


Case = tuple[Callable[..., Any], Callable[[], Ramp], list[Reference], str]
STACK = np.ones((3, NY, NX))
CASES: dict[str, Case] = {
    "no rowclocks": (emicorr, miri, [tree(rowclocks=None)], "SUB64 has no usable rowclocks; give"),
    "no frameclocks": (emicorr, miri, [tree(frameclocks=None)], "SUB64 has no usable frameclocks; give"),
    "rowclocks of text": (emicorr, miri, [tree(rowclocks="many")], "no usable rowclocks"),
    "clock that stands": (emicorr, miri, [tree(rowclocks=0)], "no usable rowclocks"),
    "frequencies that are a list": (emicorr, miri, [tree(freqs=["Hz390"])], "its entry freqs is"),
    "cases that are a list": (
        emicorr,
        miri,
        [waves(subarray_cases=["SUB64"])],
        "its entry subarray_cases is",
    ),
    "wave of text": (
        emicorr,
        miri,
        [waves(frequencies={"Hz390": {"frequency": "x", "phase_amplitudes": WAVE}})],
        "frequency Hz390 has no usable waveform",
    ),
    "wave without a table": (emicorr, miri, [waves(frequencies={"Hz390": 390.6})], "its entry Hz390 is"),
    "rscd without a table": (rscd, miri, [table("rscd")], "this rscd reference has no table; give"),
    "rscd without read patterns": (rscd, miri, [skips(readpatt=None)], "no column readpatt; give"),
    "rscd with text": (
        rscd,
        miri,
        [skips(group_skip=["two"])],
        "column group_skip that are no numbers; give",
    ),
    "rscd with NaN": (
        rscd,
        miri,
        [skips(group_skip=[np.nan])],
        "column group_skip that are no numbers; give",
    ),
    "mask of others": (
        dq_init,
        near,
        [build.mask(np.zeros((4, 4), np.uint32))],
        "4 x 4 pixels, the exposure",
    ),
    "saturation with planes": (
        saturation,
        near,
        [image("saturation", STACK)],
        "one for each pixel is needed",
    ),
    "superbias with planes": (superbias, near, [image("superbias", STACK)], "one for each pixel is needed"),
    "superbias of others": (
        superbias,
        near,
        [image("superbias", np.ones((4, 4)), np.zeros((NY, NX)))],
        "4 x 4 pixels, the exposure",
    ),
    "linearity with one plane": (
        linearity,
        near,
        [image("linearity", STACK[0])],
        "with at least two are needed",
    ),
    "linearity of others": (
        linearity,
        near,
        [image("linearity", np.ones((3, 4, 4)), np.zeros((NY, NX)))],
        "4 x 4 pixels",
    ),
    "ipc without a kernel": (ipc, near, [image("ipc", np.zeros((0, 3)))], "has the shape .* give another"),
    "ipc with three axes": (ipc, near, [image("ipc", STACK)], "has the shape .* give another"),
    "dark without groups": (dark_current, near, [no_group("dark")], "of 0 groups, and at least one"),
    "dark with ragged groups": (dark_current, near, [ragged("dark")], "20 x 15 pixels, the exposure 20 x 16"),
    "dark with another mean": (
        dark_current,
        near,
        [build.dark(np.zeros((9, NY, NX)), average=np.ones((4, 4)))],
        "average dark current has shape",
    ),
    "reset without groups": (reset, miri, [no_group("reset")], "of 0 groups, and at least one"),
    "reset with ragged groups": (reset, miri, [ragged("reset")], "20 x 15 pixels, the exposure 20 x 16"),
    "gain of others": (
        jump,
        near,
        [image("gain", np.ones((4, 4))), image("readnoise", STACK[0])],
        "the exposure .* give one of",
    ),
    "read noise with planes": (
        ramp_fit,
        near,
        [image("gain", STACK[0]), image("readnoise", STACK)],
        "the exposure .* give one of",
    ),
    "no traps": (persistence, after_another, traps(None), "this trappars reference has no table; give"),
    "traps without a family": (persistence, after_another, traps(FAMILIES[:0]), "no family of traps; give"),
    "traps without a column": (
        persistence,
        after_another,
        traps(without(FAMILIES, "capture1")),
        "no column capture1; give",
    ),
    "traps with NaN": (
        persistence,
        after_another,
        traps(np.full_like(FAMILIES, np.nan)),
        "capture0 that are no numbers; give",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_sentence_names_the_file_and_says_what_to_do(case: str) -> None:
    step, ramp, given, sentence = CASES[case]
    with pytest.raises(Unprocessable, match=sentence) as told:
        step(ramp(), references(*given))
    said = str(told.value)
    assert any(reference.name in said for reference in given)
    assert "\n" not in said
    assert len(said) < 400


@pytest.mark.parametrize("step", [dark_current, dq_init, ipc, linearity, saturation, superbias, ramp_fit])
def test_good_ones_are_taken(step: Callable[..., Any]) -> None:
    step(near(), GOOD)
