"""What a run tells while it goes on, and what it has to show at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from schemas.events import ProductEvent


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A stage has begun with a product."""

    stage: str
    name: str
    time: float


@dataclass(frozen=True, kw_only=True)
class Done:
    """A stage has finished with a product.

    Attributes
    ----------
    stage, name : str
        Which.
    outcome : str
        ``complete``, ``up to date``, ``refused`` or ``failed``.
    sentence : str
        Of a failure.
    remark : str
        What is to be known of a product that was made: members of its association that it lacks, and why.
    files : tuple of Path
        What lies in the user's folder now.
    begun, ended : float
        Seconds since 1970.
    event : ProductEvent, optional
        What was published.
    error : BaseException, optional
        Of a failure, for a traceback.
    """

    stage: str
    name: str
    outcome: str
    sentence: str = ""
    remark: str = ""
    files: tuple[Path, ...] = ()
    begun: float = 0.0
    ended: float = 0.0
    event: ProductEvent | None = None
    error: BaseException | None = None


class Reporter(Protocol):
    """Whoever shows a run's progress."""

    def planned(self, exposures: Sequence[str], stages: Sequence[str]) -> None:
        """Tell which exposures there are and which stages they may go through."""

    def begun(self, note: Begun) -> None:
        """Tell that a stage has begun with a product."""

    def done(self, note: Done) -> None:
        """Tell that it has finished, well or not."""


class Silent:
    """A reporter that says nothing."""

    def planned(self, exposures: Sequence[str], stages: Sequence[str]) -> None:
        """Say nothing."""

    def begun(self, note: Begun) -> None:
        """Say nothing."""

    def done(self, note: Done) -> None:
        """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Where an input's road ended, and why.

    Attributes
    ----------
    name : str
        Of the exposure or association; of a refused input its path.
    level : str
        The last level that it reached; empty if none.
    reason : str
        One half-sentence.
    failed : bool
        Whether that is a failure.
    """

    name: str
    level: str
    reason: str
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run has done.

    Attributes
    ----------
    endings : tuple of Ending
        One for each input and each association.
    notes : tuple of Done
        In order of time.
    """

    endings: tuple[Ending, ...] = ()
    notes: tuple[Done, ...] = field(default=())

    @property
    def failed(self) -> bool:
        """Tell whether anything failed or was refused."""
        return any(ending.failed for ending in self.endings)
