"""What a service's parent and its children say to each other over a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.bus.protocol import Outgoing


@dataclass(frozen=True, kw_only=True)
class Task:
    """An event to be processed.

    Attributes
    ----------
    number : int
        By which answers refer to it.
    value : bytes
        The event.
    stage : str
        ``module:NAME`` of the stage that is to do it.
    traceparent : str, optional
        Trace context of the message that brought the event.
    """

    number: int
    value: bytes
    stage: str
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The child has imported, loaded its kernels, and waits for work."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The end of a task.

    Attributes
    ----------
    number : int
        Of the task.
    memory : int
        What the child's process holds, bytes.
    """

    number: int
    memory: int


@dataclass(frozen=True, kw_only=True)
class Finished(Answer):
    """The work is done, or had been done before.

    Attributes
    ----------
    output : Outgoing
        The event to publish, packed.
    stage, generation : str
        Of that event.
    outcome : str
        ``complete`` or ``cached``.
    seconds : float
        Since the task was taken.
    parts : mapping of str to float
        Seconds of each step, and of reading and writing.
    written : int
        Bytes of the products.
    """

    output: Outgoing
    stage: str
    generation: str
    outcome: str
    seconds: float
    parts: Mapping[str, float] = field(default_factory=dict)
    written: int = 0


@dataclass(frozen=True, kw_only=True)
class Failed(Answer):
    """The work failed.

    Attributes
    ----------
    kind : str
        ``unprocessable`` (never again), ``retriable`` (when what is missing is back), or ``broken`` (an error
        that nobody expected: again, a bounded number of times).
    error, sentence : str
        Its class, and what to tell.
    """

    kind: str
    error: str
    sentence: str
