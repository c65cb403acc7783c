"""From corrected ramps to count rates.

``RAMP_FIT`` makes the rates of the integrations; :class:`Average`, or the step ``average_integrations``,
makes the exposure's rate of them.
"""

from processors.pipelines import Pipeline
from processors.ramp_fit.average import Average, average_integrations, without_integrations
from processors.ramp_fit.clean_flicker_noise_rate import clean_flicker_noise_rate
from processors.ramp_fit.fit import ramp_fit
from processors.ramp_fit.gain_scale import gain_scale
from processors.ramp_fit.persistence import persistence

RAMP_FIT = Pipeline("ramp_fit", (persistence, ramp_fit, gain_scale, clean_flicker_noise_rate))

__all__ = [
    "RAMP_FIT",
    "Average",
    "average_integrations",
    "clean_flicker_noise_rate",
    "gain_scale",
    "persistence",
    "ramp_fit",
    "without_integrations",
]
