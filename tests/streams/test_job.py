"""What a run holds in memory."""

import weakref

import numpy as np

from schemas.meta import Keywords, Meta
from schemas.products import Rate
from schemas.references import References
from streams.job import Job


class Blocks:
    """A file of three integrations."""

    shape = (3, 2, 4)

    def __init__(self):
        self.sizes = []
        self.given = []

    def blocks(self, size):
        self.sizes.append(size)
        for first in range(0, 3, size):
            planes = {name: np.zeros((size, 2, 4), np.float32) for name in PLANES}
            made = [Rate(meta=Meta(primary=Keywords({})), first_integration=first, **planes)]
            self.given.append(weakref.ref(made[0]))
            yield made.pop()


PLANES = ("data", "err", "dq", "var_poisson", "var_rnoise")


def job(tmp_path, **more):
    return Job(
        name="a", folder=tmp_path, inputs=(), settings={}, references=References(), stamp={}, run={}, **more
    )


def test_blocks_are_as_large_as_the_bound_allows_and_one_integration_at_least(tmp_path):
    file = Blocks()
    for bound in (3 * 32, 2 * 32 - 1, 1):
        list(job(tmp_path, block_bytes=bound).blocks(file))
    assert file.sizes == [3, 1, 1]


def test_a_block_is_gone_when_nobody_uses_it(tmp_path):
    file, run = Blocks(), job(tmp_path, block_bytes=1)
    blocks = run.blocks(file)
    for first in range(3):
        block = next(blocks)
        assert block.first_integration == first
        del block
        assert file.given[-1]() is None
    assert "read" in run.timing
