"""Plans: which exposures of a program to expect; and whose state an event belongs to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from schemas.canonical import digest
from schemas.events import Event, Frozen, Plan, PlanEvent, PlannedExposure, Scalar
from schemas.keywords import began, ended, event_keywords
from streams.associator import fields
from streams.associator.rules import HORIZON
from streams.associator.state import OF_DETECTOR

_PROGRAM_OF_NAME: Final = re.compile(r"jw(\d{5})")


class Expectation(Frozen):
    """A plan as the reducer takes it: the content of a plan event's file, and what the event says of it.

    Attributes
    ----------
    plan : Plan
        The exposures to expect.
    generation : str
        The event's; of two plans of one campaign the newer one holds.
    campaign : str
        Empty for the standing plan; else the exposures that a campaign sends through again.
    whole : str
        Digest of the whole plan, if this may be a part of it; that of `plan` when empty.
    days : tuple of str
        Of a whole plan, the detectors' days that are told of parts of it.
    """

    plan: Plan
    generation: str
    campaign: str = ""
    whole: str = ""
    days: tuple[str, ...] = ()

    @classmethod
    def of(cls, event: PlanEvent, plan: Plan) -> Expectation:
        """Return what an event announces, given the plan in its file."""
        return cls(plan=plan, generation=event.generation, campaign=event.campaign)

    @property
    def version(self) -> str:
        """Return what orders plans, and the parts of plans alike: ``generation/digest``."""
        return f"{self.generation}/{self.whole or digest(self.plan.model_dump(mode='json'))}"

    @property
    def held(self) -> str:
        """Return what a state remembers of it: its version and its days."""
        return " ".join((self.version, *self.days))

    def part(self, exposures: Iterable[PlannedExposure]) -> Expectation:
        """Return that part of a plan which has these exposures; it is as new as the whole."""
        plan = self.plan.model_copy(update={"exposures": tuple(exposures)})
        whole = self.version.rpartition("/")[2]
        return self.model_copy(update={"plan": plan, "whole": whole, "days": ()})


def days_left(held: str, message: Expectation) -> tuple[tuple[str, Expectation], ...]:
    """Return the detectors' days that only the older one of two plans names, and what to tell them.

    That is the newer plan without any exposure. It is the same whichever of the two comes first: the parts of
    the older one may reach their days last.

    Parameters
    ----------
    held : str
        What a program's state remembers of the plan that holds; empty if there was none.
    message : Expectation
        Another one for that program, and the same campaign.
    """
    if not held:
        return ()
    older, newer = sorted((held, message.held))
    version, *named = newer.split(" ")
    generation, _, whole = version.rpartition("/")
    plan = message.plan.model_copy(update={"exposures": ()})
    nothing = Expectation(plan=plan, generation=generation, campaign=message.campaign, whole=whole)
    return tuple((day, nothing) for day in sorted({*older.split(" ")[1:]} - {*named}))


def program_of(name: str, keywords: Mapping[str, Scalar]) -> str:
    """Return an exposure's program: PROGRAM, else what its name says, else ``00000``.

    The name matters for files that could not be read: their failures carry no keywords.
    """
    match = _PROGRAM_OF_NAME.match(name)
    return fields.program(keywords) or (match[1] if match else "00000")


def route(message: Event | Expectation) -> tuple[str, str]:
    """Return the line and the program of an event or a plan: the state that it belongs to."""
    if isinstance(message, Expectation):
        return message.plan.line, message.plan.program
    return message.line, program_of(message.name, message.keywords)


def detector_days(keywords: Mapping[str, Scalar]) -> list[str]:
    """Return the addresses of the states in which an exposure's persistence counts, its own day's first.

    A state is a detector's for one day, ``nrca1@59780``, so that none grows for ever. An exposure that goes
    on or may still tell after midnight is known on the next days too.

    Parameters
    ----------
    keywords : mapping of str to scalar
        DETECTOR, and what tells when it began and ended.
    """
    start, end, detector = began(keywords), ended(keywords), fields.detector(keywords)
    if start is None or end is None or not detector:
        return []
    days = range(math.floor(start), math.floor(end + HORIZON / 86400) + 1)
    return [f"{detector}{OF_DETECTOR}{day}" for day in days]


def plan_from(exposures: Iterable[tuple[str, Mapping[str, Scalar]]], line: str = "main") -> list[Plan]:
    """Return one plan for each program that exposures belong to, in order of program and name.

    Parameters
    ----------
    exposures : iterable of (str, mapping)
        Name and FITS keywords of each; the same name again is the same exposure.
    line : str, optional
        The line on which they are to come.
    """
    programs: dict[str, dict[str, PlannedExposure]] = {}
    for name, keywords in exposures:
        planned = PlannedExposure(name=name, keywords=event_keywords(keywords))
        programs.setdefault(program_of(name, keywords), {})[name] = planned
    return [
        Plan(line=line, program=program, exposures=tuple(planned[name] for name in sorted(planned)))
        for program, planned in sorted(programs.items())
    ]
