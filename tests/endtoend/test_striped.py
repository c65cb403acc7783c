"""Exposures in stripes on the road that all take: what an event tells is enough to find their references."""

import numpy as np
import pytest

from schemas.dq import DQ
from schemas.reading import read
from streams.run.driver import RunRequest, run
from tests.striped import ALL, exposed


@pytest.mark.parametrize("name", ["interleaved", "downwards"])
def test_rates_of_an_exposure_in_stripes(name, tmp_path, monkeypatch):
    stripes = ALL[name]
    path = exposed(stripes, tmp_path, ngroups=2, spots=0)
    monkeypatch.setenv("CRDS_PATH", str(tmp_path / "crds"))
    for variable in ("CRDS_CONTEXT", "CRDS_SERVER_URL"):
        monkeypatch.delenv(variable, raising=False)

    summary = run(RunRequest(paths=[str(path)], out=tmp_path / "out", until="rate"))
    assert not [ending.reason for ending in summary.endings if ending.failed]
    rate = read(tmp_path / "out" / path.name.replace("_uncal", "_rate"))
    blind = (stripes.index < 4) | (stripes.index >= 2044)
    whole = ((rate.dq[0] if rate.dq.ndim > 2 else rate.dq) & DQ.REFERENCE_PIXEL) != 0
    np.testing.assert_array_equal(whole.all(axis=1), blind)
