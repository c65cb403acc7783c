"""The command ``calstream``: one module for each of its commands, imported when it is asked for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Final

_ALLOCATIONS: Final = 20_000
"""Between two walks of the garbage collector: with Python's 700, imports take 0.2 s longer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``calstream`` and return its exit code: 0, 1 for a failure, 2 for a request that is not understood.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line when absent.
    """
    gc.set_threshold(_ALLOCATIONS, 20, 50)
    from streams.cli.origin import shadowed  # imports none of the packages that it looks at

    if sentence := shadowed():
        print(f"calstream: {sentence}", file=sys.stderr)
        return 2
    from streams.cli.application import start

    return start(sys.argv[1:] if arguments is None else arguments)
