"""The road with stages that compute nothing: products of a kilobyte that depend on their inputs alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from schemas.content import file_digest
from streams.job import Job, Output
from streams.stages import Stage
from tests.streams.service.stages import misbehave

BYTES = 1024


def half_way() -> None:
    """Be called when half of a product is written."""


def made(name: str, suffix: str, inputs: Iterable[tuple[str, str]]) -> bytes:
    """Return the product that inputs, as pairs of name and content digest, lead to."""
    lines = [f"{name} {suffix}", *(f"{one} {digest}" for one, digest in sorted(inputs))]
    text = "\n".join(lines).encode()
    return text + hashlib.sha256(text).hexdigest().encode() * (BYTES // 64)


def _compute(suffix: str):
    def compute(job: Job) -> None:
        misbehave(job)
        content = made(job.name, suffix, ((file.name, file.input.digest) for file in job.inputs))
        path = job.folder / f"{job.name}_{suffix}.fits"
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            half_way()
            file.write(content[len(content) // 2 :])
            file.flush()
            os.fsync(file.fileno())
        job.outputs[suffix] = Output(suffix, path, file_digest(path), None)

    return compute


def _stage(name: str, source: str, target: str, suffix: str) -> Stage:
    return Stage(
        name=name, source=source, target=target, pipeline="detector1",
        accepts=lambda exp_type: True, steps=lambda keywords: (),
        outputs=lambda keywords, settings: (suffix,), compute=_compute(suffix),
        associated=name == "ramp_fit",
    )  # fmt: skip


DETECTOR1 = _stage("detector1", "raw", "ramp", "ramp")
RAMP_FIT = _stage("ramp_fit", "ramp", "rate", "rate")
IMAGE2 = _stage("image2", "rate", "cal", "cal")
IMAGE3 = _stage("image3", "association", "combined", "i2d")

TABLE = {
    "detector1": ("tests.chaos.stages:DETECTOR1",),
    "ramp_fit": ("tests.chaos.stages:RAMP_FIT",),
    "image2": ("tests.chaos.stages:IMAGE2",),
    "image3": ("tests.chaos.stages:IMAGE3",),
}
"""What `calstream serve` runs here under the names of the road."""
