"""How `calstream run` shows what happens: a live table on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from streams.cli.termination import demand_going_on
from streams.run.report import Begun, Done, Ending, RunSummary

MARKS: Final = {"complete": "✓", "up to date": "=", "refused": "✗", "failed": "✗"}
_STYLES: Final = {"complete": "green", "up to date": "cyan", "refused": "red", "failed": "red"}
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_NAMED: Final = 3


class Plain:
    """A line for each product that a stage has finished with; failures on standard error.

    Parameters
    ----------
    quiet, debug : bool
        Whether only failures are told, and whether with their tracebacks.
    """

    def __init__(self, *, quiet: bool = False, debug: bool = False) -> None:
        self._quiet = quiet
        self._debug = debug
        self._began = time.time()

    def planned(self, exposures: Sequence[str], stages: Sequence[str]) -> None:
        """Tell which exposures there are and which stages they may go through."""
        self._say(f"{_count(len(exposures), 'input')}, stages: {', '.join(stages)}")

    def begun(self, note: Begun) -> None:
        """Say nothing: there is a line when it has finished."""
        demand_going_on()

    def done(self, note: Done) -> None:
        """Tell what came of a stage's work on a product."""
        demand_going_on()
        if note.sentence:
            self._complain(note)
        else:
            self._say(f"{note.stage} {note.name}: {note.outcome} ({note.ended - note.begun:.1f} s)")

    def finished(self, summary: RunSummary, out: Path) -> None:
        """Tell where each file's road ended, and why."""
        self._say(f"{tally(summary.notes)}, in {time.time() - self._began:.1f} s; products are in {out}")
        for line in endings(summary.endings):
            self._say(line)

    def stop(self) -> None:
        """Stop drawing: there is nothing to stop."""

    def interrupted(self, out: Path) -> None:
        """Tell that the user stopped the run."""
        self.stop()
        print(f"calstream: interrupted; products that were finished are in {out}", file=sys.stderr)

    def _say(self, line: str) -> None:
        if not self._quiet:
            print(line, flush=True)

    def _complain(self, note: Done) -> None:
        if self._debug and note.error is not None:
            traceback.print_exception(note.error)
        about = "" if note.name in note.sentence else f"{note.name}: "
        hint = ", with what --debug shows" if "internal error" in note.sentence and not self._debug else ""
        print(f"calstream: {about}{note.sentence}{hint}", file=sys.stderr, flush=True)


@dataclass
class _Cell:
    begun: float
    outcome: str = ""
    seconds: float = 0.0


@dataclass
class _Rows:
    """What is known of each product and stage; the display reads it while the run writes it."""

    stages: tuple[str, ...] = ()
    cells: dict[str, dict[str, _Cell]] = field(default_factory=dict)

    def table(self, limit: int, now: float) -> Table:
        """Return the table, of at most `limit` products: those in work or touched last."""
        used = [s for s in self.stages if any(s in row for row in self.cells.values())]
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for heading in ("product", *used):
            table.add_column(heading, no_wrap=True)
        shown = list(self.cells) if len(self.cells) <= limit else self._latest(limit)
        for name in shown:
            row = self.cells[name]
            table.add_row(Text(name), *(_shown(row.get(stage), now) for stage in used))
        if left := len(self.cells) - len(shown):
            table.add_row(Text(f"and {left} more", style="dim"))
        return table

    def _latest(self, limit: int) -> list[str]:
        latest = {
            name: max((cell.begun for cell in row.values()), default=0.0) for name, row in self.cells.items()
        }
        chosen = set(sorted(latest, key=lambda name: -latest[name])[:limit])
        return [name for name in self.cells if name in chosen]


class Terminal(Plain):
    """A table of products and stages that lives while the run goes on.

    Parameters
    ----------
    console : Console
        The terminal.
    debug : bool
        Whether tracebacks of failures are shown.
    """

    def __init__(self, console: Console, *, debug: bool = False) -> None:
        super().__init__(debug=debug)
        self._console = console
        self._rows = _Rows()
        self._notes: list[Done] = []
        self._closed = False
        self._live = Live(self, console=console, refresh_per_second=8, vertical_overflow="crop")

    def __rich__(self) -> Table:
        """Return the table with the tally below it."""
        now = time.time()
        whole = Table.grid()
        limit = len(self._rows.cells) if self._closed else max(4, self._console.height - 6)
        whole.add_row(self._rows.table(limit, now))
        work = "" if self._closed else f"{_SPINNER[int(now * 8) % len(_SPINNER)]} "
        whole.add_row(Text(f"{work}{tally(self._notes)}, {_duration(now - self._began)}", style="bold"))
        return whole

    def planned(self, exposures: Sequence[str], stages: Sequence[str]) -> None:
        """Show a row for each exposure."""
        self._rows.stages = tuple(stages)
        for name in exposures:
            self._rows.cells.setdefault(name, {})

    def begun(self, note: Begun) -> None:
        """Show that a stage is at work."""
        demand_going_on()
        row = dict(self._rows.cells.get(note.name, {}))
        row[note.stage] = _Cell(note.time)
        self._replace(note.name, row)

    def done(self, note: Done) -> None:
        """Show what came of it."""
        demand_going_on()
        self._notes.append(note)
        if note.stage:
            row = dict(self._rows.cells.get(note.name, {}))
            row[note.stage] = _Cell(note.begun, note.outcome, note.ended - note.begun)
            self._replace(note.name, row)
        if note.sentence:
            self._complain(note)

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()

    def stop(self) -> None:
        """Draw the last state of all products, and no more."""
        self._closed = True
        self._live.vertical_overflow = "visible"
        self._live.stop()

    def finished(self, summary: RunSummary, out: Path) -> None:
        """Leave the table as it is, with where each file's road ended below it."""
        self.stop()
        self._console.print(f"products are in [bold]{escape(str(out))}[/]", highlight=False)
        for line in endings(summary.endings):
            self._console.print(line, highlight=False, markup=False)

    def _replace(self, name: str, row: dict[str, _Cell]) -> None:
        # A new mapping each time: the thread that draws never sees one that changes under it.
        self._rows.cells = {**self._rows.cells, name: row}


@contextmanager
def reporter(*, quiet: bool, debug: bool) -> Iterator[Plain]:
    """Give the reporter that fits standard output.

    Parameters
    ----------
    quiet, debug : bool
        As for :class:`Plain`.
    """
    console = Console()
    if quiet or not console.is_terminal:
        yield Plain(quiet=quiet, debug=debug)
        return
    shown = Terminal(console, debug=debug)
    shown.start()
    try:
        yield shown
    finally:
        shown.stop()


def tally(notes: Sequence[Done]) -> str:
    """Return how many pieces of work were done, were up to date, and failed."""
    counts = Counter(note.outcome for note in notes)
    return ", ".join(f"{counts[o]} {o}" for o in MARKS if counts[o] or o == "complete")


def endings(found: Sequence[Ending]) -> list[str]:
    """Return a line for each level and reason at which files stopped, with how many they are.

    The reasons of failures were told when they happened.
    """
    groups: dict[tuple[bool, str, str], list[str]] = {}
    for ending in found:
        reason = "" if ending.failed else ending.reason
        groups.setdefault((ending.failed, ending.level, reason), []).append(ending.name)
    lines = []
    for (failed, level, reason), names in sorted(groups.items()):
        where = f"stopped at {level}" if level else "not begun"
        why = "failed, as said above" if failed else reason
        lines.append(f"{_names(names)}: {where} ({why})")
    return lines


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def _shown(cell: _Cell | None, now: float) -> Text:
    if cell is None:
        return Text("·", style="dim")
    if not cell.outcome:
        return Text(f"{_SPINNER[int(now * 8) % len(_SPINNER)]} {_duration(now - cell.begun)}", style="yellow")
    spent = "up to date" if cell.outcome == "up to date" else _duration(cell.seconds)
    return Text(f"{MARKS[cell.outcome]} {spent}", style=_STYLES[cell.outcome])


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
