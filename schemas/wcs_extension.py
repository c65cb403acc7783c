"""The gwcs of a product, in the extension ASDF as JWST files have it."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from typing import Any, Final

import numpy as np
import yaml
from astropy.io import fits

from schemas.errors import Unprocessable

_YAML: Final[dict[str, Any]] = {
    "explicit_start": True,
    "explicit_end": True,
    "version": (1, 1),
    "allow_unicode": True,
    "encoding": "utf-8",
}


NO_WCS: Final = (
    b"#ASDF 1.0.0\n#ASDF_STANDARD 1.6.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n--- !core/asdf-1.1.0\n"
    b"meta: {}\n...\n"
)
"""An ASDF file without a WCS: JWST's own software expects the extension in every file."""


def wcs_to_bytes(wcs: Any) -> bytes:
    """Return an ASDF file that holds `wcs` at ``meta.wcs``: the same text for the same values."""
    import asdf

    buffer = io.BytesIO()
    asdf.AsdfFile({"meta": {"wcs": wcs}}).write_to(buffer, all_array_storage="inline")
    return _canonical(buffer.getvalue())


def _canonical(content: bytes) -> bytes:
    """Write out what YAML says by reference, and sort the list of extensions that were used.

    Which equal parts of a model are one object in memory depends on whether it was read from a file, and the
    order of the list on where in memory the extensions lie.
    """
    comments = b"".join(line for line in content.splitlines(True)[:2] if line.startswith(b"#"))
    tags = dict(re.findall(r"^%TAG (\S+) (\S+)$", content.decode(), re.MULTILINE))
    tree = _unshared(yaml.compose(content, yaml.CSafeLoader))
    extensions = _child(_child(tree, "history"), "extensions")
    extensions.value.sort(key=lambda node: str(_child(node, "extension_uri").value))
    text: bytes = yaml.serialize(tree, Dumper=yaml.CSafeDumper, tags=tags, **_YAML)
    return comments + text


def _child(node: yaml.Node, name: str) -> yaml.Node:
    found: yaml.Node = next(value for key, value in node.value if key.value == name)
    return found


def _unshared(node: Any) -> yaml.Node:
    if isinstance(node, yaml.MappingNode):
        pairs = [(_unshared(key), _unshared(value)) for key, value in node.value]
        return yaml.MappingNode(node.tag, pairs, flow_style=node.flow_style)
    if isinstance(node, yaml.SequenceNode):
        items = [_unshared(item) for item in node.value]
        return yaml.SequenceNode(node.tag, items, flow_style=node.flow_style)
    return yaml.ScalarNode(node.tag, node.value, style=node.style)


def holds_wcs(content: bytes) -> bool:
    """Tell whether an ASDF file's bytes hold a WCS."""
    return re.search(rb"^ +wcs:", content, re.MULTILINE) is not None


def is_canonical(content: bytes) -> bool:
    """Tell whether an ASDF file's bytes are as `wcs_to_bytes` makes them: a WCS and nothing else."""
    body = content.partition(b"\nmeta:")[2]
    others = set(re.findall(rb"^(\w+):", content, re.MULTILINE)) - {b"asdf_library", b"history", b"meta"}
    return not others and b" &id" not in body and re.findall(rb"^  (\w+):", body, re.MULTILINE) == [b"wcs"]


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
            with asdf.open(io.BytesIO(content), lazy_load=False, memmap=False, lazy_tree=True) as tree:
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
