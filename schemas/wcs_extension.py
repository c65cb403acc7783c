"""The gwcs of a product, in the extension ASDF as JWST files have it."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from typing import Any

import numpy as np
from astropy.io import fits

from schemas.errors import Unprocessable


def wcs_to_bytes(wcs: Any) -> bytes:
    """Return an ASDF file that holds `wcs` at ``meta.wcs``."""
    import asdf

    buffer = io.BytesIO()
    asdf.AsdfFile({"meta": {"wcs": wcs}}).write_to(buffer, all_array_storage="inline")
    return buffer.getvalue()


def holds_wcs(content: bytes) -> bool:
    """Tell whether an ASDF file's bytes hold a WCS."""
    return re.search(rb"^ +wcs:", content, re.MULTILINE) is not None


def wcs_from_bytes(content: bytes, where: str) -> Any:
    """Return the gwcs at ``meta.wcs`` of an ASDF file's bytes, or None where there is none.

    Parameters
    ----------
    content : bytes
        The ASDF file.
    where : str
        Name of the file for an error's sentence.

    Raises
    ------
    Unprocessable
        If it cannot be read.
    """
    import asdf

    if not holds_wcs(content):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions of extensions that differ from those installed
            with asdf.open(io.BytesIO(content), lazy_load=False, memmap=False) as tree:
                return tree.tree.get("meta", {}).get("wcs")
    except Exception as error:  # asdf raises whatever its extensions raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Unprocessable(
            f"{where}: its ASDF extension cannot be read ({reason}); fetch the file again"
        ) from None


def wcs_hdu(content: bytes) -> fits.BinTableHDU:
    """Return the extension that holds the ASDF bytes."""
    row = np.frombuffer(content, np.uint8)[np.newaxis]
    column = fits.Column(name="ASDF_METADATA", format=f"{row.size}B", array=row)
    return fits.BinTableHDU.from_columns([column], name="ASDF")


def wcs_digest(content: bytes) -> str:
    """Return the SHA-256 of a WCS as serialised, whatever version of asdf wrote it."""
    text = content.split(b"\n...", 1)[0].decode()
    body = re.sub(r"\A.*?^meta:", "meta:", text, count=1, flags=re.DOTALL | re.MULTILINE)
    return hashlib.sha256(body.encode()).hexdigest()
