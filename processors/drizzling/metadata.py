"""What a mosaic's header says, from the headers of its inputs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from schemas.canonical import canonical_json
from schemas.meta import Keywords, Meta, Provenance, StepRecord

GROUP: Final = ("PROGRAM", "OBSERVTN", "VISIT", "VISITGRP", "SEQ_ID", "ACT_ID", "EXPOSURE")
"""Keywords that two detectors' images of one exposure share."""

SUMS: Final = ("EFFEXPTM", "TMEASURE", "DURATION", "XPOSURE", "TELAPSE")
"""Times that add up, each exposure counted once however many detectors took it."""

MULTIPLE: Final = ("DETECTOR", "MODULE", "FILTER", "PUPIL", "CHANNEL", "BAND", "GRATING", "SUBARRAY")
"""Keywords that say MULTIPLE where the inputs differ."""

LEAST: Final = ("EXPSTART", "MJD-BEG", "TDB-BEG", "INTSTART", "DATE-BEG", "DATE-OBS")
MEAN: Final = ("EXPMID", "MJD-AVG", "TDB-MID")
MOST: Final = ("EXPEND", "MJD-END", "TDB-END", "INTEND", "DATE-END")

OBSOLETE: Final = (
    "V2_REF", "V3_REF", "RA_REF", "DEC_REF", "ROLL_REF", "V3I_YANG", "VPARITY", "CD1_1", "CD1_2",
    "CD2_1", "CD2_2", "BKGLEVEL", "BKGSUB",
)  # fmt: skip
"""Keywords of one input's pointing, which mean nothing on a mosaic."""

_SIP = re.compile(r"[AB]P?_(ORDER|DMAX|\d_\d)")
"""Keywords of one input's distortion (SIP), which mean nothing there either."""


def group_of(meta: Meta) -> tuple[str, ...] | None:
    """Return what images of one exposure share, or None where the header does not say."""
    found = tuple(str(meta.get(keyword)) for keyword in GROUP if meta.get(keyword) is not None)
    return found if len(found) == len(GROUP) else None


def exposures(metas: Sequence[Meta]) -> list[Meta]:
    """Return the headers of the first image of each exposure."""
    kept: dict[Any, Meta] = {}
    for index, meta in enumerate(metas):
        kept.setdefault(group_of(meta) or index, meta)
    return list(kept.values())


def combine(metas: Sequence[Meta]) -> Meta:
    """Return the metadata that a set of images has in common.

    Parameters
    ----------
    metas : sequence of Meta
        Of the images, in the order of the set.

    Returns
    -------
    Meta
        The first one's, with times combined, and without pointing, WCS and tables. Its
        provenance tells the steps of all of them; keywords of references that differ say MULTIPLE.
    """
    first = metas[0]
    cards: dict[str, Any] = {}
    for keyword in MULTIPLE:
        if len({str(meta.get(keyword)) for meta in metas}) > 1:
            cards[keyword] = "MULTIPLE"
    _reduce(cards, metas, LEAST, min)
    _reduce(cards, metas, MOST, max)
    _reduce(cards, metas, MEAN, lambda values: float(np.mean(values)))
    _reduce(cards, exposures(metas), SUMS, lambda values: float(sum(values)))
    if "DATE-OBS" in cards and first.get("TIME-OBS") is not None:
        cards["TIME-OBS"] = min((str(m.get("DATE-OBS")), str(m.get("TIME-OBS"))) for m in metas)[1]
    obsolete = [*OBSOLETE, *(keyword for keyword in first.science if _SIP.fullmatch(keyword))]
    return replace(
        first,
        primary=_changed(first.primary, cards).with_cards(_named(metas)),
        science=_changed(first.science, cards).with_cards(dict.fromkeys(obsolete)),
        tables={},
        wcs=None,
        provenance=_together(metas),
        quality={},
    )


def _reduce(
    cards: dict[str, Any],
    metas: Sequence[Meta],
    keywords: Sequence[str],
    function: Callable[[list[Any]], Any],
) -> None:
    for keyword in keywords:
        values = [meta.get(keyword) for meta in metas]
        if all(value is not None for value in values):
            cards[keyword] = function(values)


def _changed(keywords: Keywords, cards: dict[str, Any]) -> Keywords:
    return keywords.with_cards({keyword: value for keyword, value in cards.items() if keyword in keywords})


def _named(metas: Sequence[Meta]) -> dict[str, str]:
    """Return the keywords of reference files that are not the same one for all inputs, as MULTIPLE."""
    keywords = dict.fromkeys(k for meta in metas for k in meta.primary if k.startswith("R_"))
    return {k: "MULTIPLE" for k in keywords if len({str(meta.primary.get(k)) for meta in metas}) > 1}


def _together(metas: Sequence[Meta]) -> Provenance:
    """Return the records of all steps that any input went through.

    What inputs went through in the same way is one record, which names the references of all of them.
    """
    merged: dict[str, list[StepRecord]] = {}
    order: list[str] = []
    for meta in metas:
        place = 0
        for key, record in _keyed(meta.provenance.steps):
            if key not in merged:
                while place < len(order) and merged[order[place]][0].step == record.step:
                    place += 1
                order.insert(place, key)
            merged.setdefault(key, []).append(record)
            place = order.index(key) + 1
    return Provenance(steps=tuple(_one(merged[key]) for key in order))


def _keyed(records: Sequence[StepRecord]) -> Iterator[tuple[str, StepRecord]]:
    """Yield records, each with what must be equal for two inputs' records to become one."""
    seen: Counter[str] = Counter()
    for record in records:
        how = [record.step, record.outcome, record.reason, record.implementation, dict(record.options)]
        key = canonical_json([*how, sorted(record.references)])
        seen[key] += 1
        yield f"{key} {seen[key]}", record


def _one(records: Sequence[StepRecord]) -> StepRecord:
    """Return one record for those of several inputs: of references and origins all that there are."""
    first = records[0]
    used = {
        reftype: list(dict.fromkeys(_file(record.references[reftype]) for record in records))
        for reftype in first.references
    }
    options = dict.fromkeys(option for record in records for option in record.origins)
    origins = {o: dict.fromkeys(record.origins.get(o, "default") for record in records) for o in options}
    return replace(
        first,
        references={
            reftype: {"name": ", ".join(n for n, _ in found), "digest": ", ".join(d for _, d in found)}
            for reftype, found in used.items()
        },
        origins={option: ", ".join(found) for option, found in origins.items()},
    )


def _file(reference: Mapping[str, str]) -> tuple[str, str]:
    return reference.get("name", ""), reference.get("digest", "")
