"""Stage 1: raw -> ramp -> rate, in blocks of integrations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from processors import replaced
from processors.pipelines import Pipeline, Settings
from processors.steps import Step, StepSettings
from schemas.dq import DQ
from schemas.errors import Unprocessable
from schemas.products import PersistenceHistory, Product, Ramp, Rate, concatenate
from schemas.reading import ProductFile
from streams.job import Job
from streams.stages.stage import Keywords, demand


def detector1_steps(keywords: Keywords) -> tuple[Step, ...]:
    """Return the steps from raw to ramp, and what notes a near-infrared detector's persistence."""
    from processors.detector1 import DETECTOR1_MIRI, persistence_history

    pipeline = _detector1(keywords)
    return pipeline.steps if pipeline is DETECTOR1_MIRI else (*pipeline.steps, persistence_history)


def ramp_fit_steps(keywords: Keywords) -> tuple[Step, ...]:
    """Return the steps from ramp to rate."""
    from processors.ramp_fit import RAMP_FIT, average_integrations

    return (*RAMP_FIT.steps, average_integrations) if _integrations(keywords) > 1 else RAMP_FIT.steps


def ramp_outputs(keywords: Keywords, settings: Settings) -> tuple[str, ...]:
    """Return the suffixes of what detector1 makes."""
    noted = "persistence_history" in settings and not settings["persistence_history"].skip
    return ("ramp", "persistence") if noted else ("ramp",)


def rate_outputs(keywords: Keywords, settings: Settings) -> tuple[str, ...]:
    """Return the suffixes of what ramp_fit makes: ``rateints`` too where there are several integrations.

    Raises
    ------
    UsageError
        If the settings skip what makes them.
    """
    demand(settings, "ramp_fit", "rate", "ramp")
    demand(settings, "average_integrations", "rate", "ramp")
    return ("rate", "rateints") if _integrations(keywords) > 1 else ("rate",)


def _integrations(keywords: Keywords) -> int:
    """Return how many integrations the file has: a segment of a long exposure has some of them only."""
    first, last = keywords.get("INTSTART"), keywords.get("INTEND")
    if isinstance(first, int) and isinstance(last, int) and last > 0:
        return last - first + 1
    return int(keywords.get("NINTS", 1))


def detector1(job: Job) -> None:
    """Make the ramp of a raw exposure."""
    with ProductFile(job.science().path) as file:
        _demand_header(file)
        blocks = _detector1(file.meta.primary).stream(job.blocks(file), job.references, job.settings)
        blocks = _looked_at(blocks, job, file.nint)
        if "persistence" in ramp_outputs(file.meta.primary, job.settings):
            _write_ramp_and_history(job, blocks, file.nint)
        else:
            _write_blocks(job, "ramp", blocks, file.nint)


def ramp_fit(job: Job) -> None:
    """Make the rates of a ramp; histories of exposures before it are inputs too."""
    from schemas.history_file import read_history

    histories = tuple(read_history(file.path) for file in job.inputs if file.role == "persistence")
    with ProductFile(job.science().path) as file:
        blocks = _with_histories(job.blocks(file), histories)
        _write_rates(job, _ramp_fit().stream(blocks, job.references, job.settings), file.nint)


def raw_to_rate(job: Job) -> None:
    """Make the rates of a raw exposure, its ramp never leaving memory."""
    with ProductFile(job.science().path) as file:
        _demand_header(file)
        ramps = _detector1(file.meta.primary).stream(job.blocks(file), job.references, job.settings)
        ramps = _looked_at(ramps, job, file.nint)
        _write_rates(job, _ramp_fit().stream(ramps, job.references, job.settings), file.nint)


def _demand_header(file: ProductFile) -> None:
    from processors.detector1.headers import demand_header

    if len(file.shape) == 4:
        demand_header(file.meta, file.shape, file.has("ZEROFRAME"))


def _with_histories(
    blocks: Iterator[Product], histories: tuple[PersistenceHistory, ...]
) -> Iterator[Product]:
    for block in blocks:
        held = [replace(block, histories=histories) if isinstance(block, Ramp) else block]
        del block  # a generator that waits holds its variables, and a block is large
        yield held.pop()


def _write_ramp_and_history(job: Job, blocks: Iterator[Any], nint: int) -> None:
    """Write the ramp, and note which of its pixels will persist."""
    from processors.detector1 import HistoryMaker, persistence_history

    settings = job.settings[persistence_history.name]
    if settings.use is not None:  # the user's step sees all integrations at once
        held: list[Any] = []
        _write_blocks(job, "ramp", _kept(blocks, held), nint)
        history, _ = persistence_history.run(concatenate(held), job.references, settings)
    else:
        maker = HistoryMaker(settings.options)
        _write_blocks(job, "ramp", maker.watching(blocks), nint)
        history = persistence_history.complete(maker.history(), job.references, settings)
    job.save("persistence", history)


def _looked_at(ramps: Iterator[Any], job: Job, nint: int) -> Iterator[Any]:
    """Yield the blocks of a ramp; behind the last, its quality figures are known."""
    from processors.quality import RampFigures

    found = RampFigures(nint)
    for block in ramps:
        with job.watch("quality"):
            found.add(block)
        held = [block]
        del block  # a generator that waits holds its variables, and a block is large
        yield held.pop()
    job.quality.update(found.figures())


def _write_blocks(job: Job, suffix: str, blocks: Iterator[Any], nint: int) -> None:
    first = next(blocks)
    with job.writer(suffix, first, nint) as writer:
        writer.append(first)
        del first
        for block in blocks:
            writer.append(block)
            del block  # or it would be held while the next one is made


def _write_rates(job: Job, blocks: Iterator[Any], nint: int) -> None:
    from processors.ramp_fit import Average, average_integrations

    settings = job.settings.get(average_integrations.name, StepSettings())
    if nint > 1 and settings.use is not None:
        _write_rates_by(settings.use, settings, job, blocks, nint)
        return
    references = settings.references or job.references
    options: Any = settings.options
    average = Average(references, options)
    if nint == 1:
        for block in blocks:  # to their end, behind which the ramp's figures are known
            average.add(block)
            del block  # or it would be held while the next one is made
        _save_rate(job, _usable(average.mean(), job.name))
        return
    _write_blocks(job, "rateints", _averaged(blocks, average), nint)
    with job.watch(average_integrations.name):
        rate = _usable(average.mean(), job.name)
    _save_rate(job, average_integrations.complete(rate, references, settings))


def _save_rate(job: Job, rate: Rate) -> None:
    from processors.quality import rate_figures

    with job.watch("quality"):
        job.quality.update(rate_figures(rate))
    job.save("rate", rate)


def _write_rates_by(use: Step, settings: StepSettings, job: Job, blocks: Iterator[Any], nint: int) -> None:
    """Let the user's step make the rate; it sees all integrations at once, ours only a block at a time."""
    from processors.ramp_fit import average_integrations, without_integrations

    held: list[Any] = []
    _write_blocks(job, "rateints", _kept(blocks, held), nint)
    rateints = concatenate(held)
    held.clear()
    rate, _ = average_integrations.run(rateints, job.references, settings)
    replaced.check_planes(rate, rateints.data.shape[1:], average_integrations, use.implementation)
    _save_rate(job, _usable(without_integrations(rate), job.name))


def _kept(blocks: Iterator[Any], held: list[Any]) -> Iterator[Any]:
    for block in blocks:
        held.append(block)
        yield block


def _usable(rate: Rate, name: str) -> Rate:
    sky = (rate.dq & np.uint32(DQ.REFERENCE_PIXEL | DQ.NON_SCIENCE)) == 0
    if np.isfinite(rate.data[sky]).any():
        return rate
    saturated = int(np.count_nonzero(rate.dq & np.uint32(DQ.SATURATED)))
    raise Unprocessable(
        f"{name}: none of its {rate.data.size} pixels has a rate, {saturated} of them are saturated; "
        "look at the raw data and at the mask and saturation references"
    )


def _averaged(blocks: Iterator[Any], average: Any) -> Iterator[Any]:
    for block in blocks:
        average.add(block)
        held = [block]
        del block  # a generator that waits holds its variables
        yield held.pop()


def _detector1(keywords: Keywords) -> Pipeline:
    from processors.detector1 import detector1_of

    return detector1_of(keywords)


def _ramp_fit() -> Pipeline:
    from processors.ramp_fit import RAMP_FIT

    return RAMP_FIT
