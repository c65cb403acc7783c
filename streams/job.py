"""One run of a stage, as the code that computes it sees it: inputs in, products out."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from processors.pipelines import Settings
from schemas.events import Artifact, Input, Name
from schemas.meta import Meta, Provenance
from schemas.naming import product_filename
from schemas.products import Catalogue, PersistenceHistory, Product
from schemas.reading import ProductFile
from schemas.references import References
from schemas.writing import ProductWriter, Written, write_file

BLOCK_BYTES: Final = 96 << 20
"""Memory that one block of integrations may take as float32."""


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """An input of a run, as a local file."""

    role: str
    name: Name
    path: Path
    input: Input


@dataclass(frozen=True)
class Output:
    """A product that a run has written."""

    suffix: str
    path: Path
    content: str
    keywords: Meta | None
    sha256: str = ""
    """Of the file, where it is known already."""


@dataclass(kw_only=True)
class Job:
    """What a stage's `compute` works with.

    Attributes
    ----------
    name : str
        Of the products to be made.
    folder : Path
        Where they are written.
    inputs : tuple of InputFile
        By role, in order.
    settings : mapping of str to StepSettings
        How to run each step.
    references : References
        Of the exposure.
    stamp : mapping
        FITS cards that every product of the run carries: software version, CRDS context.
    run : mapping
        What goes into the products' provenance: run key, stage, recipe values, inputs.
    block_bytes : int
        Bound on one block of integrations.
    """

    name: str
    folder: Path
    inputs: tuple[InputFile, ...]
    settings: Settings
    references: References
    stamp: Mapping[str, Any]
    run: Mapping[str, Any]
    block_bytes: int = BLOCK_BYTES
    outputs: dict[str, Output] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)
    quality: dict[str, float] = field(default_factory=dict)

    def science(self) -> InputFile:
        """Return the one input whose role is science."""
        return next(file for file in self.inputs if file.role == "science")

    def blocks(self, file: ProductFile) -> Iterator[Product]:
        """Yield an exposure in blocks of integrations that fit the bound."""
        size = 4
        for length in file.shape[1:]:
            size *= length
        return self._timed("read", file.blocks(max(1, self.block_bytes // size)))

    def save(self, suffix: str, product: Product) -> None:
        """Write a whole product."""
        product = self.stamped(product)
        path = self.folder / product_filename(self.name, suffix)
        with self.watch("write"):
            if isinstance(product, Catalogue):
                from schemas.catalogue_file import write_catalogue

                written = Written(write_catalogue(product, path), "")
            elif isinstance(product, PersistenceHistory):
                from schemas.history_file import write_history

                written = Written(write_history(product, path), "")
            else:
                written = write_file(product, path)
        self._add(suffix, path, written, product.meta)

    @contextlib.contextmanager
    def writer(self, suffix: str, template: Product, nint: int) -> Iterator[ProductWriter]:
        """Give a writer for a product that is made block by block from `template` on."""
        path = self.folder / product_filename(self.name, suffix)
        template = self.stamped(template)
        meta = template.meta
        with ProductWriter(path, template, nint) as writer:
            del template  # its arrays are not to wait for the last block
            yield writer
            with self.watch("write"):
                written = Written(writer.finish(self._origin(meta.provenance)), writer.sha256)
        self._add(suffix, path, written, meta)

    def stamped(self, product: Product) -> Product:
        """Return the product with the run's cards and provenance, and the quality figures known so far."""
        meta = product.meta.with_primary(**self.stamp)
        return product.with_meta(replace(meta, provenance=self._origin(meta.provenance)))

    def known_quality(self) -> dict[str, float]:
        """Return the quality figures that are finite: what has no value was not measured."""
        return {name: value for name, value in self.quality.items() if math.isfinite(value)}

    def _origin(self, provenance: Provenance) -> Provenance:
        """Return how a product was made, by this run, and what is known of its quality, also from before."""
        quality = {**provenance.run.get("quality", {}), **self.known_quality()}
        return replace(provenance, run={**self.run, **({"quality": quality} if quality else {})})

    @contextlib.contextmanager
    def watch(self, part: str) -> Iterator[None]:
        """Add the time that the block takes to `timing`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.timing[part] = self.timing.get(part, 0.0) + time.perf_counter() - begin

    def _add(self, suffix: str, path: Path, written: Written, meta: Meta) -> None:
        self.outputs[suffix] = Output(suffix, path, written.content, meta, written.sha256)
        self.quality.update(meta.quality)

    def _timed(self, part: str, blocks: Iterator[Product]) -> Iterator[Product]:
        while True:
            with self.watch(part):
                held = list(islice(blocks, 1))
            if not held:
                return
            yield held.pop()  # a generator that waits holds its variables, and a block is large


def local_input(role: str, name: str, path: Path, artifact: Artifact, identity: str) -> InputFile:
    """Return the input that an artifact on this machine is."""
    origin = Input(role=role, identity=identity, digest=artifact.content, uri=artifact.uri)
    return InputFile(role=role, name=name, path=path, input=origin)
