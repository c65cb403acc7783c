"""What the stage from raw to rate says of an exposure, whatever the number of its integrations."""

import pytest

from schemas.dq import DQ
from schemas.events import Input
from schemas.reading import ProductFile
from schemas.writing import write_file
from streams.job import InputFile, Job
from streams.stages.detector import raw_to_rate
from tests.processors.detector1.build import everything, raw_ramp

OF_THE_RAMP = {"cosmic_ray_rate", "reference_pixel_scatter", "residual_1f_power"}


@pytest.mark.parametrize("nint", [1, 2])
def test_figures_of_the_ramp_are_told_though_it_is_never_stored(tmp_path, nint):
    shape = (nint, 6, 64, 64)
    path = tmp_path / "a_uncal.fits"
    write_file(raw_ramp(shape), path)
    given = Input(role="science", identity="a", digest="0" * 64, uri=path.as_uri())
    job = Job(
        name="a",
        folder=tmp_path,
        inputs=(InputFile(role="science", name="a", path=path, input=given),),
        settings={},
        references=everything(shape[2:]),
        stamp={},
        run={},
        block_bytes=1,
    )
    raw_to_rate(job)
    assert set(job.quality) >= OF_THE_RAMP
    with ProductFile(job.outputs["rate"].path) as file:
        assert set(file.meta.provenance.run["quality"]) >= OF_THE_RAMP
        assert (file.read().dq & DQ.JUMP_DET).any()
