"""Rates, errors and jump flags on simulated truth: ``make tables``, or ``python -m tests.tables``.

With the peer (``make peer``, or CALSTREAM_PEER_PYTHON) its slopes stand beside ours.
"""

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.bench.workers import ROOT
from tests.parity import functions, peer
from tests.tables import hits, slopes


def main():
    """Print the tables."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    beside = ROOT / ".venv-peer/bin/python"
    if not peer.interpreter() and beside.exists():
        os.environ[peer.VARIABLE] = str(beside)
    data = {case: slopes.ramps(case) for case in slopes.CASES}
    scores = {case: slopes.ours(case, ramp) for case, ramp in data.items()}
    if peer.interpreter():
        with tempfile.TemporaryDirectory() as folder:
            made = slopes.theirs(functions.answers(slopes.tasks(data), Path(folder)))
        scores = {case: {**mine, **made[case]} for case, mine in scores.items()}
    else:
        console.print("no peer: `make peer` makes one; our slopes stand alone", style="yellow")
    console.print(slopes.table(scores))
    curves = {(case, method): hits.curve(case, method) for case in hits.CASES for method in hits.METHODS}
    console.print(hits.table(curves))
    rests = {(case, method): hits.rest(case, method) for case in hits.AVERAGED for method in hits.METHODS}
    console.print(hits.table_of_rests(rests))


if __name__ == "__main__":
    main()
