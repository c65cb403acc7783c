import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from processors.ramps.components import regions

BIT = 4
AROUND = np.ones((3, 3), bool)
planes = st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(
    lambda shape: st.tuples(
        *(arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 2, 4, 6])) for _ in "ab")
    )
)


@settings(deadline=None)
@given(planes, st.integers(1, 12), st.booleans())
def test_regions_are_those_of_another_library(pair, minimum, new):
    plane, before = pair
    flagged = (plane & BIT != 0) & ~((before & BIT != 0) & new)
    labels, number = ndimage.label(flagged, AROUND)
    wanted = {}
    for label in range(1, number + 1):
        own = labels == label
        if ndimage.binary_fill_holes(own, AROUND).sum() >= minimum:
            y, x = np.nonzero(own)
            box = ndimage.find_objects(own.astype(int))[0]
            moments = y.mean(), x.mean(), y.var(), x.var(), np.cov(y, x, ddof=0)[0, 1]
            wanted[y[0], x[0]] = len(y), box, moments
    found = regions(plane, BIT, minimum, before if new else None)
    assert len(found) == len(wanted)
    for region, first in zip(found, sorted(wanted), strict=True):
        area, box, moments = wanted[first]
        assert (region.area, region.box) == (area, box)
        np.testing.assert_allclose((*region.centre, *region.moments), moments, atol=1e-9)


def test_a_ring_counts_with_its_hole():
    plane = np.zeros((9, 9), np.uint8)
    plane[3:6, 3:6] = BIT
    plane[4, 4] = 0
    assert [region.area for region in regions(plane, BIT, 9)] == [8]
    assert regions(plane, BIT, 10) == []


@pytest.mark.parametrize("shape", [(200, 300)])
def test_a_checkered_plane_is_one_region(shape):
    plane = (np.indices(shape).sum(0) % 2 * BIT).astype(np.uint8)
    (region,) = regions(plane, BIT, 1)
    assert region.area == shape[0] * shape[1] // 2
