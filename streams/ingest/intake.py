"""A file on its way in: checked, put into the store, published on every line that is to have it."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from schemas.canonical import digest
from schemas.errors import CalstreamError, Retriable, UsageError
from schemas.events import Artifact, Event, FailureEvent, Scalar, next_generation
from schemas.keywords import event_keywords
from schemas.naming import SUFFIX_LEVEL, exposure_name, suffix_of
from schemas.reading import ProductFile
from schemas.recipe import Recipe
from schemas.records import LineRecord
from streams.associator.companions import looks_back
from streams.dispatch import sentence_of
from streams.histories import TAKEN, fate, history_beside, open_history
from streams.ingest import report
from streams.ingest.deposit import demand_allowed, deposit, deposit_small, digested
from streams.ingest.finding import Signature, signature, signature_of
from streams.ingest.ledger import REFUSED, RootLedger
from streams.ingest.plans import publish_plans
from streams.ingest.report import Taken
from streams.inputs import (
    InputAssociation,
    InputProduct,
    RefusedInput,
    header_name,
    is_history,
    open_input,
    unread,
)
from streams.lines import lines as all_lines
from streams.recipes import frozen
from streams.roots import Roots
from streams.site import Site

STAGE: Final = "ingest"
"""What failures name as their stage."""


@dataclass(frozen=True, kw_only=True)
class IntakeOptions:
    """How files are taken.

    Attributes
    ----------
    lines : tuple of str
        On which they are published; on all active ones when empty.
    in_place : tuple of Path, optional
        Folders whose files may stay where they are, and then do; files are copied when absent.
    """

    lines: tuple[str, ...] = ()
    in_place: tuple[Path, ...] | None = None


class Intake:
    """Takes files in.

    Parameters
    ----------
    site : Site
        Bus and store.
    options : IntakeOptions, optional
        How.
    clock : callable, optional
        Seconds since 1970.

    Raises
    ------
    UsageError
        If a line that is asked for is not there, or was stopped.
    """

    def __init__(
        self,
        site: Site,
        options: IntakeOptions | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._site = site
        self._options = options or IntakeOptions()
        self._clock = clock
        self._ledger = RootLedger(site.bus, site.store)
        self._recipes: dict[str, Recipe] = {}
        self._roots: dict[tuple[str, str], Roots] = {}
        self.lines()

    def lines(self) -> list[LineRecord]:
        """Return the lines on which files are published now."""
        known = all_lines(self._site.bus, self._site.store)
        active = {name: line for name, line in known.items() if line.active}
        for name in self._options.lines:
            if name not in active:
                state = "was stopped" if name in known else "is not there"
                raise UsageError(
                    f"line {name!r} {state}; add it with `calstream line add {name} --recipe ...`, or choose "
                    f"one of {', '.join(sorted(active))}"
                )
        if not active:
            raise UsageError(
                "every line was stopped; make one, as with `calstream line add main --recipe optimal`"
            )
        return [line for name, line in sorted(active.items()) if name in (self._options.lines or active)]

    def plan(self, paths: Iterable[Path]) -> int:
        """Say that the exposures in these files are to come; return how many plans were published.

        Files that cannot be taken are left out.
        """
        items = [item for path in paths if not is_history(path) for item in open_input(path, unread)]
        products = [item for item in items if isinstance(item, InputProduct)]
        return sum(
            publish_plans(products, line.name, self._roots_of(line), self._site.bus, self._site.store)
            for line in self.lines()
        )

    def take(self, path: Path) -> list[Taken]:
        """Take a file in, and return what came of it, or of each member of a stage 2 association.

        A failure is published if it is the file's; one that may pass is only told.
        """
        seen = signature(path)
        try:
            lines = self.lines()
            if is_history(path):
                return [self._history(path, lines, seen)]
            claim = _Claim(self._site, self._ledger, lines, self._options.in_place)
            notes: list[Taken] = []
            for item in open_input(path, claim):
                notes += [*self._beside(item, lines), self._taken(item, lines, seen)]
            return notes
        except Retriable as error:
            return [Taken(path=path, outcome=report.WAITING, sentence=str(error))]
        except Exception as error:  # a file that nobody foresaw must not keep the others out
            return [self._refused(path, error, self.lines(), seen)]

    def _taken(
        self,
        item: InputProduct | InputAssociation | RefusedInput,
        lines: Sequence[LineRecord],
        seen: Signature | None,
    ) -> Taken:
        if isinstance(item, RefusedInput):
            if isinstance(item.error, Retriable):
                raise item.error
            return self._refused(item.path, item.error, lines, seen)
        if isinstance(item, InputAssociation):
            return self._association(item, lines)
        published, renewed = [], False
        for line in lines:
            identity = f"{line.name}/{item.name}/{item.suffix}"
            others = bool(self._ledger.digests(identity) - {item.artifact.sha256})
            if self._publish(identity, item.artifact.sha256, self._roots_of(line).product(item), seen):
                published.append(line.name)
                renewed |= others
        return _told(item.path, f"{item.name}_{item.suffix}", published, renewed=renewed)

    def _beside(
        self, item: InputProduct | InputAssociation | RefusedInput, lines: Sequence[LineRecord]
    ) -> list[Taken]:
        """Take the history that was made with a ramp, before it, if it is of use; told only if it is new."""
        if not isinstance(item, InputProduct) or item.suffix != "ramp":
            return []
        path = history_beside(item)
        if not any(looks_back(item.keywords, self._recipe_of(line)) for line in lines) or not path.exists():
            return []
        seen = signature(path)
        try:
            note = self._history(path, lines, seen)
        except Retriable:
            raise
        except Exception as error:  # as of any file: the ramp goes on
            note = self._refused(path, error, lines, seen)
        return [note] if note.outcome in (report.PUBLISHED, report.REFUSED) else []

    def _history(self, path: Path, lines: Sequence[LineRecord], seen: Signature | None) -> Taken:
        """Publish a history on the lines whose recipes have use for it, and say what becomes of it."""
        item = open_history(path)
        fates = {
            line.name: fate(
                item, self._recipe_of(line), raw=bool(self._ledger.digests(f"{line.name}/{item.name}/uncal"))
            )
            for line in lines
        }
        takers = [line for line in lines if fates[line.name] == TAKEN]
        if not takers:
            reason = fates[lines[0].name]
            product = f"{item.name}_{item.suffix}"
            return Taken(path=path, outcome=report.NOT_NEEDED, product=product, remark=reason)
        if self._options.in_place is None:
            item = replace(item, artifact=deposit_small(item, self._site.store))
        else:
            demand_allowed([path], self._options.in_place)
        return replace(self._taken(item, takers, seen), remark=TAKEN)

    def _association(self, item: InputAssociation, lines: Sequence[LineRecord]) -> Taken:
        published: list[str] = []
        for line in lines:
            for event in self._roots_of(line).associations(item):
                if self._publish(event.identity, event.association.sha256, event, None):
                    published.append(line.name)
        return _told(item.path, item.product_name, list(dict.fromkeys(published)))

    def _refused(
        self, path: Path, error: Exception, lines: Sequence[LineRecord], seen: Signature | None
    ) -> Taken:
        sentence = sentence_of(error)
        name, suffix, keywords = _recognisable(path)
        what = digest({"message": sentence, "file": seen})
        # What is not there is a slip of whoever named it, and no exposure that somebody waits for.
        for line in lines if seen is not None and not path.is_dir() else ():
            failure = FailureEvent(
                line=line.name,
                name=name,
                suffix=suffix,
                generation=next_generation(self._clock()),
                recipe=line.recipe,
                keywords=keywords,
                stage=STAGE,
                error=type(error).__name__,
                message=sentence[:4000],
            )
            self._publish(failure.identity, f"{REFUSED}/{what}", failure, seen)
        return Taken(path=path, outcome=report.REFUSED, sentence=sentence)

    def _publish(self, identity: str, what: str, event: Event, seen: Signature | None) -> bool:
        def make(known: str | None) -> Event:
            return event.with_(generation=next_generation(self._clock(), known))

        return self._ledger.publish(identity, what, make, seen)

    def _recipe_of(self, line: LineRecord) -> Recipe:
        if line.recipe.digest not in self._recipes:
            self._recipes[line.recipe.digest] = frozen(self._site.store, line.recipe.digest)
        return self._recipes[line.recipe.digest]

    def _roots_of(self, line: LineRecord) -> Roots:
        key = (line.name, line.recipe.digest)
        if key not in self._roots:
            recipe = self._recipe_of(line)
            generation = next_generation(self._clock())  # another one is put into each event
            self._roots[key] = Roots(recipe, self._site.store, generation, line=line.name)
        return self._roots[key]


class _Claim:
    """Gives a file's claim check: the one that is written down if its bytes are, else that of a new copy."""

    def __init__(
        self,
        site: Site,
        written: RootLedger,
        lines: Sequence[LineRecord],
        in_place: tuple[Path, ...] | None,
    ) -> None:
        self._store = site.store
        self._written = written
        self._lines = [line.name for line in lines]
        self._in_place = in_place

    def __call__(self, file: ProductFile, level: str, name: str, suffix: str) -> Artifact:
        identities = [f"{line}/{name}/{suffix}" for line in self._lines]
        seen = signature_of(os.fstat(file.fileno()))
        for identity in identities:  # as it was when it was taken: it is not read again
            if found := self._known(identity, self._written.recognised(identity, seen)):
                return found
        if self._in_place is not None:
            demand_allowed([file.path], self._in_place)
            return digested(file)
        if any(self._written.digests(identity) for identity in identities):
            sha256 = digested(file).sha256
            for identity in identities:
                if found := self._known(identity, sha256):
                    return found
        return deposit(file, self._store, level, name, suffix)

    def _known(self, identity: str, sha256: str | None) -> Artifact | None:
        return self._written.artifact(identity, sha256) if sha256 else None


def _recognisable(path: Path) -> tuple[str, str, Mapping[str, Scalar]]:
    """Return name, suffix and keywords of a file that was refused, as far as they can be told."""
    keywords: Mapping[str, Scalar] = {}
    named = path.name
    with contextlib.suppress(CalstreamError), ProductFile(path) as file:
        keywords = event_keywords(file.meta.keywords())
        named = header_name(file) or named
    stem = path.name.split(".", 1)[0].lower()
    name = re.sub(r"[^a-z0-9_-]+", "-", stem)[:128] or "unnamed"
    with contextlib.suppress(CalstreamError):
        name = exposure_name(named)
    suffix = suffix_of(named).lower()
    return name, suffix if suffix in SUFFIX_LEVEL else "unknown", keywords


def _told(path: Path, product: str, lines: list[str], *, renewed: bool = False) -> Taken:
    return Taken(
        path=path,
        outcome=report.PUBLISHED if lines else report.KNOWN,
        product=product,
        lines=tuple(lines),
        renewed=renewed,
    )
