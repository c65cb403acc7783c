"""What the user named: files of any level, folders, associations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from processors.modes import mode_of
from schemas.associations import Association, Member, read_association
from schemas.content import file_digest
from schemas.errors import CalstreamError, Unprocessable
from schemas.events import Artifact, Scalar
from schemas.keywords import event_keywords, lacking
from schemas.naming import NAME_PATTERN, SUFFIX_LEVEL, exposure_name, suffix_of
from schemas.reading import ProductFile
from schemas.stored_content import content_digest_of_file
from streams.stages import STAGES

REQUIRED = ("INSTRUME", "DETECTOR", "EXP_TYPE", "DATE-OBS", "TIME-OBS")
"""Keywords without which no reference file can be chosen."""

REQUIRED_OF_RAMPS = ("READPATT", "NFRAMES", "GROUPGAP", "TGROUP", "TFRAME", "SUBSTRT1", "SUBSTRT2")
"""Keywords without which no ramp can be calibrated."""


NUMBERS = (
    ("RA_REF", (-360.0, (int, float))),
    ("DEC_REF", (-90.0, (int, float))),
    ("ROLL_REF", (-360.0, (int, float))),
    ("V2_REF", (-3600.0, (int, float))),
    ("V3_REF", (-3600.0, (int, float))),
    ("SUBSTRT1", (1, (int,))),
    ("SUBSTRT2", (1, (int,))),
)
"""Keywords that must be numbers where they are there: the least value, and the types."""

NUMBERS_OF_RAMPS = (
    ("NFRAMES", (1, (int,))),
    ("GROUPGAP", (0, (int,))),
    ("TGROUP", (1e-6, (int, float))),
    ("TFRAME", (1e-6, (int, float))),
)


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

    @property
    def product_name(self) -> str:
        """Return the name of the product that it is."""
        return self.name


@dataclass(frozen=True, kw_only=True)
class InputAssociation:
    """A JWST association file with its members, which lie beside it."""

    path: Path
    association: Association
    members: tuple[InputProduct, ...]

    @property
    def product_name(self) -> str:
        """Return the name of the product that it asks for."""
        return self.association.products[0].name


@dataclass(frozen=True, kw_only=True)
class RefusedInput:
    """A path that cannot be processed, and why."""

    path: Path
    error: CalstreamError


Claim = Callable[[ProductFile, str, str, str], Artifact]
"""Gives the claim check of an open file that is fit to be processed; takes it with level, name and suffix."""


def expand(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files that the paths mean.

    A folder means its ``*_uncal.fits``; if it has none, its ``*_ramp.fits``; else itself.
    """
    found: dict[Path, None] = {}
    for given in paths:
        path = Path(given)
        files = sorted(path.iterdir()) if path.is_dir() else []
        ramps = [file for file in files if _is_named(file, "ramp")]
        inside = [file for file in files if is_uncal(file)] or ramps
        found.update(dict.fromkeys(inside or [path]))
    return list(found)


def is_uncal(path: Path) -> bool:
    """Tell whether a file is named as a raw exposure."""
    return _is_named(path, "uncal")


def is_history(path: Path) -> bool:
    """Tell whether a file is named as the persistence history of an exposure."""
    return _is_named(path, "persistence")


def _is_named(path: Path, suffix: str) -> bool:
    return path.name.lower().endswith(f"_{suffix}.fits") and not path.name.startswith(".")


def open_inputs(paths: Iterable[Path]) -> list[InputProduct | InputAssociation | RefusedInput]:
    """Check files and return what they are; one that cannot be processed comes back refused.

    A stage 2 association of images stands for its exposures, which go on one by one. The same exposure
    again, at the same level, is one; another one of the same name is refused.
    """
    found: dict[tuple[str, str], InputProduct | InputAssociation | RefusedInput] = {}
    for path in paths:
        for item in open_input(path):
            if not isinstance(item, InputProduct):
                found[str(path), ""] = item
                continue
            first = found.setdefault((item.name, item.suffix), item)
            if isinstance(first, InputProduct) and first.artifact.content != item.artifact.content:
                found[str(path), ""] = RefusedInput(path=path, error=_namesake(first, item))
    return list(found.values())


def _namesake(first: InputProduct, item: InputProduct) -> Unprocessable:
    return Unprocessable(
        f"{item.path}: is called {item.name}_{item.suffix} (FILENAME in its header) as {first.path} is, "
        "and has other content; change its FILENAME, or process it on its own"
    )


def open_input(
    path: Path, claim: Claim | None = None
) -> list[InputProduct | InputAssociation | RefusedInput]:
    """Check a file and return what it is: one thing, or the members of a stage 2 association.

    Parameters
    ----------
    path : Path
        A product or an association.
    claim : callable, optional
        Gives the claim checks; without it, files are digested where they are.
    """
    claim = claim or in_place
    try:
        if path.is_dir():
            raise Unprocessable(f"{path}: there is no *_uncal.fits in this folder; name the files themselves")
        if path.suffix != ".json":
            return [_product(path, claim)]
        association = _association(path, claim)
        return list(association.members) if association.association.asn_type == "image2" else [association]
    except CalstreamError as error:
        return [RefusedInput(path=path, error=error)]


def in_place(file: ProductFile, level: str, name: str, suffix: str) -> Artifact:
    """Return the claim check of a file that stays where it is."""
    path = file.path.absolute()
    content = content_digest_of_file(file)
    return Artifact(uri=path.as_uri(), size=path.stat().st_size, sha256=file_digest(path), content=content)


def unread(file: ProductFile, level: str, name: str, suffix: str) -> Artifact:
    """Return a claim check without digests, for whoever wants to know no more than what a file is."""
    path = file.path.absolute()
    return Artifact(uri=path.as_uri(), size=path.stat().st_size, sha256="0" * 64)


def _product(path: Path, claim: Claim) -> InputProduct:
    with ProductFile(path) as file:
        keywords = event_keywords(file.meta.keywords())
        level, suffix = _level_of(path, file)
        _check_keywords(path, file, level)
        mode_of(str(keywords.get("EXP_TYPE", "")), str(path))
        name = exposure_name(path.name, header_name(file))
        artifact = claim(file, level, name, suffix)
    return InputProduct(
        path=path, name=name, suffix=suffix, level=level, keywords=keywords, artifact=artifact
    )


def header_name(file: ProductFile) -> str | None:
    """Return the file name that a product's header says, if it is one of JWST's."""
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
        raise Unprocessable(f"{path}: {lacking(missing)}")
    numbers = (*NUMBERS_OF_RAMPS, *NUMBERS) if level in ("raw", "ramp") else NUMBERS
    for keyword, (least, kinds) in numbers:
        value = file.meta.get(keyword)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
            raise Unprocessable(
                f"{path}: {keyword} = {value!r} is no {'number' if float in kinds else 'whole number'} of at "
                f"least {least:g}; mend the header, or fetch the file again"
            )
    if level == "raw":
        _check_integrations(path, file)


def _check_integrations(path: Path, file: ProductFile) -> None:
    """Refuse an exposure that says another number of integrations than it has, unless it is a segment."""
    there = file.nint
    said = int(file.meta.get("NINTS", there))
    first, last = file.meta.get("INTSTART"), file.meta.get("INTEND")
    if isinstance(first, int) and isinstance(last, int) and last > 0:
        segment = first > 1 or int(file.meta.get("EXSEGTOT") or 1) > 1
        said = last - first + 1 if segment or last != there else said
    if said != there:
        raise Unprocessable(
            f"{path}: the header says {said} integrations, the data have {there}; mend NINTS (or "
            "INTSTART and INTEND), or fetch the file again"
        )


def _association(path: Path, claim: Claim) -> InputAssociation:
    association = read_association(path)
    stages = [stage.name for stage in STAGES]
    if association.asn_type not in stages:
        raise Unprocessable(
            f"{path}: there is no stage for asn_type {association.asn_type!r} yet; those that there are: "
            f"{', '.join(stages)}"
        )
    for product in association.products:
        if not re.fullmatch(NAME_PATTERN, product.name.lower()):
            raise Unprocessable(
                f"{path}: {product.name!r} is no product name; use letters, digits, '_' and '-', "
                "at most 128 of them"
            )
    members: list[InputProduct] = []
    for product in association.products:
        members.extend(_product(_member_path(path, member), claim) for member in product.members)
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
