"""What flows through calstream: products and their FITS files, events, recipes, associations, DQ bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from schemas.products import Product

__all__ = ["read", "write"]


def read(path: str | Path) -> Product:
    """Read a product from its file.

    Parameters
    ----------
    path : str or Path
        A catalogue (``.ecsv``), see :func:`schemas.catalogue_file.read_catalogue`, or a JWST FITS file, see
        :func:`schemas.reading.read`.

    Returns
    -------
    Ramp, Rate, Resampled, Segmentation, Catalogue or PersistenceHistory

    Raises
    ------
    Unprocessable
        If the file is not there or cannot be read.
    """
    # Imported when asked for: the command line starts without astropy.
    if str(path).lower().endswith(".ecsv"):
        from schemas.catalogue_file import read_catalogue

        return read_catalogue(path)
    if str(path).lower().endswith("_persistence.fits"):
        from schemas.history_file import read_history

        return read_history(path)
    from schemas import reading

    return reading.read(path)


def write(product: Product, path: str | Path) -> str:
    """Write a product to its file, at once or not at all.

    Parameters
    ----------
    product : Product
        A catalogue becomes an ECSV file, anything else a FITS file.
    path : str or Path
        The file; one that is there is replaced in one move.

    Returns
    -------
    str
        The content digest of what was written.

    Raises
    ------
    UsageError
        If `product` and the name's ending do not go together.
    Retriable
        If the disk is full.
    Unprocessable
        If the folder is not there or cannot be written to.
    """
    from schemas.errors import UsageError
    from schemas.products import Catalogue, PersistenceHistory

    table = isinstance(product, Catalogue)
    if table != str(path).lower().endswith(".ecsv"):
        kind, ending = ("catalogue", ".ecsv") if table else (type(product).__name__, ".fits")
        raise UsageError(
            f"{path}: a {kind} is written to a {ending} file; choose a name that ends in {ending}"
        )
    if isinstance(product, Catalogue):
        from schemas.catalogue_file import write_catalogue

        return write_catalogue(product, path)
    if isinstance(product, PersistenceHistory):
        from schemas.history_file import write_history

        return write_history(product, path)
    from schemas import writing

    return writing.write(product, path)
