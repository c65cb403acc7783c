"""The associator as one pure function: a state and a message in, a state and what there is to say out.

No I/O and no clock: the time comes with each message. A state serves one program on one line. The same
messages in another order, late, or twice, lead to the same last word on every group, since a state is a set
of facts and what is said of a group is a function of them. What has been said is not said again; ids depend
on the group alone, so that saying it twice (after a crash) is harmless too.

When an association goes out:

- with a plan that names its exposures: as soon as each of them has arrived or failed (``complete``); at the
  deadline without those that have not (``partial``), and again when they come;
- without a plan: after a quiet period (``unknown``);
- while the newest news of the group comes from a campaign: once, when all of the group's exposures that the
  campaign's plan names are through, or at the deadline; a campaign without a plan is waited for by the quiet
  period;
- what is about one exposure (a ramp and the persistence histories before it) when that one is there, and
  each of those that a plan names or whose raw file is known has arrived or failed, or soon after it
  (``WAIT``) without those that have not. It is made in the state of the day on which that one began; the
  states of the days after know it too, and that it is through;
- and where a newer plan of a program names nothing of a detector's day any more, the program's state, which
  knows the days of the plan that it replaces, has that day's state told so;
- again whenever a member, its generation, the failures, or completeness have changed. A member that was made
  again with the same content has a newer generation, which its association inherits; the stage behind it then
  finds its work done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final

from schemas.events import FailureEvent, ProductEvent, Scalar
from streams.associator.drafts import Patience, assemble, due
from streams.associator.emissions import Emission, Refused, emission
from streams.associator.plans import Expectation, days_left, detector_days, program_of, route
from streams.associator.rules import RULES, Place, Refusal, Rule, group_id, places
from streams.associator.state import OF_DETECTOR, Arrival, Exposure, Group, Setback, State


class Tick:
    """Time has passed, and nothing else has happened."""


Message = ProductEvent | FailureEvent | Expectation | Tick
"""What the reducer takes."""

DEFAULT_PATIENCE: Final = Patience()
"""Ten minutes of quiet, a day for what was promised."""


@dataclass(frozen=True)
class Reduced:
    """A state before and after a message, and what there is to say.

    Attributes
    ----------
    before, state : State
        Before and after.
    emissions : tuple of Emission
        Associations that go out.
    refused : tuple of Refused
        Exposures that no rule can place.
    left : tuple of (str, Expectation)
        Detectors' days that only the older one of two plans names, and what their states are to be told.
    """

    before: State
    state: State
    emissions: tuple[Emission, ...] = ()
    refused: tuple[Refused, ...] = ()
    left: tuple[tuple[str, Expectation], ...] = ()


def reduce(
    state: State,
    message: Message,
    now: float,
    patience: Patience = DEFAULT_PATIENCE,
    rules: tuple[Rule, ...] = RULES,
) -> Reduced:
    """Return the state after a message, and the associations that go out because of it.

    Parameters
    ----------
    state : State
        Of the message's line and program; ``State(line=..., program=...)`` is an empty one.
    message : ProductEvent, FailureEvent, Expectation or Tick
        What happened. Products and failures that no rule is interested in change nothing.
    now : float
        Seconds, of any clock as long as it is always the same one. Infinity, with a `Tick`, says that nothing
        more will come.
    patience : Patience, optional
        How long to wait.
    rules : tuple of Rule, optional
        The table of rules.

    Raises
    ------
    ValueError
        If the message belongs to another line or program.
    """
    rules = tuple(rule for rule in rules if rule.combines != state.of_detector)
    if isinstance(message, Tick):
        return Reduced(state, *_speak(state, state.groups, now, patience, rules))
    _check(state, message)
    left: tuple[tuple[str, Expectation], ...] = ()
    if isinstance(message, Expectation):
        if not state.of_detector:
            left = days_left(state.plans.get(message.campaign, ""), message)
        after, refused = _expect(state, message, rules)
        touched: Iterable[str] = after.groups
    else:
        exposure, refused = _news(state, message, rules)
        if exposure is None:
            return Reduced(state, state, refused=refused)
        after, touched = _put(state, message.name, exposure)
    return Reduced(state, *_speak(_note(after, touched, now), touched, now, patience, rules), refused, left)


def next_due(state: State, patience: Patience = DEFAULT_PATIENCE) -> float | None:
    """Return the time of the next tick that could make an association go out; None when none is waiting."""
    waiting = (group for group in state.groups.values() if group.pending and group.pending != group.said)
    return min((due(assemble(state, group), group, state, patience) for group in waiting), default=None)


def _check(state: State, message: ProductEvent | FailureEvent | Expectation) -> None:
    whose = route(message)
    if state.of_detector and whose[0] == state.line:
        return  # exposures of all programs
    if whose != (state.line, state.program):
        raise ValueError(f"line and program {whose} given to the state of {(state.line, state.program)}")


def _news(
    state: State, event: ProductEvent | FailureEvent, rules: tuple[Rule, ...]
) -> tuple[Exposure | None, tuple[Refused, ...]]:
    """Return an exposure after an event, or None where no rule is interested in it."""
    known = state.exposures.get(event.name, Exposure())
    if isinstance(event, FailureEvent):
        if any(rule.combines and rule.stage == event.stage for rule in rules):
            return None, ()
        changed = known.with_setback(Setback.of(event))
        return _with_outlook(state, event.name, changed, rules), ()
    if event.topic == "raw" and state.of_detector:
        return _with_outlook(state, event.name, known.ingested(event.keywords), rules), ()
    found, refusals = places(event.keywords, event.suffix, rules, event.name)
    refused = _refused(event.name, event.suffix, refusals)
    if not found:
        return None, refused
    changed = known.with_arrival(Arrival.of(event, _in(state, event.keywords, found)))
    if event.suffix == "persistence":
        changed = changed.model_copy(update={"through": known.through})  # its ramp comes too, at once
    return _with_outlook(state, event.name, changed, rules), refused


def _with_outlook(state: State, name: str, exposure: Exposure, rules: tuple[Rule, ...]) -> Exposure:
    outlook, _ = places(exposure.keywords, None, rules, name)
    return exposure.model_copy(update={"outlook": _in(state, exposure.keywords, outlook)})


def _in(state: State, keywords: Mapping[str, Scalar], found: tuple[Place, ...]) -> tuple[Place, ...]:
    """Return those of an exposure's places that a state has: what is about it is made on its own day only."""
    if not state.of_detector or detector_days(keywords)[:1] == [state.program]:
        return found
    return tuple(place for place in found if not place.anchor)


def _expect(state: State, message: Expectation, rules: tuple[Rule, ...]) -> tuple[State, tuple[Refused, ...]]:
    """Put a plan in the place of the one that holds, unless that is newer."""
    campaign, program = message.campaign, message.plan.program
    slot = f"{campaign}{OF_DETECTOR}{program}" if state.of_detector else campaign
    if message.held <= state.plans.get(slot, ""):
        return state, ()
    exposures = dict(state.exposures)
    planned = {exposure.name: exposure.keywords for exposure in message.plan.exposures}
    before = {
        name
        for name, known in exposures.items()
        if campaign in known.expected and program_of(name, known.expected[campaign]) == program
    }
    for name in {*planned, *before}:
        known = exposures.get(name, Exposure())
        expected = {key: value for key, value in known.expected.items() if key != campaign}
        if name in planned:
            expected[campaign] = planned[name]
        exposures[name] = _with_outlook(state, name, known.model_copy(update={"expected": expected}), rules)
    update = {"exposures": exposures, "plans": {**state.plans, slot: message.held}}
    after = state.model_copy(update=update)
    every = chain.from_iterable(exposures[name].places for name in sorted(exposures))
    refused = chain.from_iterable(
        _refused(name, "", places(keywords, None, rules, name)[1])
        for name, keywords in sorted(planned.items())
    )
    after = _with_groups(after, every)
    groups = {key: _with_names(group, _partners(after, group)) for key, group in after.groups.items()}
    return after.model_copy(update={"groups": groups}), tuple(refused)


def _refused(name: str, suffix: str, refusals: Iterable[Refusal]) -> tuple[Refused, ...]:
    return tuple(
        Refused(name=name, suffix=suffix, rule=r.rule, stage=r.stage, reason=f"{name}: {r.reason}")
        for r in refusals
    )


def _put(state: State, name: str, exposure: Exposure) -> tuple[State, set[str]]:
    """Return the state with an exposure, and the ids of the groups that it has or had a part in."""
    before = state.exposures.get(name, Exposure())
    concerned = (*before.places, *exposure.places)
    after = state.model_copy(update={"exposures": {**state.exposures, name: exposure}})
    groups = dict(_with_groups(after, concerned).groups)
    touched = set()
    for key, group in groups.items():
        if any(place.joins(group.rule, group.fields) for place in concerned):
            touched.add(key)
            groups[key] = _with_names(group, [name])
    return after.model_copy(update={"groups": groups}), touched


def _with_groups(state: State, every: Iterable[Place]) -> State:
    """Return the state with the groups that anchors make; a new one looks for those that came before it."""
    groups = dict(state.groups)
    for place in every:
        key = group_id(state.line, place.rule, place.fields) if place.anchor else ""
        if key and key not in groups:
            group = Group(rule=place.rule, fields=place.fields)
            groups[key] = _with_names(group, _partners(state, group))
    return state.model_copy(update={"groups": groups})


def _partners(state: State, group: Group) -> list[str]:
    return [
        name
        for name, exposure in state.exposures.items()
        if any(place.joins(group.rule, group.fields) for place in exposure.places)
    ]


def _with_names(group: Group, names: Iterable[str]) -> Group:
    both = {*group.names, *names}
    return group if len(both) == len(group.names) else group.model_copy(update={"names": tuple(sorted(both))})


def _note(state: State, touched: Iterable[str], now: float) -> State:
    """Note since when there is something new to say of groups; the same news again is no news."""
    groups: dict[str, Group] = dict(state.groups)
    for key in touched:
        group = groups[key]
        pending = assemble(state, group).signature
        if pending == group.said:
            groups[key] = group.model_copy(update={"pending": pending})
        elif pending != group.pending:
            first = now if group.pending == group.said else group.first
            groups[key] = group.model_copy(update={"pending": pending, "first": first, "last": now})
    return state.model_copy(update={"groups": groups})


def _speak(
    state: State, touched: Iterable[str], now: float, patience: Patience, rules: tuple[Rule, ...]
) -> tuple[State, tuple[Emission, ...]]:
    """Say what is due of groups; return the state after that, and what is said."""
    table: Mapping[str, Rule] = {rule.name: rule for rule in rules}
    groups = dict(state.groups)
    spoken: list[Emission] = []
    for key in sorted(touched):
        group = groups[key]
        rule = table.get(group.rule)
        if rule is None or not group.pending or group.pending == group.said:
            continue
        draft = assemble(state, group)
        if draft.suffices(rule) and due(draft, group, state, patience) <= now:
            spoken.append(emission(state, group, rule, draft))
            groups[key] = group.model_copy(update={"said": draft.signature, "pending": draft.signature})
    return state.model_copy(update={"groups": groups}) if spoken else state, tuple(spoken)
