"""The language of --where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UsageError
from schemas.events import (
    Artifact,
    FailureEvent,
    ProductEvent,
    RecipeReference,
    next_generation,
)
from schemas.keywords import EVENT_KEYWORDS
from streams.where import DEEPEST, LONGEST, NAMES, where

SHA = "0" * 64
NOVEMBER = 1794960000.0  # 2026-11-18T00:00:00Z
EVENT = ProductEvent(
    topic="rate",
    name="jw01234001001_02101_00001_nrca1",
    suffix="rate",
    generation=next_generation(NOVEMBER),
    recipe=RecipeReference(name="optimal", digest=SHA),
    stage="ramp_fit",
    product=Artifact(uri="file:///a", size=1, sha256=SHA),
    keywords={
        "PROGRAM": "01234",
        "DETECTOR": "NRCA1",
        "INSTRUME": "NIRCAM",
        "FILTER": "F200W",
        "NGROUPS": 5,
        "TFRAME": 10.5,
        "DATE-OBS": "2026-11-03",
        "IS_PSF": False,
        "TSOVISIT": True,
    },
)
FAILURE = FailureEvent(
    name="jw01234001001_02101_00001_nrca1",
    suffix="uncal",
    generation=next_generation(NOVEMBER),
    recipe=RecipeReference(name="optimal", digest=SHA),
    stage="ingest",
    error="Unprocessable",
    message="it is broken",
)

TRUE = """
detector == 'NRCA1'
detector == 'nrca1' and filter == "F200W"
DETECTOR == 'NRCA1'
instrument == 'NIRCAM' and instrume == 'NIRCAM'
program == 1234
program == '01234'
program == '1234'
program in (1234, '05678')
program not in (1, 2)
ngroups >= 5
ngroups == '5'
ngroups == 5.0
4 < ngroups <= 5 < 6
ngroups > -3
tframe == 10.5
date_obs == '2026-11-03'
date_obs >= '2026-11' and date_obs < '2026-12'
not (detector == 'NRCA3')
detector != 'NRCA3'
filter in ['F115W', 'F200W']
'nrca' in name
'nrcb' not in name
level == 'rate' and suffix == 'rate' and stage == 'ramp_fit' and outcome == 'complete'
recipe == 'optimal' and line == 'main' and kind == 'product'
time >= '2026-11-17' and time < '2026-11-19'
tsovisit
tsovisit == True
not is_psf
True
(detector == 'X' or (filter == 'F200W'))
""".strip().splitlines()

FALSE = """
detector == 'NRCA3'
program == 12345
ngroups == 'five'
ngroups != 5
ngroups < 'five'
pupil == 'CLEAR'
pupil != 'CLEAR'
pupil in ('CLEAR',)
pupil not in ('CLEAR',)
'C' not in pupil
pupil < 'Z' or pupil >= 'Z'
pupil
is_psf
False
error == 'Unprocessable'
filter == 200
""".strip().splitlines()

WRONG = """
detector = 'NRCA1'
detector == NRCA1
detector == 'NRCA1' or 'NRCA3'
('F200W', 'F115W')
detektor == 'NRCA1'
nothing_of_the_kind == 1
__import__('os').system('true')
name.startswith('jw')
name[0] == 'j'
(lambda: True)()
[x for x in (1, 2)]
ngroups + 1 == 6
ngroups == 2 ** 1000000
detector is 'NRCA1'
f'{name}' == 'x'
name == b'x'
name == None
ngroups == 1j
ngroups == -detector
ngroups == --5
(name := 'x') == 'x'
name == ('a', 'b')
name in (('a', 'b'), 'c')
name if True else line
'abc
name ==
5
1 == 1; 2
""".strip().splitlines()


@pytest.mark.parametrize("text", TRUE)
def test_an_expression_holds(text):
    assert where(text)(EVENT) is True


@pytest.mark.parametrize("text", FALSE)
def test_an_expression_does_not_hold(text):
    assert where(text)(EVENT) is False


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_expression_is_a_usage_error(text):
    with pytest.raises(UsageError):
        where(text)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_nothing_said_means_all(text):
    assert where(text)(EVENT)
    assert where(text)(FAILURE)


def test_every_keyword_of_events_has_a_name():
    assert {keyword.lower().replace("-", "_") for keyword in EVENT_KEYWORDS} <= set(NAMES)
    assert all(name.isidentifier() for name in NAMES)


def test_failures_are_chosen_by_level_stage_and_error():
    assert where("level == 'raw' and stage == 'ingest' and error == 'Unprocessable'")(FAILURE)
    assert not where("outcome == 'complete'")(FAILURE)


def test_a_program_is_known_by_the_name_where_no_keyword_says_it():
    assert where("program == 1234")(FAILURE)


def test_an_unknown_name_comes_with_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'detector'"):
        where("detektor == 'NRCA1'")
    with pytest.raises(UsageError, match="choose from name, suffix"):
        where("zzz == 1")


def test_long_and_deep_expressions_are_refused():
    with pytest.raises(UsageError, match=f"more than {LONGEST}"):
        where("ngroups == 5 or " * 200 + "ngroups == 5")
    with pytest.raises(UsageError, match=f"more than {DEEPEST} deep"):
        where("not " * (DEEPEST + 1) + "tsovisit")
    with pytest.raises(UsageError):
        where("(" * 900 + "1" + ")" * 900)
    with pytest.raises(UsageError):
        where("ngroups == " + "-" * 1900 + "1")
    assert where("not " * DEEPEST + "tsovisit")(EVENT)


_WORDS = st.sampled_from(
    [
        *("detector", "program", "ngroups", "pupil", "name", "time", "__import__", "exec", "lambda", "is"),
        *("==", "!=", "<", ">=", "in", "not", "and", "or", "(", ")", ",", "[", "]", ".", ":=", "if", "else"),
        *("'NRCA1'", "'01234'", "1234", "-5", "1e999", "1j", "b'x'", "f'{name}'", "None", "True", "\\", "\0"),
        *("'\\d'", "'\ud800'", "0x10", "1_000", "9" * 400, "{", "}", "*", "**", "@", "~", "#", "\n"),
    ]
)


@given(st.one_of(st.text(max_size=200), st.lists(_WORDS, max_size=30).map(" ".join)))
def test_any_text_is_an_expression_or_a_usage_error(text):
    try:
        predicate = where(text)
    except UsageError as error:
        str(error).encode()
        return
    assert predicate(EVENT) in (True, False)
    assert predicate(FAILURE) in (True, False)


@given(
    st.one_of(st.integers(), st.floats(), st.text(), st.booleans()), st.sampled_from(["==", "<", ">=", "in"])
)
def test_any_value_of_a_keyword_can_be_compared(value, operator):
    event = EVENT.model_copy(update={"keywords": {"TARGPROP": value}})
    for other in ("'5'", "5", "5.5", "True", "'x'", "targprop"):
        assert where(f"targprop {operator} {other}")(event) in (True, False)
