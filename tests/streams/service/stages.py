"""Stages for tests of the machinery: real runs, products of a kilobyte, and any misbehaviour asked for."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from schemas.content import file_digest
from schemas.errors import Retriable, Unprocessable
from streams.job import Job, Output
from streams.stages import Stage

BYTES = 1024


def write(job: Job, suffix: str) -> None:
    """Write a kilobyte that depends on the name alone."""
    path = job.folder / f"{job.name}_{suffix}.fits"
    with path.open("wb") as file:
        file.write((job.name.encode() * BYTES)[:BYTES])
        file.flush()
        os.fsync(file.fileno())
    job.outputs[suffix] = Output(suffix, path, file_digest(path), None)


def misbehave(job: Job) -> None:
    """Do what the exposure's name asks for; the rest of it says where to look whether to go on doing so."""
    what, _, _ = job.name.partition("_")
    notes = Path(os.environ.get("CALSTREAM_TEST_NOTES", "/nonexistent"))
    if notes.is_dir():
        with (notes / "computed").open("a") as file:
            file.write(f"{job.name} {os.getpid()}\n")
    healed = (notes / "healed").exists()
    if what == "sleeps":
        time.sleep(float(os.environ.get("CALSTREAM_TEST_SLEEP", "0.2")))
    elif what == "hangs" and not healed:
        time.sleep(3600)
    elif what == "dies" and not healed:
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "raises" and not healed:
        raise ZeroDivisionError("a kernel's mistake")
    elif what == "bad" and not healed:
        raise Unprocessable(f"{job.name}: all pixels are saturated; look at the raw data")
    elif what == "lacks" and not healed:
        raise Retriable("the CRDS server does not answer; it will be asked again")


def to_ramp(job: Job) -> None:
    """Make the ramp."""
    misbehave(job)
    write(job, "ramp")


def to_rate(job: Job) -> None:
    """Make the rate."""
    write(job, "rate")


def stage(source: str, target: str, compute) -> Stage:
    """Return a stage without steps."""
    return Stage(
        name=f"to_{target}", source=source, target=target, pipeline="detector1",
        accepts=lambda exp_type: True, steps=lambda keywords: (),
        outputs=lambda keywords, settings: (target,), compute=compute,
    )  # fmt: skip


TO_RAMP = stage("raw", "ramp", to_ramp)
TO_RATE = stage("ramp", "rate", to_rate)


def to_combined(job: Job) -> None:
    """Take a while, so that somebody can look."""
    time.sleep(float(os.environ.get("CALSTREAM_TEST_SLEEP", "0.2")))
    write(job, "combined")


TO_COMBINED = stage("association", "combined", to_combined)
