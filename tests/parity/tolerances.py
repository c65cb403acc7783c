"""How close each product of detector1 and ramp_fit is to the peer's under recipe ``baseline``: the one table.

Meant differences:

- ``refpix``: clipped means are formed in double precision here and in single there. Where an exposure has no
  reference pixels, the step is said not to apply here, and to be complete there.
- ``zeroframe``: there it is corrected only if the header says ZEROFRAM; here whenever the file has one.
- Pixels that are DO_NOT_USE have NaN errors and variances here, and 0 there.
- ``rscd``: MIRI's pixels that keep groups because they saturate early are FLUX_ESTIMATED in PIXELDQ there,
  and so in all integrations; here in the rates of those integrations in which they do.
- A pixel that is saturated from the first group on is replaced by its zero frame there, and has no rate here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """Of a corrected ramp."""

    data: float  # DN, largest difference of a sample
    groupdq: float = 0.0  # fraction of samples with any other flag
    pixeldq: float = 0.0  # fraction of pixels with any other flag


@dataclass(frozen=True)
class Rate:
    """Of a rate: at this percentile of pixels that are good in both."""

    percentile: float = 99.9
    data: float = 0.01  # of the peer's error
    err: float = 0.001  # relative
    variance: float = 0.005  # relative
    dq: float = 0.001  # fraction of pixels with any other flag
    good: float = 0.0005  # fraction of pixels that are good in one only


RAMP = {
    "group_scale": Ramp(0.0),
    "dq_init": Ramp(0.0),
    "emicorr": Ramp(0.01),
    "saturation": Ramp(0.0),
    "lastframe": Ramp(0.0),
    "reset": Ramp(0.01),
    "superbias": Ramp(0.0),
    "refpix": Ramp(0.01),
    "linearity": Ramp(0.02),
    "rscd": Ramp(0.02),
    "dark_current": Ramp(0.02),
    "jump": Ramp(0.02, groupdq=1e-5),
}
RATE = {"rateints": Rate(), "rate": Rate()}
