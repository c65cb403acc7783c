"""One small exposure, and copies of it under other names or with other bytes; fixtures to be imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simulator import level1b
from simulator.exposure import simulate
from simulator.observation import Request, plan, sky

NAME = "jw01234001001_02101_00001_nrca1"


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Path:
    """A folder with one raw exposure, and no references: nothing is calibrated here."""
    folder = tmp_path_factory.mktemp("simulated")
    request = Request(detectors=("NRCA1",), subarray="SUB160", dithers=1, ngroups=3, cosmic_rays=False)
    (exposure,) = plan(request)
    level1b.write(simulate(exposure, sky([exposure])), folder / f"{exposure.name}_uncal.fits")
    return folder


@pytest.fixture
def arrive(simulated, tmp_path) -> Callable[..., Path]:
    """Let a copy of the exposure arrive in a folder; `number` is another exposure, `spot` other bytes."""
    original = (simulated / f"{NAME}_uncal.fits").read_bytes()

    def call(folder: str = "inbox", *, number: int = 1, spot: int = 0) -> Path:
        target = tmp_path / folder / f"{NAME.replace('00001', f'{number:05d}')}_uncal.fits"
        target.parent.mkdir(parents=True, exist_ok=True)
        content = bytearray(original.replace(b"_00001_nrca1", b"_%05d_nrca1" % number))
        content[len(content) // 2] ^= spot
        target.write_bytes(content)
        return target

    return call
