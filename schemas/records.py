"""Records: what is true now of services and lines, the last one of each key; on compacted topics."""

from __future__ import annotations

from pydantic import Field

from schemas.events import Frozen, RecipeReference


class Work(Frozen):
    """What a service is at.

    Attributes
    ----------
    name, stage : str
        Product name, and what is done with it.
    since : float
        Seconds since 1970.
    """

    name: str
    stage: str
    since: float


class ServiceRecord(Frozen):
    """What a running service says of itself, every few seconds and whenever it changes.

    Attributes
    ----------
    service, instance : str
        Its name, and which of its processes.
    host : str
        Where it runs.
    pid : int
        Its process.
    state : str
        ``starting``, ``ready``, ``waiting`` (something that it needs is not there), ``watching`` (ingest),
        ``stopping`` or ``stopped``.
    sentence : str
        Why it waits or stopped.
    in_work : tuple of Work
        What it computes.
    open : int
        Of the associator: how many associations are not yet said.
    metrics : str
        ``host:port`` of its metrics; empty if it serves none.
    started, time : float
        When it started, and when it said this; seconds since 1970.
    interval : float
        How often it says so, seconds.
    """

    service: str
    instance: str
    host: str
    pid: int
    state: str = "starting"
    sentence: str = ""
    in_work: tuple[Work, ...] = ()
    open: int = Field(default=0, ge=0)
    metrics: str = ""
    started: float
    time: float
    interval: float = 5.0

    @property
    def key(self) -> str:
        """Return its key on the topic ``services``."""
        return f"{self.service}/{self.instance}"

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return self.model_dump_json().encode()


class LineRecord(Frozen):
    """A named stream of work under one recipe.

    Attributes
    ----------
    name : str
        Of the line, also its key on the topic ``lines``.
    recipe : RecipeReference
        Frozen in the store.
    active : bool
        Whether new exposures go on it.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    recipe: RecipeReference
    active: bool = True

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return self.model_dump_json().encode()
