"""From the rates of the integrations to the rate of the exposure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from processors.detector1.readout import pixel_noise, read_pattern
from processors.invalid import settle
from processors.options import Options, option
from processors.ramp_fit.fit import POOR_FIT
from processors.ramps import goodness
from processors.ramps.combine import GlsRate, OlsRate
from processors.ramps.gls import Slopes
from processors.steps import StepSettings, step
from schemas.errors import Unprocessable
from schemas.products import Rate
from schemas.references import References


class AverageOptions(Options):
    """Options of the average; its weights follow from the fit."""

    poor_fit_probability: float = option(
        POOR_FIT, ge=0, lt=1, unit="probability", doc="fits less probable are flagged UNRELIABLE_SLOPE (gls)"
    )


class Average:
    """The average over integrations, as they come: memory does not grow with their number.

    Parameters
    ----------
    references : References
        ``gain`` and ``readnoise``.
    options : AverageOptions, optional
        The defaults when not given.
    """

    def __init__(self, references: References, options: AverageOptions | None = None) -> None:
        self._references = references
        self._options = options or AverageOptions()
        self._first: Rate | None = None
        self._sums: GlsRate | OlsRate | None = None

    def add(self, block: Rate) -> None:
        """Add a block of integrations (nint, ny, nx), in their order; any division gives the same result."""
        for i in range(len(block.data)):
            one = _integration(block, i)
            if self._first is None:
                self._first = one
                continue
            if self._sums is None:
                self._sums = self._accumulator(self._first)
                self._sums.add(_slopes(self._first))
                self._first = _without_arrays(self._first)
            self._sums.add(_slopes(one))

    def result(self) -> Rate:
        """Return the rate (ny, nx) of all integrations added so far, with the record of the step.

        Raises
        ------
        Unprocessable
            If there is none.
        """
        settings = StepSettings(options=self._options)
        return average_integrations.complete(self.mean(), self._references, settings)

    def mean(self) -> Rate:
        """Return the rate (ny, nx), as `result` does, without a record."""
        if self._first is None:
            raise Unprocessable("there are no integrations to average; give rates of at least one")
        first = without_integrations(self._first)
        if self._sums is None:
            return replace(first, shares=None, var_used=None)
        found = self._sums.result()
        quality: dict[str, Any] = {}
        if first.dof is not None and first.shares is not None:
            found = goodness.judged(found, self._options.poor_fit_probability)
            quality = {
                "chisq": found.chi2,
                "dof": found.ndof.astype(np.int32),
                "probability": found.probability,
            }
        return settle(
            Rate(
                meta=first.meta,
                data=found.slope,
                err=found.err,
                dq=found.dq,
                var_poisson=found.var_poisson,
                var_rnoise=found.var_rnoise,
                **quality,
            )
        )

    def _accumulator(self, one: Rate) -> GlsRate | OlsRate:
        if one.shares is None:
            return OlsRate(one.data.shape)
        scaled = one.meta.get("S_GANSCL") == "COMPLETE"
        scale = float(one.meta.get("GAINFACT") or 1) if scaled else 1.0
        pattern = read_pattern(one.meta, int(one.meta.require("NGROUPS")))
        return GlsRate(pattern, pixel_noise(self._references, one.data.shape, scale=scale))


@step(options=AverageOptions, references=("gain", "readnoise"), scope="exposure", repeatable=True)
def average_integrations(rateints: Rate, references: References, options: AverageOptions) -> Rate:
    """Average the rates of an exposure's integrations.

    Rates fitted by generalised least squares are weighted by what each integration knows relative to a whole
    ramp, so that the weights do not follow the noise. Others, and those read from a file, are weighted by
    inverse read-noise variance, as the standard pipeline does. Flags are those of any integration, but
    DO_NOT_USE only where all have it, and UNRELIABLE_SLOPE also where the chi-squared of all is too large.

    Parameters
    ----------
    rateints : Rate
        (nint, ny, nx), DN/s.
    references : References
        ``gain`` and ``readnoise``.
    options : AverageOptions
        How improbable a fit is flagged.

    Returns
    -------
    Rate
        (ny, nx); of a single integration, that one.

    Raises
    ------
    Unprocessable
        If `rateints` is an image already, or a keyword is missing.
    """
    if rateints.data.ndim != 3:
        raise Unprocessable(
            "only rates of integrations (nint, ny, nx) can be averaged; give a _rateints product"
        )
    average = Average(references, options)
    average.add(rateints)
    return average.mean()


def without_integrations(rate: Rate) -> Rate:
    """Return a rate of the exposure without the table that tells when each integration was taken."""
    tables = {name: rows for name, rows in rate.meta.tables.items() if name != "INT_TIMES"}
    return rate.with_meta(replace(rate.meta, tables=tables))


def _integration(block: Rate, index: int) -> Rate:
    planes: dict[str, Any] = {name: array[index] for name, array in block.arrays().items() if name != "area"}
    return Rate(meta=block.meta, **planes)


def _without_arrays(one: Rate) -> Rate:
    """Return the same metadata, and which arrays there are, in next to no memory."""
    empty: dict[str, Any] = {name: array[..., :0, :0].copy() for name, array in one.arrays().items()}
    return replace(one, **empty)


def _slopes(one: Rate) -> Slopes:
    fitted = np.isfinite(one.data)
    zero = np.zeros(one.data.shape, np.int32)
    dof = zero if one.dof is None else one.dof
    chi2 = np.zeros(one.data.shape, np.float32) if one.chisq is None else one.chisq
    return Slopes(
        one.data,
        one.err,
        one.var_poisson,
        one.var_rnoise,
        chi2,
        np.where(fitted, dof + 1, 0).astype(np.int32),
        dof,
        one.dq,
        one.shares,
        var_used=one.var_used,
    )
