"""What a run does between its stages: what events say, in which order files appear, what is tried again."""

from __future__ import annotations

import pytest

from schemas.errors import Retriable, Unprocessable
from schemas.events import ProductEvent
from schemas.reading import ProductFile
from streams.run import driver, folder


@pytest.fixture
def uncal(downlink):
    return sorted(downlink.glob("*_uncal.fits"))[0]


def test_a_mosaic_s_event_counts_its_inputs(processed, process, tmp_path):
    """Of events of one generation, that of more inputs is current."""
    cals = sorted(processed.glob("*_cal.fits"))
    counts = {}
    for number in (len(cals), len(cals) - 1):
        summary = process(*cals[:number], out=tmp_path / str(number))
        (event,) = [n.event for n in summary.notes if n.stage == "image3"]
        assert isinstance(event, ProductEvent)
        counts[number] = event.input_count
        assert event.association is not None
        assert event.outcome == "complete"
    assert counts == {number: number for number in counts}


def test_the_primary_product_appears_last(uncal, process, tmp_path, monkeypatch):
    """So that whoever sees it finds the others there."""
    seen = []
    link = folder.link

    def watched(source, target):
        link(source, target)
        seen.append(target.name.removesuffix(".fits").rpartition("_")[2])

    monkeypatch.setattr(folder, "link", watched)
    assert not process(uncal, out=tmp_path, until="rate").failed
    assert seen == ["rateints", "rate"]


def test_events_and_products_tell_quality_figures(uncal, process, tmp_path):
    """Of the ramp and of its rate; the two runs are one here. What is made of the rate tells them on."""
    summary = process(uncal, out=tmp_path, until="cal")
    (event,) = [n.event for n in summary.notes if n.event.suffix == "rate"]
    assert {"cosmic_ray_rate", "saturated_fraction", "residual_1f_power"} <= set(event.quality)
    assert 0.5 < event.quality["chisq_per_dof_q50"] < 1.5
    assert event.quality["poor_fit_fraction"] < 0.05
    for suffix in ("rate", "cal"):
        with ProductFile(tmp_path / f"{event.name}_{suffix}.fits") as file:
            assert file.meta.provenance.run["quality"] == dict(event.quality)


class Flaky:
    """A stage's handler that fails so many times with what may pass."""

    def __init__(self, failures, error):
        self.left, self.error, self.calls, self.handle = failures, error, 0, driver.handle

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls <= self.left:
            raise self.error
        return self.handle(*arguments)


@pytest.mark.parametrize(
    ("failures", "error", "calls", "failed"),
    [
        (2, Retriable("the server does not answer; try again later"), 3, False),
        (9, Retriable("the server does not answer; try again later"), 3, True),
        (9, Unprocessable("the data are bad; fetch the file again"), 1, True),
    ],
)
def test_what_may_pass_is_tried_three_times(
    uncal, process, tmp_path, monkeypatch, failures, error, calls, failed
):
    handler = Flaky(failures, error)
    monkeypatch.setattr(driver, "handle", handler)
    monkeypatch.setattr(driver.time, "sleep", lambda seconds: None)
    summary = process(uncal, out=tmp_path, until="rate")
    assert (summary.failed, handler.calls) == (failed, calls)
    if failed:
        (ending,) = summary.endings
        assert ending.reason == str(error)
        assert not list(tmp_path.glob("*.fits"))
