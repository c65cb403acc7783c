"""Tables on standard output, without borders, whole when they go to a file."""

from __future__ import annotations

import os
import sys
from typing import Final

from rich.console import Console
from rich.table import Table

_WIDE: Final = 200


def standard_output() -> Console:
    """Return a console on standard output; where that is no terminal, lines are long and never cut."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console(highlight=False)
    return Console(width=_WIDE, highlight=False)


def new_table(*headings: str, title: str | None = None) -> Table:
    """Return a table of texts under these headings."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
