"""Events: what travels on a topic, one for each run; a claim check, never pixels.

On the wire an event is JSON of at most 16 KiB. Kinds, suffixes, roles and outcomes are open strings there,
and unknown fields are ignored, so that older and newer services understand each other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from ulid import ULID

from schemas.canonical import canonical_tree, digest
from schemas.errors import Unprocessable

MAX_BYTES: Final = 16 * 1024
"""The longest event."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,128}$")]
Generation = Annotated[str, StringConstraints(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Scalar = str | int | Finite | bool
Figure = Annotated[float | None, BeforeValidator(lambda value: None if _undefined(value) else value)]
"""A quality figure; None where it is not defined, which JSON cannot say as NaN."""


def _undefined(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


class Frozen(BaseModel):
    """Unchangeable, and tolerant of fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")


class Artifact(Frozen):
    """A file by claim check.

    Attributes
    ----------
    uri : str
        Where it is.
    size : int
        Its length in bytes.
    sha256 : str
        Of its bytes.
    content : str
        Content digest of the product in it; empty for files that are no product.
    """

    uri: str
    size: int = Field(ge=0)
    sha256: Sha256
    content: str = ""


class Input(Frozen):
    """What a run was made from.

    Attributes
    ----------
    role : str
        JWST's: science, background, psf, sourcecat, ...
    identity : str
        ``line/name/suffix``.
    digest : str
        Content digest.
    uri : str
        Where the file is.
    """

    role: str
    identity: str
    digest: Sha256
    uri: str


class RecipeReference(Frozen):
    """The recipe that an event is to be processed under, frozen in the store under its digest."""

    name: str
    digest: Sha256


class Event(Frozen):
    """What all events have.

    Attributes
    ----------
    kind : str
        ``product``, ``association``, ``plan`` or ``failure``.
    topic : str
        Where it is published.
    line : str
        The stream of work that it belongs to.
    name, suffix : str
        Product name and suffix; with `line`, the identity.
    generation : str
        ULID of the root event, inherited; the largest of the members' for an association.
    campaign : str
        The replay that it belongs to, or empty.
    recipe : RecipeReference
        What to process it under.
    handler : str
        Who may take it: ``builtin``, or the name of a replacement service.
    keywords : mapping of str to scalar
        FITS keywords, those of :data:`schemas.keywords.EVENT_KEYWORDS`.
    """

    kind: str
    topic: str
    line: str = "main"
    name: Name
    suffix: str
    generation: Generation
    campaign: str = ""
    recipe: RecipeReference
    handler: str = "builtin"
    keywords: Mapping[str, Scalar] = Field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Return ``line/name/suffix``."""
        return f"{self.line}/{self.name}/{self.suffix}"

    @property
    def id(self) -> str:
        """Return an id that is the same whenever the same is said again."""
        return digest({"type": self.kind, "topic": self.topic, "what": self._said()})[:32]

    @property
    def key(self) -> str:
        """Return the key by which its topic is partitioned."""
        return self.name

    @property
    def exp_type(self) -> str:
        """Return EXP_TYPE, or an empty string."""
        return str(self.keywords.get("EXP_TYPE", ""))

    @property
    def program(self) -> str:
        """Return PROGRAM as five digits, the key of plans and members."""
        return str(self.keywords.get("PROGRAM", "0")).strip().zfill(5)

    def to_bytes(self) -> bytes:
        """Return the event as JSON.

        Raises
        ------
        Unprocessable
            If it is longer than 16 KiB, or holds what is not Unicode.
        """
        try:
            text = canonical_tree(self.model_dump(mode="json")).encode()
        except UnicodeEncodeError as error:
            odd = error.object[error.start : error.end]
            raise Unprocessable(
                f"{self.name}: its event holds {odd!r}, which is not Unicode; rename the file that it names"
            ) from None
        if len(text) > MAX_BYTES:
            raise Unprocessable(
                f"{self.name}: its event has {len(text)} bytes, more than {MAX_BYTES}; list its inputs in an "
                "association's file"
            )
        return text

    def with_(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return type(self).model_validate({**self.model_dump(), **changes})

    def _said(self) -> Any:
        return [self.identity, self.generation, self.campaign, self.recipe.digest, self.handler]


class ProductEvent(Event):
    """One run of a stage, or the arrival of a raw exposure.

    Attributes
    ----------
    product : Artifact
        The primary product.
    manifest : Artifact, optional
        The file that lists all products of the run; a raw exposure has none.
    inputs : tuple of Input
        What it was made from; empty when `association` says it.
    input_count : int
        How many inputs there were, whoever lists them.
    association : Artifact, optional
        The association's JSON file.
    stage, run_key : str
        Who made it, and the key of its run.
    outcome : str
        ``complete``, or ``cached`` when the run had been done before.
    quality : mapping of str to float
        Quality figures.
    """

    kind: str = "product"
    product: Artifact
    manifest: Artifact | None = None
    inputs: tuple[Input, ...] = ()
    input_count: int = Field(default=0, ge=0)
    association: Artifact | None = None
    stage: str = ""
    run_key: str = ""
    outcome: str = "complete"
    quality: Mapping[str, Figure] = Field(default_factory=dict)

    def _said(self) -> Any:
        return [super()._said(), self.run_key, self.product.content, self.input_count]


class AssociationEvent(Event):
    """Exposures that a stage is to process together; published on the topic ``association``.

    Attributes
    ----------
    association : Artifact
        The association as JWST's JSON, with identity, digest and URI of each member.
    stage : str
        Which stage is to take it: image3, spec3, ...
    association_id : str
        Deterministic: the same for the same rule, line and group of exposures, whoever the members are.
    members : int
        How many there are.
    completeness : str
        ``complete``, ``partial``, or ``unknown`` when no plan said what to expect.
    """

    kind: str = "association"
    topic: str = "association"
    association: Artifact
    stage: str
    association_id: str
    members: int = Field(ge=1)
    completeness: str = "unknown"

    @property
    def key(self) -> str:
        """Return the association's id."""
        return self.association_id

    def _said(self) -> Any:
        return [super()._said(), self.association.sha256, self.stage, self.completeness]


class PlanEvent(Event):
    """Which exposures of a program to expect; published on the topic ``plan``.

    Attributes
    ----------
    plan : Artifact
        JSON file: a :class:`Plan`.
    """

    kind: str = "plan"
    topic: str = "plan"
    suffix: str = "plan"
    plan: Artifact

    @property
    def key(self) -> str:
        """Return the program."""
        return self.program

    def _said(self) -> Any:
        return [super()._said(), self.plan.sha256]


class FailureEvent(Event):
    """A run that failed for good; published on the topic ``failures``.

    Attributes
    ----------
    stage : str
        Where it failed.
    error, message : str
        Class of the error, and its sentence.
    event_id : str
        Of the event that could not be processed.
    """

    kind: str = "failure"
    topic: str = "failures"
    stage: str
    error: str
    message: str
    event_id: str = ""

    def _said(self) -> Any:
        return [super()._said(), self.stage, self.event_id, self.message]


class UnknownEvent(Event):
    """An event of a kind that this version does not know: all that it says is kept, and forwarded."""

    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="null")

    def _said(self) -> Any:
        return self.model_dump(mode="json")


class PlannedExposure(Frozen):
    """One exposure that is to come: its name, and the keywords by which it is grouped."""

    name: Name
    keywords: Mapping[str, Scalar] = Field(default_factory=dict)


class Plan(Frozen):
    """The exposures of one program that are to come, on one line."""

    line: str = "main"
    program: str
    exposures: tuple[PlannedExposure, ...]


KINDS: Final[Mapping[str, type[Event]]] = {
    "product": ProductEvent,
    "association": AssociationEvent,
    "plan": PlanEvent,
    "failure": FailureEvent,
}


def parse_event(content: bytes) -> Event:
    """Return the event in a message's value.

    An unknown kind is read as an :class:`UnknownEvent`, so that whoever forwards it loses nothing.

    Raises
    ------
    Unprocessable
        If the bytes are no event, or too many.
    """
    start = f"a message of {len(content)} bytes is no calstream event: "
    if len(content) > MAX_BYTES:
        raise Unprocessable(f"{start}an event has at most {MAX_BYTES}; send the URI of a file instead")
    try:
        tree = json.loads(content)
        if b"\\" in content or not content.isascii():
            json.dumps(tree, ensure_ascii=False).encode()  # JSON can spell what is not Unicode
        kind = KINDS.get(tree.get("kind", ""), UnknownEvent)
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = f"{place}: {first['msg']}"
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
    raise Unprocessable(f"{start}{reason}; publish what the JSON Schemas in schemas/json describe")


def next_generation(now: float, known: str | None = None) -> str:
    """Return a generation larger than the clock's, and than the largest one known.

    Parameters
    ----------
    now : float
        Seconds since 1970.
    known : str, optional
        The largest generation known for the identity: clocks go back.
    """
    fresh = ULID.from_timestamp(float(now))  # an int would be taken for milliseconds
    if known and int(ULID.from_str(known)) >= int(fresh):
        fresh = ULID.from_int(int(ULID.from_str(known)) + 1)
    return str(fresh)


def is_current(candidate: ProductEvent, other: ProductEvent) -> bool:
    """Tell whether `candidate` is at least as current as `other` of the same identity.

    Current is the highest (generation, number of inputs, run key): any reader computes it from events alone,
    in any order.
    """
    return _rank(candidate) >= _rank(other)


def _rank(event: ProductEvent) -> tuple[str, int, str]:
    return event.generation, event.input_count, event.run_key
