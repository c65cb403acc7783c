"""Data quality bits, with the values that JWST files carry.

Source: the table "Data Quality Flags" of the JWST calibration pipeline's documentation (``dqflags`` of
stdatamodels).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray


class DQ(IntFlag):
    """Bits of PIXELDQ, DQ and (the first eight) GROUPDQ."""

    GOOD = 0
    DO_NOT_USE = 1 << 0
    SATURATED = 1 << 1
    JUMP_DET = 1 << 2
    DROPOUT = 1 << 3
    OUTLIER = 1 << 4
    PERSISTENCE = 1 << 5
    AD_FLOOR = 1 << 6
    CHARGELOSS = 1 << 7
    RESERVED = 1 << 8
    NON_SCIENCE = 1 << 9
    DEAD = 1 << 10
    HOT = 1 << 11
    WARM = 1 << 12
    LOW_QE = 1 << 13
    RC = 1 << 14
    TELEGRAPH = 1 << 15
    NONLINEAR = 1 << 16
    BAD_REF_PIXEL = 1 << 17
    NO_FLAT_FIELD = 1 << 18
    NO_GAIN_VALUE = 1 << 19
    NO_LIN_CORR = 1 << 20
    NO_SAT_CHECK = 1 << 21
    UNRELIABLE_BIAS = 1 << 22
    UNRELIABLE_DARK = 1 << 23
    UNRELIABLE_SLOPE = 1 << 24
    UNRELIABLE_FLAT = 1 << 25
    OPEN = 1 << 26
    ADJ_OPEN = 1 << 27
    FLUX_ESTIMATED = 1 << 28
    MSA_FAILED_OPEN = 1 << 29
    OTHER_BAD_PIXEL = 1 << 30
    REFERENCE_PIXEL = 1 << 31


ALIASES = {"UNDERSAMP": DQ.CHARGELOSS, "UNRELIABLE_ERROR": DQ.RESERVED}
"""Names that reference files of other years use for the same bits."""


def translate(dq: NDArray[np.integer], definitions: Mapping[int, str]) -> NDArray[np.uint32]:
    """Translate a reference file's own bits into the standard ones.

    Parameters
    ----------
    dq : ndarray of integer
        Flags as the file stores them.
    definitions : mapping of int to str
        Value of each of the file's bits, and the name that its ``DQ_DEF`` table gives it. A name that is not
        known is left out, as JWST's own software does.

    Returns
    -------
    ndarray of uint32, shape of ``dq``
    """
    stored = dq.astype(np.uint32, copy=False)
    used = int(np.bitwise_or.reduce(stored, axis=None))
    bits = {
        v: DQ.__members__.get(name, ALIASES.get(name, DQ.GOOD)) for v, name in definitions.items() if v & used
    }
    standard = stored & np.uint32(sum(value for value, bit in bits.items() if value == bit))
    for value, bit in bits.items():
        if bit not in (value, DQ.GOOD):
            standard[(stored & np.uint32(value)) != 0] |= np.uint32(bit)
    return standard
