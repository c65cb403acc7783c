"""What ingest tells of each file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PUBLISHED = "published"
KNOWN = "known"
REFUSED = "refused"
WAITING = "waiting"
NOT_NEEDED = "not needed"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What came of a file.

    Attributes
    ----------
    path : Path
        The file.
    outcome : str
        ``published``; ``known``, so nothing was published again; ``refused``; ``waiting``, because of
        something that may pass; ``not needed``.
    product : str
        What it is: name and suffix. Empty if it could not be told.
    lines : tuple of str
        On which it was published.
    renewed : bool
        Whether other bytes were published under the same name before.
    sentence : str
        Why it was refused or waits.
    remark : str
        What becomes of it, or why it is not needed, where that is not plain.
    """

    path: Path
    outcome: str
    product: str = ""
    lines: tuple[str, ...] = ()
    renewed: bool = False
    sentence: str = ""
    remark: str = ""


class Listener(Protocol):
    """Is told of what ingest does."""

    def planned(self, plans: int) -> None:
        """Hear that so many plans were published."""

    def taken(self, note: Taken) -> None:
        """Hear what came of a file."""

    def watching(self, folders: int) -> None:
        """Hear that what there was is done, and new files are waited for."""
