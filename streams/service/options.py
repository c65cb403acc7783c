"""What an operator says of a service."""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.service.slot import Limits


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """How a service runs.

    Attributes
    ----------
    name : str
        Of the service: its consumer group, ``detector1`` and so on.
    stages : tuple of str
        ``module:NAME`` of the stages that it does, the first one that takes an event; they read one topic.
    handler : str
        Events that name another one are not its own.
    slots : int
        Children that compute side by side.
    limits : Limits
        When children are ended.
    grace : float
        Seconds that children may go on after SIGTERM.
    window : int
        Events that it holds at most.
    batch : int
        Finished events that share a transaction at most.
    linger : float
        Seconds that a finished event waits for others at most.
    free : float
        Fraction of the store's disk that must be free; below, nothing new begins.
    step_packages : tuple of str
        Packages that recipes may take steps from.
    warm : bool
        Whether children load the kernels before they are ready.
    metrics_port : int
        Of its metrics; 0 for any.
    log_level : int
        The least level of logs that is shown.
    log_format : str
        ``console`` or ``json``.
    """

    name: str
    stages: tuple[str, ...]
    handler: str = "builtin"
    slots: int = 1
    limits: Limits = field(default_factory=Limits)
    grace: float = 30.0
    window: int = 64
    batch: int = 64
    linger: float = 0.02
    free: float = 0.1
    step_packages: tuple[str, ...] = ()
    warm: bool = False
    metrics_port: int = 0
    log_level: int = 30
    log_format: str = "console"
