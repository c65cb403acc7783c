"""A service of the user's own, with none of our code, takes over a stage on a real broker."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from astropy.io import fits

from tests.endtoend.running import EXAMPLES, FIRST, opened


def test_it_answers_in_place_of_the_built_in_fit_and_the_road_goes_on(running, python, downlink):
    mine = running.start_example(python)
    running.serve("detector1", "ramp_fit", "image2")
    shutil.copy(downlink / f"{FIRST}_uncal.fits", running.folder)
    running.calstream("line", "add", "mine", "--recipe", EXAMPLES / "my-fit.yaml")
    running.calstream("ingest", running.folder / f"{FIRST}_uncal.fits")
    running.until(lambda: len(running.events("cal")) == 2)
    ramp, rate, cal = ({e.line: e for e in running.events(level)} for level in ("ramp", "rate", "cal"))
    assert len(running.events("rate")) == len(rate) == len(cal) == 2
    assert [line.split()[0] for line in mine.read_text().splitlines()] == [FIRST]
    assert {line: event.handler for line, event in ramp.items()} == {"main": "builtin", "mine": "my-fit"}
    assert ("my-fit" in rate["mine"].product.uri, "my-fit" in rate["main"].product.uri) == (True, False)
    assert rate["mine"].stage == "ramp_fit"
    for name in ("generation", "recipe", "keywords"):
        assert getattr(rate["mine"], name) == getattr(ramp["mine"], name)
    (used,) = cal["mine"].inputs
    assert (used.uri, used.digest) == (rate["mine"].product.uri, rate["mine"].product.sha256)
    assert cal["mine"].generation == ramp["mine"].generation
    assert np.isfinite(fits.getdata(opened(cal["mine"]), "SCI")).mean() > 0.9
    slopes_agree(opened(rate["mine"]), opened(rate["main"]))


def slopes_agree(mine: Path, built_in: Path) -> None:
    """Slopes of two fits to the same ramps differ by less than their noise, and not on the whole."""
    one, two = (fits.getdata(path, "SCI") for path in (mine, built_in))
    error = fits.getdata(built_in, "ERR")
    good = np.isfinite(one) & np.isfinite(two) & (error > 0) & (fits.getdata(built_in, "DQ") == 0)
    difference = ((one - two) / error)[good]
    assert good.mean() > 0.9
    assert abs(np.median(difference)) < 0.1
    assert np.median(abs(difference)) < 0.5
