"""Which pipelines each kind of exposure goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from processors.options import suggestion
from schemas.errors import Unprocessable
from schemas.keywords import lacking

if TYPE_CHECKING:
    from schemas.meta import Meta


@dataclass(frozen=True)
class Mode:
    """The road of an EXP_TYPE; an empty name where there is no stage for it yet.

    Attributes
    ----------
    stage1 : str
        ``detector1``, or ``guider`` for what the guiders see.
    stage2, stage3 : str
        For example ``image2`` and ``image3``.
    """

    stage1: str = ""
    stage2: str = ""
    stage3: str = ""


_RATES = Mode("detector1")
_IMAGE = Mode("detector1", "image2", "image3")

MODES: Final[dict[str, Mode]] = {
    "NRC_IMAGE": _IMAGE,
    "NIS_IMAGE": _IMAGE,
    "FGS_IMAGE": _IMAGE,
    **dict.fromkeys(
        (
            "NRC_TACQ", "NRC_TACONFIRM", "NRC_FOCUS", "NRC_DARK", "NRC_FLAT", "NRC_LED", "NRC_CORON",
            "NRC_TSIMAGE",
            "NRC_TSGRISM", "NRC_GRISM", "NRC_WFSS", "NIS_TACQ", "NIS_TACONFIRM", "NIS_FOCUS", "NIS_DARK",
            "NIS_LAMP",
            "NIS_EXTCAL", "NIS_AMI", "NIS_WFSS", "NIS_SOSS", "NRS_TACQ", "NRS_TACONFIRM", "NRS_CONFIRM",
            "NRS_VERIFY",
            "NRS_FOCUS", "NRS_DARK", "NRS_LAMP", "NRS_AUTOWAVE", "NRS_AUTOFLAT", "NRS_IMAGE", "NRS_WATA",
            "NRS_MIMF", "NRS_FIXEDSLIT", "NRS_MSASPEC", "NRS_IFU", "NRS_BRIGHTOBJ", "FGS_DARK", "FGS_FOCUS",
            "FGS_SKYFLAT", "FGS_INTFLAT",
        ),
        _RATES,
    ),
    **dict.fromkeys(
        (
            "MIR_IMAGE", "MIR_TACQ", "MIR_TACONFIRM", "MIR_LYOT", "MIR_4QPM", "MIR_LRS-FIXEDSLIT",
            "MIR_LRS-SLITLESS", "MIR_MRS", "MIR_DARKALL", "MIR_DARKIMG", "MIR_DARKMRS", "MIR_FLATIMAGE",
            "MIR_FLATIMAGE-EXT", "MIR_FLATMRS", "MIR_FLATMRS-EXT", "MIR_CORONCAL",
        ),
        _RATES,
    ),
    **dict.fromkeys(
        ("FGS_ID-IMAGE", "FGS_ID-STACK", "FGS_ACQ1", "FGS_ACQ2", "FGS_TRACK", "FGS_FINEGUIDE"),
        Mode("guider"),
    ),
}  # fmt: skip
"""By EXP_TYPE; all that JWST has, with the stages that are built."""


def mode_of(exp_type: str, where: str) -> Mode:
    """Return the road of an EXP_TYPE.

    Parameters
    ----------
    exp_type : str
        Of the exposure.
    where : str
        Name of the exposure, for an error's sentence.

    Raises
    ------
    Unprocessable
        If JWST has no such EXP_TYPE.
    """
    if exp_type not in MODES:
        raise Unprocessable(
            f"{where}: EXP_TYPE = {exp_type!r} is unknown; {suggestion(exp_type, MODES)}"
            if exp_type
            else f"{where}: {lacking(['EXP_TYPE'])}"
        )
    return MODES[exp_type]


def is_miri(keywords: Mapping[str, Any] | Meta) -> bool:
    """Tell whether an exposure is MIRI's, whose detectors are of another kind than all others.

    Parameters
    ----------
    keywords : mapping of str to scalar, or Meta
        INSTRUME of the exposure.
    """
    return str(keywords.get("INSTRUME", "")).upper() == "MIRI"
