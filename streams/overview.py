"""One look at a pipeline, from its bus alone: who has what to do, how fast it goes, what is wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from streams.bus import Bus, Position
from streams.roster import Service, services
from streams.topics import ASSOCIATION, FAILURES, LOOKS_ON, MEMBERS, PLAN, READERS, SETTLED, is_dead_letters

WINDOW: Final = 60.0
"""Seconds over which rates are taken."""

_ROAD: Final = (PLAN, "raw", "ramp", "rate", "cal", MEMBERS, ASSOCIATION, "combined", FAILURES)
_PUBLISHES: Final[Mapping[str, tuple[str, ...]]] = {
    "detector1": ("ramp", "rate", "cal"),  # the second one where it is fused, the third from guiders
    "ramp_fit": ("rate",),
    "image2": ("cal",),
    "image3": ("combined",),
}
_FIRST: Final = float("-inf")
_END: Final = float("inf")
_ETERNITY: Final = 1e10
_MOMENT: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A topic and who reads it.

    Attributes
    ----------
    topic, group : str
        Names; the group is empty where nobody reads.
    messages : int
        How many the topic holds.
    arriving : float
        Messages a second that were published on it in the last minute.
    done : int
        Messages that the group is through with, ever.
    lag : int
        Messages that it is not through with.
    rate : float
        Messages a second that it got through with in the last minute.
    in_work : int
        What its services compute now.
    oldest : float, optional
        For how many seconds its oldest message waits; None without lag.
    dead_letters : int
        Messages of the topic that it could not process, and of which nobody has disposed.
    """

    topic: str
    group: str = ""
    messages: int = 0
    arriving: float = 0.0
    done: int = 0
    lag: int = 0
    rate: float = 0.0
    in_work: int = 0
    oldest: float | None = None
    dead_letters: int = 0

    @property
    def eta(self) -> float | None:
        """Return the seconds after which the lag is gone at this rate; None when there is none."""
        return self.lag / self.rate if self.lag and self.rate else None


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A pipeline at one moment.

    Attributes
    ----------
    time : float
        Seconds since 1970.
    readings : tuple of Reading
        In the order of the road.
    services : tuple of Service
        Those that run, and those that are missed, in the order of the road.
    failures : int
        Runs that failed for good, ever.
    recent_failures : int
        Those of the last minute.
    dead_letters : int
        On all topics.
    still : bool
        Whether nothing was published while all this was looked up, so that its parts fit together.
    """

    time: float
    readings: tuple[Reading, ...]
    services: tuple[Service, ...]
    failures: int = 0
    recent_failures: int = 0
    dead_letters: int = 0
    still: bool = True

    @property
    def open(self) -> int:
        """Return how many associations wait for members."""
        return sum(service.record.open for service in self.services if service.live)

    @property
    def in_work(self) -> int:
        """Return how many runs are computed now."""
        return sum(len(service.record.in_work) for service in self.services if service.live)

    def reading(self, topic: str, group: str) -> Reading | None:
        """Return what was seen of a topic and a group, or None."""
        return next((row for row in self.readings if (row.topic, row.group) == (topic, group)), None)


def look(
    bus: Bus,
    readers: Mapping[str, Sequence[str]] = READERS,
    *,
    past: Sequence[Overview] = (),
    times: bool = True,
    now: float | None = None,
) -> Overview:
    """Return a pipeline as it is now; only short topics are read for it: of services and settled letters.

    Parameters
    ----------
    bus : Bus
        With all topics there.
    readers : mapping of str to sequence of str, optional
        What each consumer group reads; those that publish for others come first.
    past : sequence of Overview, optional
        Looks of the last minute, the latest one last, from which rates of groups are worked out; without them
        they are taken from what the groups publish.
    times : bool, optional
        Whether ages and rates are wanted, which take most of the time; :func:`idle` does without them.
    now : float, optional
        Seconds since 1970.
    """
    moment = time.time() if now is None else now
    sight = _Sight(
        bus=bus,
        now=moment,
        topics={name: _measure(bus, name, moment if times else None) for name in _ROAD},
        through={group: bus.committed(group, wanted) for group, wanted in readers.items()},
        services=services(bus, moment),  # after the lags: what left a topic may be in a service's hands
        letters=_letters(bus),
        past=past,
        times=times,
    )
    used = [topic for topic in _ROAD if topic != MEMBERS or sight.topics[topic].messages]  # by Kafka only
    rows = [sight.row(topic, group) for topic in used for group in _readers_of(topic, readers)]
    return Overview(
        time=moment,
        readings=tuple(rows),
        services=tuple(by_road(sight.services)),
        failures=sight.topics[FAILURES].messages,
        recent_failures=sight.topics[FAILURES].recent,
        dead_letters=sum(sight.letters.values()),
        still=all(bus.offsets_at(name, _END) == topic.ends for name, topic in sight.topics.items()),
    )


def by_road(found: Iterable[Service]) -> list[Service]:
    """Return services in the order of the road; those that read nothing, as ingest, come first."""
    road = list(READERS)
    return sorted(found, key=lambda service: road.index(service.group) if service.group in road else -1)


def busy(overview: Overview, *, waiting_counts: bool = True) -> str:
    """Return what a pipeline still has to do, as a sentence; an empty one when it is idle.

    Parameters
    ----------
    overview : Overview
        A look at it.
    waiting_counts : bool, optional
        Whether associations that wait for members are something to do.
    """
    late = [row for row in overview.readings if row.lag]
    working = [row for row in late if (row.group, row.topic) not in LOOKS_ON]
    behind = [f"{row.group} has {row.lag} of {row.topic}" for row in working or late]
    if behind:
        return f"there is work left: {', '.join(behind)}"
    if overview.in_work:
        return f"{overview.in_work} in work"
    if waiting_counts and overview.open:
        return f"associations wait for members: {overview.open}"
    if not overview.still:
        return "events come"
    return _unready(overview.services)


def idle(overview: Overview) -> bool:
    """Tell whether all is done and nothing can come by itself.

    No lag, nothing in work, no association open, no ingest that watches, every service ready.
    """
    return not busy(overview)


def _unready(found: Sequence[Service]) -> str:
    live = [service for service in found if service.live]
    if not live:
        return "no service runs"
    for service in live:
        if service.state == "watching":
            return f"{service.record.service} watches for files"
        if service.state != "ready":
            return f"{service.record.service} is {service.state}"
    groups = {service.group for service in live}
    for service in found:
        if service.lost and service.group in READERS and service.group not in groups:
            return f"{service.record.service} is {service.lost}"
    return ""


@dataclass(frozen=True, kw_only=True)
class _Measured:
    firsts: Mapping[Position, int]
    ends: Mapping[Position, int]
    messages: int
    recent: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class _Sight:
    """All that was looked up."""

    bus: Bus
    now: float
    topics: Mapping[str, _Measured]
    through: Mapping[str, Mapping[Position, int]]
    services: Sequence[Service]
    letters: Mapping[tuple[str, str], int]
    past: Sequence[Overview]
    times: bool

    def row(self, topic: str, group: str) -> Reading:
        """Return what is known of a topic and a group, or nobody, that reads it."""
        there = self.topics[topic]
        bare = Reading(topic=topic, messages=there.messages, arriving=there.rate)
        if not group:
            return bare
        offsets = {at: offset for at, offset in self.through[group].items() if at[0] == topic}
        left = {at: max(offset, there.firsts[at]) for at, offset in offsets.items()}
        lag, done = self.bus.count(left, there.ends), self.bus.count({}, offsets)
        return replace(
            bare,
            group=group,
            done=done,
            lag=lag,
            rate=self._rate(topic, group, done),
            in_work=sum(len(s.record.in_work) for s in self.services if s.live and s.group == group),
            oldest=self._oldest(topic, group, offsets) if lag and self.times else None,
            dead_letters=self.letters.get((topic, group), 0),
        )

    def _oldest(self, topic: str, group: str, offsets: Mapping[Position, int]) -> float | None:
        last = self.past[-1].reading(topic, group) if self.past else None
        guess = last.oldest if last is not None else None
        return _age(self.bus, topic, offsets, self.topics[topic].ends, self.now, guess or 1.0)

    def _rate(self, topic: str, group: str, done: int) -> float:
        first = self.past[0] if self.past else None
        before = None if first is None else first.reading(topic, group)
        if first is not None and before is not None and self.now > first.time:
            return max(0, done - before.done) / (self.now - first.time)
        published = (self.topics[name] for name in _PUBLISHES.get(group, ()))
        return next((one.rate for one in published if one.messages), 0.0)


def _measure(bus: Bus, topic: str, now: float | None) -> _Measured:
    firsts, ends = bus.offsets_at(topic, _FIRST), bus.offsets_at(topic, _END)
    messages = bus.count(firsts, ends)
    if now is None:
        return _Measured(firsts=firsts, ends=ends, messages=messages, recent=0, rate=0.0)
    recent = bus.count(bus.offsets_at(topic, now - WINDOW), ends) if messages else 0
    window = WINDOW
    if recent and recent == messages:  # it is younger than the window
        window = max(1.0, _age(bus, topic, firsts, ends, now) or 0.0)
    rate = recent / min(window, WINDOW)
    return _Measured(firsts=firsts, ends=ends, messages=messages, recent=recent, rate=rate)


def _age(
    bus: Bus,
    topic: str,
    starts: Mapping[Position, int],
    ends: Mapping[Position, int],
    now: float,
    guess: float = 1.0,
) -> float | None:
    """Return how long ago the first message behind `starts` was published, to 10 %; None where there is none.

    By bisection around a guess: a message is older than some age if it stands before the offset of that time.
    Messages are counted, not offsets: on Kafka the mark behind the last one that is done is none.
    """
    behind = {at: start for at, start in starts.items() if start < ends[at]}
    if not behind or not bus.count(behind, {at: ends[at] for at in behind}):
        return None

    def older(age: float) -> bool:
        then = bus.offsets_at(topic, now - age)
        before = {at: then[at] for at, start in behind.items() if then[at] > start}
        return bool(before) and bus.count(behind, before) > 0

    low, high, step = guess, guess, 1.15
    if older(guess):
        while high < _ETERNITY and older(high := high * step):
            low, step = high, 4
    else:
        while low > _MOMENT and not older(low := low / step):
            high, step = low, 4
    while high - low > max(_MOMENT, 0.15 * high):
        middle = (low + high) / 2
        low, high = (middle, high) if older(middle) else (low, middle)
    return (low + high) / 2


def _readers_of(topic: str, readers: Mapping[str, Sequence[str]]) -> list[str]:
    return [group for group, wanted in readers.items() if topic in wanted] or [""]


def _letters(bus: Bus) -> dict[tuple[str, str], int]:
    """Return how many dead letters are neither retried nor dropped, by topic and group."""
    found: Counter[tuple[str, str]] = Counter()
    names = [name for name in bus.topics() if is_dead_letters(name)]
    marks = {mark.key: mark.value for mark in bus.read(SETTLED)} if names else {}
    settled = Counter(place.partition("/")[0] for place, value in marks.items() if value)
    for name in names:
        topic, _, service = name.removesuffix(".dlq").rpartition(".")
        there = bus.count(bus.offsets_at(name, _FIRST), bus.offsets_at(name, _END))
        found[topic, service.partition("+")[0]] += max(0, there - settled[name])
    return found
