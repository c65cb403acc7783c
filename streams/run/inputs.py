"""What the user named: files of any level, folders, associations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from processors.modes import mode_of
from schemas.associations import Association, Member, read_association
from schemas.content import file_digest
from schemas.errors import CalstreamError, Unprocessable
from schemas.events import Artifact, Scalar
from schemas.keywords import event_keywords
from schemas.naming import SUFFIX_LEVEL, exposure_name, suffix_of
from schemas.reading import ProductFile
from schemas.stored_content import content_digest_of_file

REQUIRED = ("INSTRUME", "DETECTOR", "EXP_TYPE", "DATE-OBS", "TIME-OBS")
"""Keywords without which no reference file can be chosen."""

REQUIRED_OF_RAMPS = ("READPATT", "NFRAMES", "GROUPGAP", "TGROUP", "TFRAME", "SUBSTRT1", "SUBSTRT2")
"""Keywords without which no ramp can be calibrated."""


@dataclass(frozen=True, kw_only=True)
class InputProduct:
    """A file on disk, checked, with all that its root event says.

    Attributes
    ----------
    path : Path
        The file.
    name, suffix, level : str
        Product name, suffix and the topic that it enters.
    keywords : mapping of str to scalar
        For the event.
    artifact : Artifact
        Its claim check.
    """

    path: Path
    name: str
    suffix: str
    level: str
    keywords: Mapping[str, Scalar]
    artifact: Artifact


@dataclass(frozen=True, kw_only=True)
class InputAssociation:
    """A JWST association file with its members, which lie beside it."""

    path: Path
    association: Association
    members: tuple[InputProduct, ...]


@dataclass(frozen=True, kw_only=True)
class RefusedInput:
    """A path that cannot be processed, and why."""

    path: Path
    error: CalstreamError


def expand(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files that the paths mean: a folder means its ``*_uncal.fits``.

    Raises
    ------
    Unprocessable
        If a path is not there, or a folder holds none.
    """
    found: dict[Path, None] = {}
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = sorted(path.glob("*_uncal.fits"))
            if not inside:
                raise Unprocessable(
                    f"{path}: there is no *_uncal.fits in this folder; name the files themselves"
                )
            found.update(dict.fromkeys(inside))
        else:
            found[path] = None
    return list(found)


def open_inputs(paths: Iterable[Path]) -> list[InputProduct | InputAssociation | RefusedInput]:
    """Check files and return what they are; one that cannot be processed comes back refused.

    A stage 2 association of images stands for its exposures, which go on one by one. The same exposure
    again, at the same level, is one.
    """
    found: dict[tuple[str, str], InputProduct | InputAssociation | RefusedInput] = {}
    for path in paths:
        for item in _open_input(path):
            if isinstance(item, InputProduct):
                found.setdefault((item.name, item.suffix), item)
            else:
                found[str(path), "association"] = item
    return list(found.values())


def _open_input(path: Path) -> list[InputProduct | InputAssociation | RefusedInput]:
    try:
        if path.suffix != ".json":
            return [_product(path)]
        association = _association(path)
        return list(association.members) if association.association.asn_type == "image2" else [association]
    except CalstreamError as error:
        return [RefusedInput(path=path, error=error)]


def _product(path: Path) -> InputProduct:
    with ProductFile(path) as file:
        keywords = event_keywords(file.meta.keywords())
        level, suffix = _level_of(path, file)
        _check_keywords(path, file, level)
        mode_of(str(keywords.get("EXP_TYPE", "")), str(path))
        content = content_digest_of_file(file)
        name = exposure_name(path.name, _header_name(file, path))
    artifact = Artifact(
        uri=path.absolute().as_uri(), size=path.stat().st_size, sha256=file_digest(path), content=content
    )
    return InputProduct(
        path=path, name=name, suffix=suffix, level=level, keywords=keywords, artifact=artifact
    )


def _header_name(file: ProductFile, path: Path) -> str | None:
    said = file.meta.primary.get("FILENAME")
    return str(said) if said and suffix_of(str(said)) in SUFFIX_LEVEL else None


def _level_of(path: Path, file: ProductFile) -> tuple[str, str]:
    """Return level and suffix, from the arrays, the unit, and last the file's name."""
    if file.layout_name == "raw":
        return "raw", "uncal"
    if file.layout_name == "ramp":
        return "ramp", "ramp"
    if file.layout_name in ("resampled", "segmentation"):
        raise Unprocessable(f"{path}: a combined product is the end of the road; name what it was made from")
    unit = str(file.meta.science.get("BUNIT", "")).replace(" ", "").lower()
    named = suffix_of(path.name)
    calibrated = unit.startswith("mjy") or (not unit and named in ("cal", "calints"))
    ints = "ints" if file.layout_name == "cube" else ""
    return ("cal", f"cal{ints}") if calibrated else ("rate", f"rate{ints}")


def _check_keywords(path: Path, file: ProductFile, level: str) -> None:
    wanted = (*REQUIRED, *REQUIRED_OF_RAMPS) if level in ("raw", "ramp") else REQUIRED
    missing = [keyword for keyword in wanted if file.meta.get(keyword) in (None, "")]
    if missing:
        raise Unprocessable(
            f"{path}: the header lacks {', '.join(missing)}; add them to its primary header, or fetch "
            "the file again"
        )


def _association(path: Path) -> InputAssociation:
    association = read_association(path)
    members: list[InputProduct] = []
    for product in association.products:
        members.extend(_product(_member_path(path, member)) for member in product.members)
    wrong = [member for member in members if member.level != "cal" and association.asn_type.endswith("3")]
    if wrong:
        raise Unprocessable(
            f"{path}: its member {wrong[0].path.name} is a {wrong[0].suffix} product, stage 3 needs cal; "
            "process it first, and list the _cal file"
        )
    return InputAssociation(path=path, association=association, members=tuple(members))


def _member_path(path: Path, member: Member) -> Path:
    found = path.parent / member.expname
    if not found.exists():
        raise Unprocessable(f"{path}: its member {member.expname} is not beside it; put it there")
    return found
