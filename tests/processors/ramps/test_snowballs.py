import numpy as np
import pytest

from processors.ramps.components import regions
from processors.ramps.ellipses import Ellipse
from processors.ramps.snowballs import SnowballRules, flag_snowballs
from schemas.dq import DQ

JUMP, SAT, DNU = int(DQ.JUMP_DET), int(DQ.SATURATED), int(DQ.DO_NOT_USE)
Y, X = np.indices((160, 200))


def disc(y, x, radius):
    return np.hypot(Y - y, X - x) <= radius


def event(core=6.0, patch=16.0, y=80, x=100, group=3, ngroup=7):
    """Return flags with a snowball: jumps in a group, a core that is saturated from there on."""
    flags = np.zeros((ngroup, *Y.shape), np.uint8)
    flags[group:, disc(y, x, core)] = SAT
    flags[group, disc(y, x, patch) & ~disc(y, x, core)] = JUMP
    return flags


def test_the_halo_grows_in_its_group_and_the_core_in_all_that_follow():
    flags = event()
    before = flags.copy()
    number, cores = flag_snowballs(flags, SnowballRules())
    assert number == 1
    jumps, saturated = flags & JUMP != 0, flags & SAT != 0
    radii = np.sqrt(jumps[3].sum() / np.pi + saturated[3].sum() / np.pi), np.sqrt(saturated[3].sum() / np.pi)
    assert 24 < np.sqrt((jumps[3] | saturated[3]).sum() / np.pi) < 36, radii
    assert 6.0 < radii[1] < 8.0
    assert (saturated[3:] == saturated[3]).all()
    assert not jumps[[0, 1, 2, 4, 5, 6]].any()
    assert not saturated[:3].any()
    assert (flags[before & SAT != 0] & SAT != 0).all()
    assert not (jumps & saturated).any()
    assert 0.8 < cores.sum() / disc(80, 100, 6).sum() < 1.1


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ({}, 1),
        ({"core": 0.0}, 1),  # a pixel
        ({"core": -1.0}, 0),
        ({"core": -1.0, "x": 10}, 1),  # its core may lie outside
        ({"patch": 1.0, "core": 0.0}, 0),
    ],
)
def test_what_is_a_snowball(what, number):
    assert flag_snowballs(event(**what), SnowballRules(min_jump_area=6))[0] == number


def test_a_core_that_saturates_one_group_later_counts():
    flags = event(core=-1.0)
    flags[4:, disc(80, 100, 3)] = SAT
    assert flag_snowballs(flags, SnowballRules())[0] == 1
    flags = event(core=-1.0)
    flags[5:, disc(80, 100, 3)] = SAT
    assert flag_snowballs(flags, SnowballRules())[0] == 0


def test_what_was_saturated_before_is_no_core():
    flags = event(core=-1.0)
    flags[1:, disc(80, 100, 3)] = SAT
    assert flag_snowballs(flags, SnowballRules())[0] == 0


def test_other_flags_stay():
    flags = event()
    flags[:, 80, 100] |= DNU
    flags[:, 80, 107] |= DNU
    flag_snowballs(flags, SnowballRules())
    assert (flags[:, 80, [100, 107]] & DNU != 0).all()


def test_no_radius_beyond_the_largest():
    flags = event(patch=40.0)
    flag_snowballs(flags, SnowballRules(max_radius=45))
    assert not (flags[3, ~disc(80, 100, 47)]).any()


def test_an_ellipse_has_the_axes_and_the_direction_of_its_region():
    angle = np.radians(30)
    along = (Y - 80) * np.sin(angle) + (X - 100) * np.cos(angle)
    across = (Y - 80) * np.cos(angle) - (X - 100) * np.sin(angle)
    inside = (along / 40) ** 2 + (across / 12) ** 2 <= 1
    (region,) = regions((inside * JUMP).astype(np.uint8), JUMP, 5)
    found = Ellipse.of(region)
    assert found.major + 1 == pytest.approx(80, abs=0.5)
    assert found.minor + 1 == pytest.approx(24, abs=0.5)
    assert abs(found.direction[0] * np.sin(angle) + found.direction[1] * np.cos(angle)) == pytest.approx(
        1, abs=1e-3
    )
    box, again = found.pixels(Y.shape, 40, 12)
    assert (again != inside[box]).mean() < 0.02
    assert found.holds((80, 100))
    assert not found.holds((80, 140))
