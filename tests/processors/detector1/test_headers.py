"""What a header must tell, and what is said where it does not."""

import numpy as np
import pytest

from processors.detector1 import dq_init, refpix
from processors.detector1.headers import demand_header
from processors.modes import is_miri
from schemas.errors import Unprocessable
from schemas.meta import Keywords, Meta
from tests.processors.detector1.build import MIRI, keywords, make_ramp, mask, references

SHAPE = (2, 5, 64, 64)


def check(zeroframe=False, **cards):
    found = {name: value for name, value in keywords(SHAPE, **cards).items() if value is not None}
    demand_header(Meta(primary=Keywords(found)), SHAPE, zeroframe)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"MSTR_RD1": 40, "MSTR_SK1": 100}, r"read in stripes, but .*; mend the header"),
        ({"SSTR_NST": 3}, r"superstripes, one of 3 .* not supported"),
        ({"SUBARRAY": None}, "lacks SUBARRAY.* add it there"),
        ({"NINTS": None}, "lacks NINTS.* the data have 2 integrations; add it"),
        ({"DATE-OBS": "2022-13-45"}, "DATE-OBS = 2022-13-45 is no date .*mend the header"),
        ({"SUBSTRT1": 2040}, "SUBSTRT1 = 2040, and 64 pixels from there .*2048 x 2048; mend SUBSTRT1"),
        ({"SUBSTRT2": 0}, "SUBSTRT2 = 0,"),
        ({"SUBSTRT1": None}, "no SUBSTRT1"),
        ({**MIRI, "SUBSTRT1": 1, "SUBSTRT2": 1000}, "SUBSTRT2 = 1000, .*1032 x 1024"),
        ({"FASTAXIS": None}, "lacks FASTAXIS"),
        ({"FASTAXIS": 5}, "FASTAXIS = 5, .*1, -1, 2 or -2"),
        ({"ZEROFRAM": True}, "no extension ZEROFRAME; fetch"),
    ],
)
def test_an_error_names_the_keyword(cards, words):
    with pytest.raises(Unprocessable, match=rf"^test_uncal\.fits: .*{words}"):
        check(**cards)


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"ZEROFRAM": True, "zeroframe": True},
        {"ZEROFRAM": False, "SSTR_NST": 0, "DATE-OBS": "2022-07-20"},
        {"SUBSTRT1": 1985, "SUBSTRT2": 1985},
        {**MIRI, "FASTAXIS": None, "SUBSTRT2": 901, "SUBSTRT1": 1},
    ],
)
def test_what_is_enough_passes(cards):
    check(**cards)


def test_the_steps_refuse_what_they_would_do_wrong():
    given = references(mask(np.zeros(SHAPE[2:], np.uint32)))
    with pytest.raises(Unprocessable, match=r"step dq_init: .*superstripes"):
        dq_init(make_ramp(np.zeros(SHAPE), SSTR_NST=3), given)
    with pytest.raises(Unprocessable, match=r"step refpix: .*FASTAXIS = 0"):
        refpix(make_ramp(np.zeros(SHAPE), FASTAXIS=0))


@pytest.mark.parametrize(
    ("cards", "answer"),
    [
        ({"INSTRUME": "MIRI"}, True),
        ({"INSTRUME": "Miri"}, True),
        ({"INSTRUME": "NIRCAM"}, False),
        ({}, False),
    ],
)
def test_whether_an_exposure_is_miris_is_asked_of_keywords_and_headers_alike(cards, answer):
    assert is_miri(cards) is answer
    assert is_miri(Meta(primary=Keywords(cards))) is answer
