"""Every event of an exposure and of what it went into, in the order in which they were published."""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.associations import Association, read_association
from schemas.errors import CalstreamError, Unprocessable, UsageError
from schemas.events import Artifact, AssociationEvent, Event, FailureEvent, ProductEvent, parse_event
from schemas.manifests import Manifest
from schemas.naming import LEVELS, exposure_name
from streams.bus import Bus, Message
from streams.store import Store
from streams.topics import ASSOCIATION, FAILURES, is_dead_letters

_EVER: Final = float("inf")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """An event of the road.

    Attributes
    ----------
    time : float
        When it was published, seconds since 1970.
    topic, line, name, suffix : str
        Where it was published, and whose it is.
    stage : str
        Who did it; ``ingest`` for a root, ``associator`` for an association.
    outcome : str
        ``arrived``, ``complete``, ``cached``, ``failed``, ``dead letter``, or an association's completeness.
    sentence : str
        Why it failed; of an association how many members it has.
    seconds : float, optional
        How long the run took, where it was computed for this event.
    run_key, generation, campaign : str
        As the event says.
    quality : mapping of str to float
        Quality figures (see `schemas.quality`).
    """

    time: float
    topic: str
    line: str
    name: str
    suffix: str
    stage: str
    outcome: str
    sentence: str = ""
    seconds: float | None = None
    run_key: str = ""
    generation: str = ""
    campaign: str = ""
    quality: Mapping[str, float | None] = field(default_factory=dict)


def trace(bus: Bus, store: Store, name: str, line: str | None = None) -> list[Trace]:
    """Return every event of an exposure (or product) and of what it went into, in order of time.

    Associations and products that have it as an input are followed to the end of the road, failures and dead
    letters too.

    Parameters
    ----------
    bus, store : Bus, Store
        Where events, and association files and manifests are.
    name : str
        Product name, or a file's name.
    line : str, optional
        All lines when absent.

    Raises
    ------
    UsageError
        If no event speaks of it.
    """
    plain = exposure_name(name) if "." in name else name.lower()
    search = _Search(bus=bus, store=store, name=plain, line=line)
    found = search.run()
    if not found:
        raise _unknown(plain, line, search)
    return sorted(found, key=lambda one: one.time)


@dataclass(kw_only=True)
class _Search:
    """Follows a name down the road; topics are read again as long as more belongs to it."""

    bus: Bus
    store: Store
    name: str
    line: str | None
    identities: set[str] = field(default_factory=set)  # of its products, and of what they went into
    files: dict[str, Association | None] = field(default_factory=dict)  # by sha256
    ours: set[str] = field(default_factory=set)  # sha256 of the associations that they are in
    programs: set[str] = field(default_factory=set)
    manifests: dict[str, Manifest | None] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    lines: set[str] = field(default_factory=set)
    newest: float = _EVER  # when the first event was published that the last pass has added

    def run(self) -> list[Trace]:
        """Return what was found."""
        found: dict[tuple[str, int, int], Trace] = {}
        since = -_EVER
        while since < _EVER:
            self.newest = _EVER
            for topic in self._topics():
                for message in self._messages(topic, since):
                    for one in self._take(message):
                        found[message.topic, message.partition, message.offset] = one
            since = self.newest  # what is made from something comes after it
        return list(found.values())

    def _topics(self) -> list[str]:
        letters = [topic for topic in self.bus.topics() if is_dead_letters(topic)]
        *levels, combined = LEVELS
        return [*levels, ASSOCIATION, combined, FAILURES, *letters]  # so that one pass mostly finds all

    def _messages(self, topic: str, since: float) -> Iterator[Message]:
        """Yield the messages of a topic that may be ours, most of which need not be parsed for it."""
        wanted, known = self._pattern(), self._known()
        for message in self.bus.read(topic, since):
            if known != self._known():
                wanted, known = self._pattern(), self._known()
            if topic in LEVELS:
                self.names.add(message.key)
            if topic == ASSOCIATION or message.key == self.name or wanted.search(message.value):
                yield message

    def _known(self) -> int:
        return len(self.identities) + len(self.ours)

    def _pattern(self) -> re.Pattern[bytes]:
        names = {self.name, *(identity.split("/")[1] for identity in self.identities)}
        return re.compile(b"|".join(re.escape(text.encode()) for text in sorted(names | self.ours)))

    def _take(self, message: Message) -> Iterator[Trace]:
        try:
            event = parse_event(message.value)
        except Unprocessable:
            if message.key == self.name and is_dead_letters(message.topic):
                yield self._letter(message, None)
            return
        if event.name == self.name:
            self.lines.add(event.line)
        if self.line in (None, event.line) and self._concerns(event):
            if is_dead_letters(message.topic):
                yield self._letter(message, event)
            else:
                self._follow(event, message.timestamp)
                yield from self._told(message, event)

    def _concerns(self, event: Event) -> bool:
        if event.name == self.name:
            return True
        if isinstance(event, AssociationEvent):
            return self._is_member(event)
        if isinstance(event, ProductEvent):
            by_file = event.association is not None and event.association.sha256 in self.ours
            return by_file or any(self._is_ours(item.identity) for item in event.inputs)
        return event.identity in self.identities

    def _is_ours(self, identity: str) -> bool:
        line, _, rest = identity.partition("/")
        own = rest.partition("/")[0] == self.name and self.line in (None, line)
        return own or identity in self.identities

    def _is_member(self, event: AssociationEvent) -> bool:
        if self.programs and event.program not in self.programs:
            return False  # associations never span programs
        there = self._association(event.association)
        members = [] if there is None else [m.identity for p in there.products for m in p.members]
        return any(self._is_ours(identity) for identity in members)

    def _follow(self, event: Event, time: float) -> None:
        before = self._known()
        if event.name == self.name:
            self.programs.add(event.program)
        self.identities.add(event.identity)
        if isinstance(event, AssociationEvent):
            self.ours.add(event.association.sha256)
        elif isinstance(event, ProductEvent) and (manifest := self._manifest(event)) is not None:
            self.identities.update(f"{event.line}/{one.name}/{one.suffix}" for one in manifest.products)
        if self._known() > before and event.name != self.name:  # its own name is looked for anyhow
            self.newest = min(self.newest, time)

    def _told(self, message: Message, event: Event) -> Iterator[Trace]:
        common = _common(message, event)
        if isinstance(event, ProductEvent):
            manifest = self._manifest(event)
            new = manifest is not None and event.outcome == "complete"
            yield Trace(
                **common,
                stage=event.stage or "ingest",
                outcome=event.outcome if event.stage else "arrived",
                seconds=manifest.timing.get("seconds") if manifest is not None and new else None,
                run_key=event.run_key,
                quality=event.quality,
            )
        elif isinstance(event, AssociationEvent):
            sentence = f"{event.members} member{'' if event.members == 1 else 's'} for {event.stage}"
            yield Trace(**common, stage="associator", outcome=event.completeness, sentence=sentence)
        elif isinstance(event, FailureEvent):
            sentence = f"{event.error}: {event.message}"
            yield Trace(**common, stage=event.stage, outcome="failed", sentence=sentence)

    def _letter(self, message: Message, event: Event | None) -> Trace:
        said = {name: message.headers.get(f"dlq.{name}", "") for name in ("error", "message", "service")}
        bare: dict[str, Any] = {
            "time": message.timestamp, "topic": message.topic, "line": "", "name": message.key, "suffix": "",
        }  # fmt: skip
        return Trace(
            **(bare if event is None else _common(message, event)),
            stage=said["service"],
            outcome="dead letter",
            sentence=": ".join(text for text in (said["error"], said["message"]) if text),
        )

    def _association(self, artifact: Artifact) -> Association | None:
        if artifact.sha256 not in self.files:
            self.files[artifact.sha256] = None
            with contextlib.suppress(CalstreamError), self.store.fetch(artifact) as path:
                self.files[artifact.sha256] = read_association(path)
        return self.files[artifact.sha256]

    def _manifest(self, event: ProductEvent) -> Manifest | None:
        if event.manifest is None:
            return None
        if event.run_key not in self.manifests:
            self.manifests[event.run_key] = None
            with (
                contextlib.suppress(CalstreamError, ValueError),
                self.store.fetch(event.manifest) as path,
            ):
                self.manifests[event.run_key] = Manifest.model_validate(json.loads(path.read_bytes()))
        return self.manifests[event.run_key]


def _common(message: Message, event: Event) -> dict[str, Any]:
    return {
        "time": message.timestamp,
        "topic": message.topic,
        "line": event.line,
        "name": event.name,
        "suffix": event.suffix,
        "generation": event.generation,
        "campaign": event.campaign,
    }


def _unknown(name: str, line: str | None, search: _Search) -> UsageError:
    if line is not None and search.lines:
        known = ", ".join(sorted(search.lines))
        return UsageError(f"no event of line {line!r} speaks of {name!r}; it is on the line {known}")
    near = _near(name, search.names)
    guess = f"did you mean {' or '.join(near)}?" if near else "`calstream topics` shows what has come in"
    return UsageError(f"no event speaks of {name!r}; {guess}")


def _near(name: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.7)
