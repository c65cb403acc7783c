"""Two small steps, and what a lab has in their place, for recipes to speak of."""

from __future__ import annotations

from typing import Any, Literal

from processors.options import Options, option
from processors.recipes import effective
from processors.steps import step
from schemas.recipe import Recipe


class FirstOptions(Options):
    threshold: float = option(4.0, gt=0, unit="sigma", doc="what counts")
    method: Literal["best", "two_point"] = option("best", doc="how")
    widths: tuple[int, ...] = option((1, 2), unit="pixel", doc="where")


class SecondOptions(Options):
    flag: bool = option(True, doc="whether")


class LabOptions(Options):
    speed: int = option(1, ge=1, doc="the lab's own")


@step(options=FirstOptions, references=("gain", "readnoise"), status="S_FIRST")
def first(product: Any, references: Any, options: FirstOptions) -> Any:
    return product


@step(options=SecondOptions)
def second(product: Any, references: Any, options: SecondOptions) -> Any:
    return product


@step(options=LabOptions, references=("flat",))
def lab_step(product: Any, references: Any, options: LabOptions) -> Any:
    return product


def lab_function(product: Any, references: Any, options: FirstOptions) -> Any:
    return product


TOY = {"first": first, "second": second}
KEYWORDS = {"INSTRUME": "NIRCAM", "DETECTOR": "NRCA1", "FILTER": "F200W", "NGROUPS": 10, "BKGDTARG": False}


def settle(steps: dict | None = None, *, set_: dict | None = None, crds: dict | None = None, **fields: Any):
    recipe = Recipe(steps=steps or {}, **fields)
    return effective(
        recipe, TOY, KEYWORDS, crds_parameters=crds, command_line=set_, resolve=fields.pop("resolve", None)
    )
