"""A hundred exposures through all services, once each; and the arithmetic of who grows."""

from __future__ import annotations

import pytest

from tests.soak.__main__ import main
from tests.soak.watching import ALLOWANCE, Life


def life(*held):
    return Life("a", [(number / (len(held) - 1), float(value)) for number, value in enumerate(held)])


def test_what_grows_in_the_second_half_is_not_flat():
    assert not life(*(1e8 + 1e7 * n for n in range(11))).flat
    assert life(*(1e8 + 1e7 * min(n, 5) for n in range(11))).flat


def test_growth_is_that_of_a_straight_line_through_the_second_half():
    assert life(0, 7, 20, 30, 40).growth == pytest.approx(20)


def test_what_was_gone_by_then_did_not_grow():
    gone = Life("a", [(0.1, 1e8), (0.2, 3e8)])
    assert gone.growth is None
    assert gone.flat
    assert gone.middle == 2e8


def test_a_small_process_may_grow_by_the_allowance():
    assert life(1e6, 1e6, 1e6 + ALLOWANCE * 0.9).allowed == ALLOWANCE


def test_a_hundred_exposures_are_there_once_and_none_failed(tmp_path, capsys):
    code = main(["--exposures", "100", "--out", str(tmp_path / "soak")])
    assert code == 0, capsys.readouterr().out
