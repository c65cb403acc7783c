"""Exposures in stripes are calibrated as the same rows of a full frame, but for reference pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from processors.detector1 import detector1_of
from processors.ramp_fit import RAMP_FIT, average_integrations
from processors.steps import StepSettings
from schemas.dq import DQ
from schemas.reading import read
from simulator.crds_cache import CrdsCache
from simulator.references.build import add_exposure, header_of
from streams.references import references_for
from tests.striped import ALL, exposed

BESIDE = DQ.JUMP_DET | DQ.SATURATED
"""Flags that spread to neighbours, which other rows are where stripes meet."""


@dataclass
class Pair:
    """An exposure in stripes, and the full frame that it was cut from."""

    stripes: Path
    full: Path


@pytest.fixture(scope="module", params=ALL)
def pair(request, tmp_path_factory):
    stripes = ALL[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    path = exposed(stripes, folder, ngroups=3, spots=400, zeroframe=True)
    full = path.with_name(f"full_{path.name}")
    cache = CrdsCache(folder / "crds")
    add_exposure(cache, header_of(full))
    cache.commit()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CRDS_PATH", str(folder / "crds"))
        for variable in ("CRDS_CONTEXT", "CRDS_SERVER_URL"):
            environment.delenv(variable, raising=False)
        yield request.param, Pair(path, full)


def rate_of(path, skipped):
    raw = read(path)
    references = references_for(raw)
    settings = {name: StepSettings(skip=True) for name in skipped}
    ramp = detector1_of(raw.meta.primary)(raw, references, settings)
    return average_integrations(RAMP_FIT(ramp, references), references)


def test_the_rows_of_a_full_frame(pair):
    name, paths = pair
    rows = ALL[name].index
    striped, full = (rate_of(path, ("refpix",)) for path in (paths.stripes, paths.full))
    inner = np.ones(rows.size, bool)
    meeting = np.flatnonzero(np.diff(rows) != 1)
    for reach in (0, 1):
        inner[np.clip([meeting - reach, meeting + 1 + reach], 0, rows.size - 1)] = False
    inner[[0, 1, -2, -1]] = False
    expected = full.dq[rows]
    same = (striped.dq == expected) | ~inner[:, np.newaxis]
    assert same.mean() > 0.9999  # jumps are told by limits that depend on all
    assert not ((striped.dq ^ expected)[~same] & ~np.uint32(BESIDE | DQ.DO_NOT_USE)).any()
    both = same & inner[:, np.newaxis] & ((expected & 1) == 0)
    assert both.mean() > 0.5
    np.testing.assert_array_equal(striped.data[both], full.data[rows][both])
    np.testing.assert_allclose(striped.err[both], full.err[rows][both], rtol=0.01)
    whole = both & ((expected & DQ.FLUX_ESTIMATED) == 0)  # of the others, the noise of resets is measured
    np.testing.assert_array_equal(striped.err[whole], full.err[rows][whole])


def test_reference_pixels_of_each_amplifier(pair):
    """Their means are taken away, of odd and of even columns apart, and with them what drifts."""
    name, paths = pair
    raw = read(paths.stripes)
    drift = np.array([[100, -40], [30, 0], [-80, 10], [5, 60]])
    amplifier, parity = np.arange(2048) // 512, np.arange(2048) % 2
    raw.data[...] = np.clip(raw.data + drift[amplifier, parity].astype(np.int64), 0, 65535)
    references = references_for(raw)
    settings = {"refpix": StepSettings(), "jump": StepSettings(skip=True)}
    plain = detector1_of(raw.meta.primary)(read(paths.stripes), references, settings)
    shifted = detector1_of(raw.meta.primary)(raw, references, settings)
    good = (plain.pixeldq & DQ.DO_NOT_USE == 0) & ~(plain.groupdq != 0).any(axis=(0, 1))
    good &= ~(shifted.groupdq != 0).any(axis=(0, 1))
    assert good.mean() > 0.5
    seen = (amplifier % 3 == 0) | (ALL[name].keywords["MSTR_RD1"] > 0)  # at the sides, or everywhere
    difference = np.abs(shifted.data - plain.data)
    assert difference[:, :, good & seen].max() < 1.0
    assert seen.all() or difference[:, :, good & ~seen].max() > 50  # amplifiers without any are left alone
