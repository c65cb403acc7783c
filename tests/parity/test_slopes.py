"""Slopes and errors beside stcal's OLS_C and LIKELY on the same clean ramps of known rate (`make tables`)."""

import pytest

from tests.parity import functions
from tests.tables import slopes

pytestmark = pytest.mark.peer
SCATTER = {("10, 5 e-", "OLS_C"): 1.01}
"""Largest ratio of our scatter to theirs where it is not 1.002. The weights of ordinary least squares change
at a signal-to-noise ratio of 20, which these ramps have: each ramp's own noise chooses its weights, and the
scatter happens to be 0.7 % below ours (and 1.1 % above at 4.5 e-/s)."""


@pytest.fixture(scope="module")
def scores(need_peer, tmp_path_factory):
    """Scores by case, ours and theirs."""
    data = {case: slopes.ramps(case) for case in slopes.CASES}
    theirs = slopes.theirs(functions.answers(slopes.tasks(data), tmp_path_factory.mktemp("slopes")))
    return {case: {**slopes.ours(case, ramp), **theirs[case]} for case, ramp in data.items()}


@pytest.mark.parametrize("algorithm", slopes.THEIRS)
@pytest.mark.parametrize("case", slopes.CASES)
def test_no_worse_than_the_peer(scores, case, algorithm):
    ours, theirs = scores[case]["gls"], scores[case][algorithm]
    assert ours.scatter <= SCATTER.get((case, algorithm), 1.002) * theirs.scatter
    assert abs(ours.calibration - 1) <= abs(theirs.calibration - 1) + 0.005
    assert abs(ours.bias) <= abs(theirs.bias) + 2 * ours.standard_error


@pytest.mark.parametrize("case", slopes.CASES)
def test_our_ordinary_least_squares_are_the_peers(scores, case):
    ours, theirs = scores[case]["ols"], scores[case]["OLS_C"]
    assert ours.scatter == pytest.approx(theirs.scatter, rel=1e-3)
    assert ours.calibration == pytest.approx(theirs.calibration, abs=1e-3)
