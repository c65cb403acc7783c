"""When integrations begin, by what a file's table or its header says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from processors.ramps.histories import starts
from schemas.errors import Unprocessable
from schemas.meta import Keywords, Meta

START, DAY = 60000.0, 86400.0
SEGMENT = {"INTSTART": 4, "INTEND": 6, "NINTS": 9, "EXSEGNUM": 2, "EXSEGTOT": 3}


def meta(listed=None, *, offsets=None, numbered=True, **header):
    """A header, and a table of some integrations: each begins 60 s after the one before, or as said."""
    tables = {}
    if listed is not None:
        columns = [("integration_number", "i4")] if numbered else []
        rows = np.zeros(len(listed), [*columns, ("int_start_MJD_UTC", "f8")])
        times = [60.0 * (number - 1) for number in listed] if offsets is None else offsets
        rows["int_start_MJD_UTC"] = START + np.array(times) / DAY
        if numbered:
            rows["integration_number"] = listed
        tables["INT_TIMES"] = rows
    return Meta(primary=Keywords({"EXPSTART": START, "EFFINTTM": 50.0, **header}), tables=tables)


def seconds(about, first, nint):
    return ((starts(about, first, nint) - START) * DAY).round(2).tolist()


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("listed", [range(1, 10), range(4, 7)], ids=["whole", "segment"])
def test_a_segment_finds_its_rows_in_either_table(listed, numbered):
    about = meta(listed, numbered=numbered, **SEGMENT)
    assert seconds(about, 0, 3) == [180.0, 240.0, 300.0]
    assert seconds(about, 1, 2) == [240.0, 300.0]


def test_rows_may_come_in_any_order():
    assert seconds(meta([6, 5, 4], **SEGMENT), 0, 2) == [180.0, 240.0]


@pytest.mark.parametrize(
    "listed", [None, range(1, 4), range(10, 20), []], ids=["none", "of others", "later ones", "empty"]
)
def test_without_its_rows_a_segment_counts_from_the_exposure(listed):
    assert seconds(meta(listed, **SEGMENT), 0, 3) == [150.0, 200.0, 250.0]


@pytest.mark.parametrize("value", [np.nan, -START * DAY])
def test_times_that_are_none_do_not_count(value):
    assert seconds(meta([1, 2], offsets=[0.0, value]), 0, 2) == [0.0, 50.0]


@pytest.mark.parametrize(
    ("header", "cadence"),
    [
        ({}, 50.0),
        ({"NRESETS": 1, "TFRAME": 5.0}, 55.0),
        ({"NRESETS": 0, "TFRAME": 5.0}, 50.0),
        ({"NRESETS": 1, "TFRAME": 5.0, "EXPEND": START + 4 * 58 / DAY}, 58.0),
        ({"NRESETS": 1, "TFRAME": 5.0, "EXPEND": START + 4 * 50 / DAY}, 55.0),
        ({"NRESETS": 1, "TFRAME": 5.0, "EXPEND": START - 1}, 55.0),
        ({"DURATION": 4 * 57.0}, 57.0),
        ({"DURATION": 57.0, "NRESETS": 1, "TFRAME": 5.0}, 55.0),
    ],
)
def test_resets_come_between_integrations(header, cadence):
    assert seconds(meta(NINTS=4, **header), 0, 3) == [0.0, cadence, 2 * cadence]
    segment = {"INTSTART": 3, "INTEND": 4, "NINTS": 4}
    assert seconds(meta(**header, **segment), 0, 2) == [2 * cadence, 3 * cadence]


def test_what_does_not_tell_is_named():
    about = meta()
    with pytest.raises(Unprocessable, match="EFFINTTM"):
        starts(replace(about, primary=Keywords({"EXPSTART": START})), 0, 1)
