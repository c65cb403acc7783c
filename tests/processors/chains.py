"""An exposure on its way through the pipelines, beside the truth that it was simulated with."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from processors.detector1 import detector1_of
from processors.image2 import IMAGE2
from processors.ramp_fit import RAMP_FIT, average_integrations
from processors.steps import StepSettings
from schemas.reading import read
from simulator.downlink import write_downlink
from streams.references import references_for


@dataclass(frozen=True)
class Chain:
    """One exposure at every level, and its truth."""

    folder: Path
    uncal: Path
    settings: Mapping[str, StepSettings] = field(default_factory=dict)
    """Of the steps that have others than their own."""

    @cached_property
    def raw(self):
        return read(self.uncal)

    @cached_property
    def references(self):
        return references_for(self.raw)

    @cached_property
    def ramp(self):
        return detector1_of(self.raw.meta.primary)(self.raw, self.references, self.settings)

    @cached_property
    def rates(self):
        return RAMP_FIT(self.ramp, self.references)

    @cached_property
    def rate(self):
        return average_integrations(self.rates, self.references)

    @cached_property
    def cal(self):
        return IMAGE2(self.rate, self.references)

    @cached_property
    def sources(self):
        return QTable.read(self.folder / "truth/sources.ecsv")

    def true(self, extension):
        with fits.open(self.folder / "truth" / self.uncal.name.replace("uncal", "truth")) as hdus:
            return np.array(hdus[extension].data)

    def fluxes(self, kind):
        """Where truth is faint, or where it is bright; pixels with nothing to be said against them."""
        truth = self.true("RATE")
        clean = self.rate.dq == 0
        low, high = np.percentile(truth[clean], [50, 97])
        return clean & (truth < low if kind == "low" else truth > high)


def fixtures(cases, settings=None):
    """Return the fixtures `case`, the names of some requests, and `chain`, what becomes of each.

    `settings` has, by case, those of steps that are not to have their own.
    """

    @pytest.fixture(scope="module", params=cases)
    def case(request):
        return request.param

    @pytest.fixture(scope="module")
    def chain(case, tmp_path_factory):
        folder = tmp_path_factory.mktemp(case)
        (uncal,) = write_downlink(cases[case], folder)
        with served(folder):
            yield Chain(folder, uncal, (settings or {}).get(case, {}))

    return case, chain


@contextmanager
def served(folder):
    """CRDS as a user of the folder has it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CRDS_PATH", str(folder / "crds_cache"))
        for variable in ("CRDS_CONTEXT", "CRDS_SERVER_URL"):
            environment.delenv(variable, raising=False)
        yield
