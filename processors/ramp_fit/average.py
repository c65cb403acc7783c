"""From the rates of the integrations to the rate of the exposure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from processors.detector1.readout import pixel_noise, read_pattern
from processors.invalid import settle
from processors.options import Options, option
from processors.ramps.combine import GlsRate, OlsRate
from processors.ramps.gls import Slopes
from processors.steps import step
from schemas.errors import Unprocessable
from schemas.meta import Meta
from schemas.products import Rate
from schemas.references import References


class AverageOptions(Options):
    """Options of the average over integrations."""

    weighting: Literal["information", "read_noise"] = option(
        "information",
        doc="weights by how much of a whole ramp each integration knows, or by inverse read-noise variance",
    )


class Average:
    """The average over integrations, as they come: memory does not grow with their number.

    Parameters
    ----------
    references : References
        ``gain`` and ``readnoise``.
    options : AverageOptions, optional
        How integrations are weighted.
    """

    def __init__(self, references: References, options: AverageOptions | None = None) -> None:
        self._references = references
        self._options = options or AverageOptions()
        self._meta: Meta | None = None
        self._only: Rate | None = None
        self._sums: GlsRate | OlsRate | None = None
        self._quality = False

    def add(self, block: Rate) -> None:
        """Add a block of integrations (nint, ny, nx), in their order; any division gives the same result."""
        for i in range(len(block.data)):
            one = _integration(block, i)
            if self._meta is None:
                self._meta, self._only = block.meta, one
                self._quality = block.dof is not None
                continue
            if self._sums is None and self._only is not None:
                self._sums = self._accumulator(self._only)
                self._sums.add(_slopes(self._only))
                self._only = None
            assert self._sums is not None
            self._sums.add(_slopes(one))

    def result(self) -> Rate:
        """Return the rate (ny, nx) of all integrations added so far.

        Raises
        ------
        Unprocessable
            If there is none.
        """
        if self._meta is None:
            raise Unprocessable("there are no integrations to average; give rates of at least one")
        meta = replace(self._meta, tables={k: v for k, v in self._meta.tables.items() if k != "INT_TIMES"})
        if self._only is not None:
            copies: dict[str, Any] = {name: array.copy() for name, array in self._only.arrays().items()}
            return Rate(meta=meta, **copies)
        assert self._sums is not None
        mean = self._sums.result()
        quality: dict[str, Any] = {}
        if self._quality and self._options.weighting == "information":
            quality = {"chisq": mean.chi2, "dof": mean.ndof.astype(np.int32)}
        return settle(
            Rate(
                meta=meta,
                data=mean.slope,
                err=mean.err,
                dq=mean.dq,
                var_poisson=mean.var_poisson,
                var_rnoise=mean.var_rnoise,
                **quality,
            )
        )

    def _accumulator(self, one: Rate) -> GlsRate | OlsRate:
        if self._options.weighting == "read_noise":
            return OlsRate(one.data.shape)
        meta = one.meta
        pattern = read_pattern(meta, int(meta.require("NGROUPS")))
        scaled = meta.get("S_GANSCL") == "COMPLETE"
        scale = float(meta.require("GAINFACT")) if scaled else 1.0
        return GlsRate(pattern, pixel_noise(self._references, one.data.shape, scale=scale))


@step(options=AverageOptions, references=("gain", "readnoise"), scope="exposure")
def average_integrations(rateints: Rate, references: References, options: AverageOptions) -> Rate:
    """Average the rates of an exposure's integrations.

    ``information`` weights each integration by its information relative to that of a ramp without flags in the same
    pixel: exactly 1 for whole ramps, so that the weights do not follow the noise. ``read_noise`` weights by inverse
    read-noise variance, as the standard pipeline does. Flags are those of any integration, but DO_NOT_USE only where
    all have it.

    Parameters
    ----------
    rateints : Rate
        (nint, ny, nx), DN/s.
    references : References
        ``gain`` and ``readnoise``.
    options : AverageOptions
        Weighting.

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
        raise Unprocessable("only rates of integrations (nint, ny, nx) can be averaged; give a _rateints product")
    average = Average(references, options)
    average.add(rateints)
    return average.result()


def _integration(block: Rate, index: int) -> Rate:
    planes: dict[str, Any] = {
        name: array[index] if array.ndim == 3 else array for name, array in block.arrays().items()
    }
    return Rate(meta=block.meta, **planes)


def _slopes(one: Rate) -> Slopes:
    """Return one integration's rate as the kernels know it.

    Without degrees of freedom no ramp is known to be whole, and all weights are worked out from the variances.
    """
    zero = np.zeros(one.data.shape, np.int32)
    fitted = np.isfinite(one.data)
    dof = zero if one.dof is None else one.dof
    ndiff = zero if one.dof is None else np.where(fitted, one.dof + 1, 0).astype(np.int32)
    chi2 = np.zeros(one.data.shape, np.float32) if one.chisq is None else one.chisq
    return Slopes(one.data, one.err, one.var_poisson, one.var_rnoise, chi2, ndiff, dof, one.dq)
