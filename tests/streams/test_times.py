from __future__ import annotations

import pytest

from schemas.errors import UsageError
from streams.times import age, iso, moment


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), (" 2h", 7200), ("1.5d", 129600), ("1w", 604800)]
)
def test_ages(text, seconds):
    assert age(text) == seconds
    assert moment(text, now=1e9) == 1e9 - seconds


@pytest.mark.parametrize(
    "text", ["2026-11-24T06:30", "2026-11-24T06:30:00Z", "2026-11-24 08:30+02:00", "2026-11-24T06:30:00.000"]
)
def test_a_time_is_utc_unless_it_says_another_zone(text):
    assert iso(moment(text)) == "2026-11-24T06:30:00Z"


def test_a_date_is_its_beginning():
    assert iso(moment("2026-11-24")) == "2026-11-24T00:00:00Z"


@pytest.mark.parametrize("text", ["", "yesterday", "2h ago", "-3d", "2026-13-01", "24.11.2026", "1e9"])
def test_what_is_neither_is_refused(text):
    with pytest.raises(UsageError, match="is no time"):
        moment(text)
    with pytest.raises(UsageError, match="is no age"):
        age(text)
