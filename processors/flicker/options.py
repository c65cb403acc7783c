"""Options of the steps that clean 1/f noise, and which exposures they are for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from processors.options import Options, option
from processors.steps import NotApplicable
from schemas.meta import Meta

SPECTRA = ("NRS_MSASPEC", "NRS_IFU", "NRS_FIXEDSLIT", "NRS_BRIGHTOBJ")
"""Exposures whose detectors are dark between the spectra, so that the noise can be fitted there."""


class FlickerOptions(Options):
    """Options of the cleaning of 1/f noise."""

    fit_method: Literal["median", "fft"] = option(
        "median", doc="a median for each line of pixels, or low frequencies fitted outside NIRSpec's spectra"
    )
    fit_by_channel: bool = option(
        False, doc="whether each output of a full frame has values of its own (median)"
    )
    background_method: Literal["median", "model"] | None = option(
        "model", doc="background that is not noise: one level, a smooth surface, or none"
    )
    background_box_size: tuple[int, int] | None = option(
        None, unit="pixels", doc="boxes (y, x) of the surface; the largest that fit, up to 32, unless said"
    )
    grow_mask: int = option(2, ge=0, unit="pixels", doc="how much more around each source is left out")
    keep_scale: int = option(
        64,
        ge=0,
        unit="lines",
        doc="what varies slower than this is kept, as it cannot be told from light; 0 keeps nothing (median)",
    )
    mask_science_regions: bool = option(
        False, doc="leave out where spectra, or regions that are not science, are known to lie"
    )
    apply_flat_field: bool = option(False, doc="divide by the flat field before noise is looked for")
    n_sigma: float = option(
        2.0, ge=0, unit="sigma", doc="what is brighter is no background; 0 takes everything"
    )
    fit_histogram: bool = option(
        False, doc="whether sigma is that of a Gaussian fitted to the histogram, for the mask of the sources"
    )

    @field_validator("background_method", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.lower() == "none" else value

    @field_validator("background_box_size")
    @classmethod
    def _positive(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and min(value) < 1:
            raise ValueError("boxes have at least one pixel")
        return value


def demand_applicable(meta: Meta, options: FlickerOptions) -> None:
    """Refuse exposures that cannot be cleaned this way.

    Raises
    ------
    NotApplicable
        If the exposure is one of MIRI's that are no images, or frequencies are to be fitted to one that has
        no dark pixels between spectra.
    """
    exp_type = str(meta.require("EXP_TYPE")).upper()
    if exp_type.startswith("MIR") and exp_type != "MIR_IMAGE":
        raise NotApplicable(f"of MIRI's exposures only MIR_IMAGE is cleaned, and this is {exp_type}")
    if options.fit_method == "fft" and exp_type not in SPECTRA:
        raise NotApplicable(f"fit_method = fft is for {', '.join(SPECTRA)}, and this exposure is {exp_type}")
