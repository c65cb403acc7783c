"""Which exposures belong together, as a table of rules in the manner of JWST's association rules.

A rule has roles. Exposures in its first role, the anchor, make the groups: one for each combination of its
key fields. Exposures in another role join every group that agrees in the fields of that role's own, shorter
key: a reference star is observed with the same mask and filter as the science target, but is another target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from schemas.canonical import digest
from schemas.events import Frozen
from streams.associator import fields
from streams.associator.fields import FIELDS, Keywords

Condition = Callable[[Keywords], bool]
"""Says something about an exposure by its keywords."""


@dataclass(frozen=True)
class Role:
    """A part that exposures play in an association.

    Attributes
    ----------
    name : str
        JWST's member type: science, background, psf, sourcecat, ...
    suffixes : tuple of str
        Suffixes of the products that are taken.
    exp_types : tuple of str
        Values of EXP_TYPE, lower case; any when empty.
    key : tuple of str
        Fields that must be defined, and in which members agree.
    optional : tuple of str
        Fields that may be undefined, and in which members agree all the same.
    when, unless : tuple of conditions
        All of `when` and none of `unless` must hold.
    minimum : int
        An association with fewer members in this role never goes out.
    horizon : float
        Where above 0, exposures that began earlier than the group did, and had ended so many seconds before
        at most.
    """

    name: str
    suffixes: tuple[str, ...]
    exp_types: tuple[str, ...]
    key: tuple[str, ...]
    optional: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()
    unless: tuple[Condition, ...] = ()
    minimum: int = 1
    horizon: float = 0.0

    def accepts(self, keywords: Keywords) -> bool:
        """Tell whether an exposure can have this role, whatever its group."""
        return (
            (not self.exp_types or fields.text(keywords, "EXP_TYPE") in self.exp_types)
            and all(condition(keywords) for condition in self.when)
            and not any(condition(keywords) for condition in self.unless)
        )


@dataclass(frozen=True)
class Rule:
    """How exposures are grouped for one stage.

    Attributes
    ----------
    name : str
        JWST's name of the rule.
    stage : str
        The stage that takes the association; also JWST's association type.
    roles : tuple of Role
        The first is the anchor, whose fields are the group's key.
    product : callable
        Product name from the group's fields.
    combines : bool
        Whether the product is of the group, not of one exposure: then a failure of the stage is no member's.
        Groups about one exposure are a detector's, the others a program's.
    """

    name: str
    stage: str
    roles: tuple[Role, ...]
    product: Callable[[Mapping[str, str]], str]
    combines: bool = True


class Place(Frozen):
    """What a rule makes of an exposure: its role, and the fields in which it has to agree with its group.

    Where `horizon` is above 0, it began (`began`, MJD) before the group, and had ended (`ended`, MJD; empty
    in what was remembered by versions that did not ask) so many seconds before at most.
    """

    rule: str
    role: str
    anchor: bool
    fields: Mapping[str, str]
    began: str = ""
    ended: str = ""
    horizon: float = 0.0

    def joins(self, rule: str, group: Mapping[str, str]) -> bool:
        """Tell whether an exposure in this place is a member of a group of a rule."""
        agrees = self.rule == rule and all(group.get(n) == value for n, value in self.fields.items())
        if not agrees or self.horizon <= 0:
            return agrees
        moment = float(group["began"])
        return moment > float(self.began) and (
            (moment - float(self.ended or self.began)) * 86400 <= self.horizon
        )


@dataclass(frozen=True)
class Refusal:
    """Why a rule cannot place an exposure that it is meant for."""

    rule: str
    stage: str
    reason: str


def dms_name(group: Mapping[str, str]) -> str:
    """Return a product name as the archive composes them, ``jw01234-o001_t001_nircam_clear-f200w-sub160``.

    Optical elements are sorted, ``clear`` stands for none, and the full array is not named.
    """
    optics = "-".join(sorted(filter(None, (group.get("filter"), group.get("pupil"))))) or "clear"
    subarray = group.get("subarray", "full")
    tail = "" if subarray in ("", "full") else f"-{subarray}"
    head = f"jw{group['program']}-{group['candidate']}_{group['target']}"
    return f"{head}_{group['instrument']}_{optics}{tail}"


IMAGE3: Final = Rule(
    name="Asn_Lv3Image",
    stage="image3",
    roles=(
        Role(
            name="science",
            suffixes=("cal",),
            exp_types=("nrc_image", "nis_image", "mir_image", "fgs_image"),
            key=("program", "candidate", "target", "instrument", "subarray"),
            optional=("filter", "pupil"),
            unless=(fields.is_time_series, fields.is_background, fields.is_wavefront_sensing),
        ),
    ),
    product=dms_name,
)
"""Images of one target in one observation, through one filter on one subarray, whatever the detector."""

HORIZON: Final = 7200.0
"""Seconds after its end for which an exposure is taken to leave persistence; the step may look at less."""

PERSISTENCE: Final = Rule(
    name="Persistence",
    stage="ramp_fit",
    roles=(
        Role(name="science", suffixes=("ramp",), exp_types=(), key=("detector", "exposure", "began")),
        Role(
            name="persistence",
            suffixes=("persistence",),
            exp_types=(),
            key=("detector",),
            minimum=0,
            horizon=HORIZON,
        ),
    ),
    product=lambda group: group["exposure"],
    combines=False,
)
"""A ramp, and the histories of the exposures before it on its detector; no program is asked for."""

RULES: Final = (IMAGE3, PERSISTENCE)
"""Every rule."""

PROGRAM_RULES: Final = tuple(rule for rule in RULES if rule.combines)
"""Those by which a program's exposures are combined."""


def places(
    keywords: Keywords, suffix: str | None = None, rules: Iterable[Rule] = PROGRAM_RULES, name: str = ""
) -> tuple[tuple[Place, ...], tuple[Refusal, ...]]:
    """Return where the rules put an exposure, and which of them lack a keyword to do so.

    Parameters
    ----------
    keywords : mapping of str to scalar
        FITS keywords.
    suffix : str, optional
        Suffix of the product; when absent, the products that are to come of the exposure.
    rules : iterable of Rule, optional
        The rules to apply; those that combine exposures when absent.
    name : str, optional
        Of the exposure, for rules that are about one.
    """
    keywords = {**keywords, fields.NAME: name} if name else keywords
    found: list[Place] = []
    refused: list[Refusal] = []
    for rule in rules:
        for role in rule.roles:
            if (suffix is None or suffix in role.suffixes) and role.accepts(keywords):
                values = {name: FIELDS[name][0](keywords) for name in (*role.key, *role.optional)}
                missing = [FIELDS[name][1] for name in role.key if not values[name]]
                if missing:
                    refused.append(_refusal(rule, missing))
                else:
                    anchor = role is rule.roles[0]
                    place = Place(rule=rule.name, role=role.name, anchor=anchor, fields=values)
                    found.append(_timed(place, role, keywords) if role.horizon > 0 else place)
    return tuple(found), tuple(refused)


def _timed(place: Place, role: Role, keywords: Keywords) -> Place:
    times = {"began": fields.beginning(keywords), "ended": fields.ending(keywords)}
    return place.model_copy(update={**times, "horizon": role.horizon})


def group_id(line: str, rule: str, group: Mapping[str, str]) -> str:
    """Return the association id of a group: the same for one line, rule and fields, whatever its members."""
    return digest({"line": line, "rule": rule, "fields": group})[:32]


def _refusal(rule: Rule, missing: list[str]) -> Refusal:
    lacking = " and ".join(missing)
    reason = f"{rule.stage} groups exposures by {lacking}, which is not set; set it in the header"
    return Refusal(rule=rule.name, stage=rule.stage, reason=reason)
