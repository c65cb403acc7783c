"""What flows through calstream: products and their FITS files, events, recipes, associations, DQ bits."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.reading import read
    from schemas.writing import write

__all__ = ["read", "write"]


def __getattr__(name: str) -> Any:
    """Import `read` and `write` when they are asked for: the command line starts without astropy."""
    if name == "read":
        from schemas.reading import read

        return read
    if name == "write":
        from schemas.writing import write

        return write
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
