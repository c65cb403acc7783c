"""Persistence from the exposures before: what is noted, flagged and subtracted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from processors.detector1 import HistoryMaker, persistence_history
from processors.ramp_fit import RAMP_FIT, persistence
from processors.ramps.traps import Families, captured, filled, released
from processors.steps import StepSettings
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.history_file import history_digest
from schemas.products import HISTORY_COLUMNS, PersistenceHistory
from schemas.references import TableReference
from simulator.persistence import FAMILIES, Traps
from tests.processors.detector1.build import image, make_ramp, references

SHAPE = (2, 5, 8, 9)
START = 60000.0
DAY = 86400.0
ALL = Families(*(FAMILIES[name] for name in ("capture0", "capture1", "capture2", "decay_param")))


def ramp(rates, start=START, shape=SHAPE, **changes):
    """Noiseless ramps of some rates (DN/s), saturated above 60000 DN."""
    times = 10.0 * np.arange(1, shape[1] + 1)
    true = np.broadcast_to(times[:, None, None] * np.broadcast_to(rates, shape[2:]), shape)
    full = np.where(true > 60000, np.uint8(DQ.SATURATED), np.uint8(0))
    header = {"EXPSTART": start, "EFFINTTM": times[-1], "NINTS": shape[0], **changes}
    return make_ramp(np.minimum(true, 60000), groupdq=full, **header)


def bright(y, x, rate=1500.0, **changes):
    rates = np.full(SHAPE[2:], 1.0)
    rates[y, x] = rate
    return ramp(rates, **changes)


def later(seconds, histories, rate=0.0, **changes):
    return replace(ramp(rate, START + seconds / DAY, **changes), histories=tuple(histories))


def traps(density=600.0, well=60000.0):
    table = {"TRAPPARS": FAMILIES}
    return references(
        image("trapdensity", np.full(SHAPE[2:], density)),
        image("persat", np.full(SHAPE[2:], well)),
        TableReference(reftype="trappars", name="test_trappars.fits", digest="0" * 64, tables=table),
    )


def test_bright_and_saturated_pixels_are_noted_with_time_and_fluence():
    rates = np.full(SHAPE[2:], 1.0)
    rates[2, 3], rates[4, 5], rates[6, 7] = 500.0, 1500.0, 399.0
    history = persistence_history(ramp(rates))
    corner = 900, 1000  # SUBSTRT2 and SUBSTRT1 are 901 and 1001
    assert [(row["y"] - corner[0], row["x"] - corner[1]) for row in history.pixels] == [(2, 3), (4, 5)]
    assert history.pixels["saturated"].tolist() == [False, True]
    np.testing.assert_allclose(history.pixels["fluence"], [25000, 75000])
    assert history.pixels["integrations"].tolist() == [2, 2]
    # In the second integration, which begins after 50 s: above 20000 DN after 50 s, saturated after 20 s.
    np.testing.assert_allclose((history.pixels["time"] - START) * DAY, [100.0, 70.0], atol=1e-3)
    np.testing.assert_allclose((history.integrations - START) * DAY, [[0, 50], [50, 100]], atol=1e-3)


def test_pixels_of_which_nothing_is_known_are_not_noted():
    exposure = bright(2, 3)
    exposure.pixeldq[2, 3] = DQ.DO_NOT_USE
    history = persistence_history(exposure)
    assert len(history.pixels) == 0
    assert not persistence(later(200, [history])).groupdq.any()


def test_a_pixel_counts_the_integrations_in_which_it_was_bright():
    exposure = bright(2, 3, shape=(3, *SHAPE[1:]))
    exposure.data[2, :, 2, 3] = 1.0
    exposure.groupdq[2, :, 2, 3] = 0
    (row,) = persistence_history(exposure).pixels
    assert row["integrations"] == 2
    assert (row["time"] - START) * DAY == pytest.approx(70.0, abs=1e-3)


def blocks(exposure, sizes):
    first = 0
    for size in sizes:
        part = slice(first, first + size)
        yield replace(
            exposure, data=exposure.data[part].copy(), groupdq=exposure.groupdq[part].copy(),
            pixeldq=exposure.pixeldq.copy(), first_integration=first,
        )  # fmt: skip
        first += size


@pytest.mark.parametrize("sizes", [(4,), (1, 1, 1, 1), (3, 1)])
def test_any_division_into_blocks_gives_the_same(sizes):
    exposure = bright(2, 3, shape=(4, *SHAPE[1:]))
    whole = persistence_history(exposure)
    maker = HistoryMaker()
    assert [len(block.data) for block in maker.watching(blocks(exposure, sizes))] == list(sizes)
    assert history_digest(maker.history()) == history_digest(whole)
    after = later(300, [whole], rate=1500.0, shape=(4, *SHAPE[1:]))
    settings = {"persistence": StepSettings(options=persistence.options_type(flag_own=True))}
    pipeline = replace(RAMP_FIT, steps=RAMP_FIT.steps[:1])
    parts = list(pipeline.stream(blocks(after, sizes), traps(), settings))
    once = persistence(after, traps(), flag_own=True)
    for name in ("data", "groupdq"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(once, name))
    assert once.groupdq.any()


def test_pixels_are_flagged_until_the_time_is_over():
    history = persistence_history(bright(2, 3))
    flagged = persistence(later(200, [history]), persistence_time=215).groupdq
    expected = np.zeros(SHAPE, np.uint8)
    expected[0, :, 2, 3] = DQ.PERSISTENCE  # until 70 + 215 s; the second integration begins at 250 s
    expected[1, :3, 2, 3] = DQ.PERSISTENCE
    np.testing.assert_array_equal(flagged, expected)
    unusable = persistence(later(200, [history]), persistence_dnu=True).groupdq
    assert (unusable[:, :, 2, 3] == DQ.PERSISTENCE | DQ.DO_NOT_USE).all()


def test_another_subarray_sees_its_own_part():
    history = persistence_history(bright(2, 3))
    moved = persistence(later(200, [history], SUBSTRT1=1003, SUBSTRT2=902)).groupdq
    assert np.argwhere(moved[0, 0]).tolist() == [[1, 1]]
    away = persistence(later(200, [history], SUBSTRT1=1, SUBSTRT2=1)).groupdq
    assert not away.any()


def test_an_exposure_after_this_one_flags_nothing():
    history = persistence_history(bright(2, 3, start=START + 1))
    assert not persistence(later(200, [history])).groupdq.any()


def test_without_histories_there_is_nothing_to_do():
    found = persistence(later(200, []))
    assert found.meta.get("S_PERSIS") == "SKIPPED"
    assert "no history" in found.meta.provenance.steps[-1].reason


def test_its_own_saturation_is_flagged_where_asked_for():
    found = persistence(bright(2, 3), flag_own=True, persistence_time=35).groupdq[:, :, 2, 3]
    own = (found & DQ.PERSISTENCE) != 0
    assert own.tolist() == [[False, False, False, False, True], [True, True, True, False, True]]


def test_rates_keep_the_flag_and_are_fitted():
    history = persistence_history(bright(2, 3))
    noise = references(image("gain", np.full(SHAPE[2:], 2.0)), image("readnoise", np.full(SHAPE[2:], 6.0)))
    rates = RAMP_FIT(later(200, [history], rate=20.0), noise, {"persistence": StepSettings()})
    assert (rates.dq[:, 2, 3] == DQ.PERSISTENCE).all()
    np.testing.assert_allclose(rates.data, 20.0, rtol=1e-4)


@pytest.mark.parametrize("reach", [0.01, 0.5, 0.999, 1.0, 2.0, 30.0])
def test_capture_is_what_the_simulator_steps_through(reach):
    length, steps = 300.0, 3000
    model = Traps(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32))
    for step in range(1, steps + 1):
        model.see(np.full((1, 1), reach * step / steps), length / steps)
    model.reset()
    expected = captured(np.array([reach]), length, ALL)[:, 0]
    np.testing.assert_allclose(model._filled[:, 0, 0], expected, rtol=2e-3)


def test_what_comes_out_was_in_the_traps():
    share = released(ALL.decay, 100.0, np.array([[1e6]]))
    np.testing.assert_allclose(share[:, 0], np.exp(ALL.decay * 100.0))
    assert (np.diff(released(ALL.decay, 0.0, np.array([[10.0], [20.0]])), axis=1) > 0).all()


def test_persistence_is_subtracted_group_by_group():
    """An integration filled half the well; nothing but what traps let go of comes after."""
    history = PersistenceHistory(
        meta=bright(0, 0).meta,
        pixels=np.array([(902, 1003, START, 30000.0, 1, False)], list(HISTORY_COLUMNS)),
        integrations=np.array([[START, START + 50 / DAY]]),
    )
    exposure = later(150, [history])
    before = filled(history, np.array([0]), np.array([60000.0]), ALL, START + 150 / DAY)[:, 0] * 600.0
    clean = persistence(exposure, traps()).data[:, :, 2, 3]
    begin = np.array([[0.0], [50.0]])
    end = begin + 10.0 * np.arange(1, 6)
    shares = [np.exp(decay * begin) - np.exp(decay * end) for decay in ALL.decay]
    expected = sum(charge * share for charge, share in zip(before, shares, strict=True))
    np.testing.assert_allclose(-clean, expected, rtol=1e-5)
    assert -clean[0, -1] > 1.0
    kept = persistence(exposure, traps(), subtract=False)
    assert not kept.data.any()
    np.testing.assert_array_equal(kept.groupdq, persistence(exposure, traps()).groupdq)


def test_zero_frame_values_that_are_none_stay():
    history = persistence_history(bright(2, 3))
    frame = np.full((SHAPE[0], *SHAPE[2:]), 50.0, np.float32)
    frame[1, 2, 3] = 0
    given = replace(later(200, [history]), zeroframe=frame)
    found = persistence(given, traps()).zeroframe
    assert found[1, 2, 3] == 0
    assert 40 < found[0, 2, 3] < 50
    found[0, 2, 3] = frame[0, 2, 3]
    np.testing.assert_array_equal(found, frame)


def test_two_histories_add_up():
    histories = [persistence_history(bright(2, 3, start=START - n / 100)) for n in (0, 1)]
    one, other, both = (
        persistence(later(200, some), traps()).data for some in ([histories[0]], [histories[1]], histories)
    )
    np.testing.assert_allclose(both, one + other, rtol=1e-5)


def test_references_must_fit():
    history = persistence_history(bright(2, 3))
    small = references(*(traps()[t] for t in ("persat", "trappars")), image("trapdensity", np.ones((4, 4))))
    with pytest.raises(Unprocessable, match="has shape"):
        persistence(later(200, [history]), small)
    rising = FAMILIES.copy()
    rising["decay_param"] = 1.0
    table = TableReference(reftype="trappars", name="bad.fits", digest="0" * 64, tables={"TRAPPARS": rising})
    with pytest.raises(Unprocessable, match=r"bad\.fits: capture1 and decay_param must be negative"):
        persistence(later(200, [history]), references(traps()["persat"], traps()["trapdensity"], table))


def test_an_exposure_that_does_not_say_when_it_began_cannot_tell():
    with pytest.raises(Unprocessable, match="nothing tells when it began"):
        persistence_history(bright(2, 3, EXPSTART=None))


def cut(exposure, sizes):
    """The segments of an exposure, as JWST's files are cut."""
    first, total = 0, exposure.shape[0]
    for size in sizes:
        part = slice(first, first + size)
        header = {"NINTS": total, "INTSTART": first + 1, "INTEND": first + size, "EXSEGTOT": len(sizes)}
        yield replace(
            exposure, data=exposure.data[part].copy(), groupdq=exposure.groupdq[part].copy(),
            pixeldq=exposure.pixeldq.copy(), meta=exposure.meta.with_primary(**header),
        )  # fmt: skip
        first += size


@pytest.mark.parametrize("options", [{}, {"flag_own": True}, {"flag_own": True, "dn_threshold": 15000.0}])
def test_a_segment_is_as_it_would_be_in_one_file(options):
    rates = np.full(SHAPE[2:], 1.0)
    rates[2, 3], rates[4, 5], rates[6, 7] = 1500.0, 320.0, 90.0
    exposure = ramp(rates, START + 200 / DAY, (6, *SHAPE[1:]))
    before = persistence_history(bright(7, 8))
    settings = {"persistence_time": 170.0, **options}
    whole = persistence(replace(exposure, histories=(before,)), traps(), **settings)
    left, parts = [before], []
    for segment in cut(exposure, (2, 2, 2)):
        parts.append(persistence(replace(segment, histories=tuple(left)), traps(), **settings))
        left.append(persistence_history(segment, dn_threshold=15000.0))
    flags = np.concatenate([part.groupdq for part in parts])
    if (
        "dn_threshold" in options
    ):  # a window that is open is not begun anew by what is bright and not saturated
        assert ((flags & whole.groupdq) == whole.groupdq).all()
        assert (whole.groupdq[2:, :, 4, 5] & DQ.PERSISTENCE).any()
        flags[:, :, 4, 5] = whole.groupdq[:, :, 4, 5]
    np.testing.assert_array_equal(flags, whole.groupdq)
    close = {"rtol": 1e-6, "atol": 1e-2}
    np.testing.assert_allclose(np.concatenate([part.data for part in parts]), whole.data, **close)
    assert (whole.groupdq[0, :, 7, 8] & DQ.PERSISTENCE).any()
    assert (whole.groupdq[2:, :, 2, 3] & DQ.PERSISTENCE).any() == bool(options)
    assert (whole.data - exposure.data)[:, :, 7, 8].max() < -0.1


def test_a_segment_with_nothing_but_segments_before_it_has_nothing_to_do():
    first, second = cut(bright(2, 3, shape=(4, *SHAPE[1:])), (2, 2))
    found = persistence(replace(second, histories=(persistence_history(first),)), traps())
    assert found.meta.get("S_PERSIS") == "SKIPPED"


def test_exposures_after_a_segment_count_it_from_its_own_times():
    first, second = cut(bright(2, 3, shape=(4, *SHAPE[1:])), (2, 2))
    (whole,), (row,) = (persistence_history(e).pixels for e in (bright(2, 3, shape=(4, *SHAPE[1:])), second))
    assert row["time"] == whole["time"]
    assert persistence_history(first).pixels["time"] < row["time"]
