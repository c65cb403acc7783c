"""What a recipe means for an exposure: every option of every step, and where each came from.

Layers, the later wins: the step's defaults; the built-in recipe that it is based on; the CRDS context's
parameter references where the recipe asks for them; the recipe itself; its overrides for exposures of some
kind, in their order; the command line.
"""

from __future__ import annotations

from processors.recipes.effective import (
    COMMAND_LINE,
    CRDS,
    DEFAULT,
    Row,
    effective,
    explain,
    unknown_crds_parameters,
)
from processors.recipes.layers import BUILTIN, OVERRIDE, RECIPE, applies, asks_for, builtin, merged
from processors.recipes.settings import command_line, parse_set

__all__ = [
    "BUILTIN",
    "COMMAND_LINE",
    "CRDS",
    "DEFAULT",
    "OVERRIDE",
    "RECIPE",
    "Row",
    "applies",
    "asks_for",
    "builtin",
    "command_line",
    "effective",
    "explain",
    "merged",
    "parse_set",
    "unknown_crds_parameters",
]
