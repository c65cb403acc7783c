"""Events made for tests: no files behind them."""

from __future__ import annotations

from schemas.canonical import digest
from schemas.events import Artifact, FailureEvent, Plan, PlannedExposure, ProductEvent, RecipeReference
from streams.associator import Expectation

IMAGE = {
    "PROGRAM": "01234", "OBSERVTN": "001", "TARGPROP": "M-92", "INSTRUME": "NIRCAM", "DETECTOR": "NRCA1",
    "FILTER": "F200W", "PUPIL": "CLEAR", "SUBARRAY": "FULL", "EXP_TYPE": "NRC_IMAGE", "TSOVISIT": False,
    "VISITYPE": "PRIME_TARGETED_FIXED", "BKGDTARG": False,
}  # fmt: skip
PRODUCT = "jw01234-o001_t-m-92_nircam_clear-f200w"


def generation(number: int) -> str:
    return f"{number:026d}"


def recipe(name: str = "optimal") -> RecipeReference:
    return RecipeReference(name=name, digest=digest(name))


def exposure(number: int, program: str = "01234") -> str:
    return f"jw{program}001001_02101_{number:05d}_nrca1"


def artifact(content: str) -> Artifact:
    return Artifact(
        uri=f"memory:/{content}", size=1, sha256=digest(["file", content]), content=digest(content)
    )


def cal(
    number, born=1, content=None, campaign="", under="optimal", line="main", keywords=IMAGE, suffix="cal"
):
    name = exposure(number, str(keywords.get("PROGRAM", "01234")))
    what = content if content is not None else f"{name}-{born}-{under}"
    return ProductEvent(
        topic="cal", line=line, name=name, suffix=suffix, generation=generation(born), campaign=campaign,
        recipe=recipe(under), keywords=keywords, product=artifact(what), run_key=digest([what, "run"]),
    )  # fmt: skip


def failure(number, born=1, stage="detector1", campaign="", under="optimal", line="main", keywords=IMAGE):
    return FailureEvent(
        line=line, name=exposure(number, str(keywords.get("PROGRAM", "01234"))), suffix="uncal",
        generation=generation(born), campaign=campaign, recipe=recipe(under), keywords=keywords, stage=stage,
        error="Unprocessable", message="all pixels are saturated",
    )  # fmt: skip


def plan(numbers, born=0, campaign="", line="main", keywords=IMAGE):
    program = str(keywords["PROGRAM"])
    exposures = tuple(PlannedExposure(name=exposure(n, program), keywords=keywords) for n in sorted(numbers))
    return Expectation(
        plan=Plan(line=line, program=program, exposures=exposures),
        generation=generation(born),
        campaign=campaign,
    )


def member_names(emission):
    return [member.expname.removesuffix("_cal.fits") for member in emission.association.products[0].members]
