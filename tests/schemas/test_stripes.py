"""Which rows of the detector an exposure in stripes has."""

import numpy as np
import pytest

from schemas.errors import Unprocessable
from schemas.references import Window
from schemas.stripes import in_stripes, rows_of, stripes_of
from simulator.instruments import detector
from tests.striped import ALL, DOWNWARDS, INTERLEAVED, TWICE


def header(stripes, **changes):
    keywords = {"SLOWAXIS": detector(stripes.detector).slow_axis, "SUBARRAY": stripes.subarray}
    return {"SUBSTRT1": 1, "SUBSIZE1": 2048, **keywords, **stripes.keywords, **changes}


@pytest.mark.parametrize("name", ALL)
def test_rows_of_an_exposure_in_stripes(name):
    keywords = header(ALL[name])
    assert in_stripes(keywords)
    np.testing.assert_array_equal(rows_of(stripes_of(keywords)), ALL[name].index)
    np.testing.assert_array_equal(Window.of(keywords).rows, ALL[name].index)


@pytest.mark.parametrize("name", ALL)
def test_each_row_is_found_wherever_it_was_read(name):
    window = Window.of(header(ALL[name]))
    for row in range(window.places.shape[1]):
        found = [place for place in window.places[:, row] if place >= 0]
        assert found == np.flatnonzero(ALL[name].index == row).tolist()


def test_a_rectangle_is_no_stripes():
    window = Window.of({"SUBSTRT1": 3, "SUBSTRT2": 11, "SUBSIZE1": 4, "SUBSIZE2": 5})
    assert not window.stripes
    assert window.rows.tolist() == [10, 11, 12, 13, 14]
    assert window.places.tolist() == [[-1] * 10 + [0, 1, 2, 3, 4]]


def test_early_files_with_hartmann_sensors_begin_at_the_edge_whatever_they_say():
    told = {"SUBARRAY": "SUB90S_DHS", "SUBSTRT2": 700}
    first = np.concatenate([np.arange(*ends) for ends in ((1358, 1398), (1498, 1538), (2038, 2048))])
    np.testing.assert_array_equal(rows_of(stripes_of(header(DOWNWARDS, **told))), first)
    np.testing.assert_array_equal(rows_of(stripes_of(header(DOWNWARDS, SUBSTRT2=1))), first)


@pytest.mark.parametrize(
    "changes",
    [
        {"SUBSIZE2": 163}, {"MSTR_RD2": 0}, {"MSTR_RD2": None}, {"MSTR_SK1": -1}, {"MSTR_SK2": "far"},
        {"SLOWAXIS": 1}, {"SLOWAXIS": None}, {"SUBSIZE2": None}, {"MSTR_SK1": 1900}, {"MSTR_RD1": True},
    ],
)  # fmt: skip
def test_what_describes_no_readout_is_refused(changes):
    with pytest.raises(Unprocessable, match=r"read in stripes, but .*; mend the header"):
        stripes_of(header(INTERLEAVED, **changes))


def test_what_is_not_repeated_need_not_be_said():
    keywords = header(DOWNWARDS)
    del keywords["MSTR_RPT"], keywords["MSTR_ILV"]
    assert stripes_of(keywords) == stripes_of(header(DOWNWARDS))
    assert stripes_of(header(TWICE, MSTR_ILV=None)) == stripes_of(header(TWICE))
