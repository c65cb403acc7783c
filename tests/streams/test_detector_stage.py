"""What the stage from raw to rate says of an exposure, whatever the number of its integrations."""

import pytest

from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.events import Input
from schemas.reading import ProductFile
from schemas.writing import write_file
from streams.job import InputFile, Job
from streams.stages.detector import detector1, raw_to_rate
from tests.processors.detector1.build import everything, raw_ramp

OF_THE_RAMP = {"cosmic_ray_rate", "reference_pixel_scatter", "residual_1f_power"}


def job_of(ramp, folder, **cards):
    """What the stage is given: the exposure in a file, and references that fit it."""
    path = folder / "a_uncal.fits"
    write_file(ramp.with_meta(ramp.meta.with_primary(**cards)), path)
    given = Input(role="science", identity="a", digest="0" * 64, uri=path.as_uri())
    return Job(
        name="a",
        folder=folder,
        inputs=(InputFile(role="science", name="a", path=path, input=given),),
        settings={},
        references=everything(ramp.shape[2:]),
        stamp={},
        run={},
        block_bytes=1,
    )


@pytest.mark.parametrize("nint", [1, 2])
def test_figures_of_the_ramp_are_told_though_it_is_never_stored(tmp_path, nint):
    job = job_of(raw_ramp((nint, 6, 64, 64)), tmp_path)
    raw_to_rate(job)
    assert set(job.quality) >= OF_THE_RAMP
    with ProductFile(job.outputs["rate"].path) as file:
        assert set(file.meta.provenance.run["quality"]) >= OF_THE_RAMP
        assert (file.read().dq & DQ.JUMP_DET).any()


@pytest.mark.parametrize("compute", [detector1, raw_to_rate])
def test_an_exposure_read_in_superstripes_is_refused(tmp_path, compute):
    job = job_of(raw_ramp((1, 3, 16, 16)), tmp_path, SSTR_NST=4)
    with pytest.raises(Unprocessable, match="superstripes"):
        compute(job)
