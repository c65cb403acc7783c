"""Where each input's road ended, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from processors.modes import MODES
from schemas.naming import LEVELS
from streams.inputs import InputAssociation, InputProduct, RefusedInput
from streams.run.report import Done, Ending
from streams.stages import next_stage

Given = InputProduct | InputAssociation | RefusedInput


def endings_of(
    inputs: Sequence[Given], notes: Sequence[Done], until: str, handlers: Mapping[str, str]
) -> tuple[Ending, ...]:
    """Return the ending of every input, and of every association that came up on the way.

    Parameters
    ----------
    inputs : sequence
        What the user named.
    notes : sequence of Done
        All that happened.
    until : str
        The level at which the user wanted to stop.
    handlers : mapping of str to str
        Stages that a service of the user's own takes over.
    """
    singles = [_ending(item, notes, until, handlers) for item in inputs]
    names = {ending.name for ending in singles}
    combined = [note for note in notes if note.stage and note.name not in names]
    return (*singles, *(_combined(note) for note in combined))


def _ending(item: Given, notes: Sequence[Done], until: str, handlers: Mapping[str, str]) -> Ending:
    if isinstance(item, RefusedInput):
        return Ending(name=str(item.path), level="", reason=str(item.error), failed=True)
    if isinstance(item, InputAssociation):
        name = item.association.products[0].name.lower()
        mine = [note for note in notes if note.name == name]
        if not mine:
            return Ending(name=name, level="cal", reason=f"--until {until} stops before its stage")
        return _combined(mine[-1])
    mine = [note for note in notes if note.name == item.name]
    failure = next((note for note in mine if note.event is None), None)
    reached = next((note.event.topic for note in reversed(mine) if note.event), item.level)
    if failure is not None:
        return Ending(name=item.name, level=reached, reason=failure.sentence, failed=True)
    return Ending(name=item.name, level=reached, reason=_why(item, reached, until, handlers))


def _combined(note: Done) -> Ending:
    if note.event is None:
        return Ending(name=note.name, level="", reason=note.sentence, failed=True)
    reason = f"the end of the road, with {note.remark}" if note.remark else "the end of the road"
    return Ending(name=note.name, level=note.event.topic, reason=reason)


def _why(item: InputProduct, reached: str, until: str, handlers: Mapping[str, str]) -> str:
    exp_type = str(item.keywords.get("EXP_TYPE", ""))
    if reached == until:
        return "asked to stop there" if until != LEVELS[-1] else "the end of the road"
    if LEVELS.index(reached) > LEVELS.index(until):
        return f"nothing to do: it is a {item.suffix} product, and --until says {until}"
    if item.suffix.endswith("ints"):
        return f"no stage takes {item.suffix} of {exp_type}; give its {item.suffix.removesuffix('ints')} file"
    if reached == "cal" and MODES[exp_type].stage3:
        return f"combined with others of its association by {MODES[exp_type].stage3}"
    following = next_stage(reached, exp_type)
    if following is None:
        return f"there is no stage for {exp_type} behind {reached} yet"
    if following.name in handlers:
        service = handlers[following.name]
        return f"the recipe hands {following.name} to the service {service}, which is not run here"
    return f"{following.name} did not come to it"
