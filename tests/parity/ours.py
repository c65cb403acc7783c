"""What we make of an exposure step by step, under recipe ``baseline`` unless said."""

import pytest

from processors.detector1 import DETECTOR1_MIRI, DETECTOR1_NIR, detector1_of
from processors.ramp_fit import RAMP_FIT, Average
from processors.recipes import effective
from processors.registry import STEPS as ALL
from schemas.reading import read
from schemas.recipe import Recipe
from schemas.references import Window
from streams.references import ReferenceLibrary

STEPS = {step.name: step for step in (*DETECTOR1_NIR.steps, *DETECTOR1_MIRI.steps, *RAMP_FIT.steps)}


def stage1(exposure, keep=True, steps=None, base="baseline"):
    """Return the ramp behind each step by its name (without `keep` only behind jump), and the rates."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CRDS_PATH", str(exposure.crds))
        for variable in ("CRDS_CONTEXT", "CRDS_SERVER_URL"):
            environment.delenv(variable, raising=False)
        product = read(exposure.uncal)
        keywords = {**product.meta.science, **product.meta.primary}
        recipe = Recipe(base=base, steps=steps or {})
        settings = effective(recipe, STEPS, keywords, known=set(ALL) - set(STEPS))
        road = {step.name: step for step in (*detector1_of(keywords).steps, *RAMP_FIT.steps)}
        wanted = {t for name, step in road.items() if not settings[name].skip for t in step.wanted}
        window = Window.of(product.meta.primary, product.shape[2:])
        references = ReferenceLibrary().references(keywords, sorted(wanted), window)
        made = {}
        for name, step in road.items():
            product, _ = step.run(product, references, settings[name])
            if keep or name == "jump":
                made[name] = product
        average = Average(references)
        average.add(product)
        return made | {"rateints": product, "rate": average.result()}
