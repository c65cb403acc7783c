"""How products were made, for people: steps, options that are not the default, references."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.meta import StepRecord
from streams.report.gather import ProductHead


@dataclass(frozen=True, kw_only=True)
class StepLine:
    """One step of a product.

    Attributes
    ----------
    step, outcome, reason : str
        As recorded.
    changed : sequence of tuple of str
        Name, value and origin of each option that is not the default.
    count : int
        Number of all options.
    references : sequence of tuple of str
        Type, file and digest of each reference.
    """

    step: str
    outcome: str
    reason: str
    changed: Sequence[tuple[str, str, str]]
    count: int
    references: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How a product was made.

    Attributes
    ----------
    title : str
        Its file name, and those of others that were made in the same way.
    files : sequence of str
        All of them.
    steps : sequence of StepLine
        In order.
    run : sequence of tuple of str
        What is known of its run.
    """

    title: str
    files: Sequence[str]
    steps: Sequence[StepLine]
    run: Sequence[tuple[str, str]]


def origins(heads: Sequence[ProductHead]) -> list[Origin]:
    """Return how products were made, once for all that were made in the same way.

    Parameters
    ----------
    heads : sequence of ProductHead
        The products; those without provenance are left out.
    """
    groups: dict[str, list[ProductHead]] = {}
    for head in heads:
        if head.meta.provenance.steps:
            groups.setdefault(_alike(head), []).append(head)
    return [_origin(group) for group in groups.values()]


def _alike(head: ProductHead) -> str:
    steps = [
        (
            r.step,
            r.outcome,
            r.reason,
            r.implementation,
            dict(r.options),
            {k: dict(v) for k, v in r.references.items()},
        )
        for r in head.meta.provenance.steps
    ]
    return json.dumps([head.suffix, steps], sort_keys=True, default=str)


def _origin(group: Sequence[ProductHead]) -> Origin:
    first = group[0]
    run = first.meta.provenance.run
    facts = [(name, str(run[name])) for name in ("stage", "crds_context", "fingerprint") if name in run]
    facts += [
        ("run key", f"{head.path.name}: {head.meta.provenance.run.get('run_key', '')}") for head in group
    ]
    facts += [("input", _input(item)) for item in run.get("inputs", ())] if len(group) == 1 else []
    return Origin(
        title=first.path.name if len(group) == 1 else f"{first.path.name} and {len(group) - 1} made alike",
        files=[head.path.name for head in group],
        steps=[_line(record) for record in first.meta.provenance.steps],
        run=facts,
    )


def _input(item: Any) -> str:
    return f"{item.get('role', '')}: {item.get('product', '')} ({item.get('digest', '')})"


def _line(record: StepRecord) -> StepLine:
    return StepLine(
        step=record.step,
        outcome=record.outcome,
        reason=record.reason,
        changed=[(name, str(record.options.get(name)), origin) for name, origin in record.origins.items()],
        count=len(record.options),
        references=[(kind, f.get("name", ""), f.get("digest", "")) for kind, f in record.references.items()],
    )
