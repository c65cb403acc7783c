"""What ``--set`` means: types of values, mistakes, which of two counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.recipes import command_line, parse_set
from schemas.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5.5e-1", -0.55),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("none", "none"),
        ("yes", "yes"),
        ("two_point", "two_point"),
        ("[1, 2.5, a]", [1, 2.5, "a"]),
        ("'5'", "5"),
        ("2023-01-01", "2023-01-01"),
        ("a=b", "a=b"),
        ("s3://bucket/file: x", "s3://bucket/file: x"),
    ],
)
def test_values_of_the_command_line(text: str, value: Any) -> None:
    parsed = parse_set(f"first.threshold={text}")["first"]["threshold"]
    assert (parsed, type(parsed)) == (value, type(value))


def test_paths_stay_text() -> None:
    assert parse_set("jump.override_gain=123") == {"jump": {"override_gain": "123"}}
    assert parse_set(" jump.use = my_lab.ramps:fit ") == {"jump": {"use": "my_lab.ramps:fit"}}


@pytest.mark.parametrize(
    "text", ["", "jump", "jump=3", "jump.a", "jump.a=", "a.b.c=3", ".a=3", "jump.=3", "jump.a=[1"]
)
def test_settings_that_cannot_be_understood(text: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        parse_set(text)


@given(st.text(max_size=40))
def test_any_setting_is_an_entry_or_a_sentence(text: str) -> None:
    try:
        table = parse_set(text)
    except UsageError:
        return
    ((name, parameters),) = table.items()
    (parameter,) = parameters
    assert text.partition("=")[0].replace(" ", "") == f"{name}.{parameter}"


def test_the_later_of_two_settings_wins() -> None:
    table = command_line(["a.x=1", "a.y=2", "b.x=3", "a.x=4"])
    assert table == {"a": {"x": 4, "y": 2}, "b": {"x": 3}}
