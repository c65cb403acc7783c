"""An example of what every registered step is given, and what is to be seen of a product."""

from __future__ import annotations

from dataclasses import fields, replace
from io import StringIO

import numpy as np
from astropy.table import Table

from processors.detector1 import DETECTOR1_MIRI, DETECTOR1_NIR, persistence_history
from processors.image3 import ImageSet
from processors.registry import STEPS
from schemas.products import PersistenceHistory, Product, Ramp, Rate
from schemas.references import References, TableReference
from simulator.persistence import FAMILIES
from tests.processors.detector1 import build
from tests.processors.image2 import scenes
from tests.processors.image3 import fields as mosaics

SHAPE = (4, 6, 48, 64)
"""Integrations, groups, rows, columns."""

POINTS = np.array([3.0, 20.5, 41.25]), np.array([7.0, 18.5, 33.75])

PREPARE = {
    "clean_flicker_noise_rate": lambda rate: rate.with_meta(rate.meta.with_primary(S_CLNFNS="SKIPPED")),
    "persistence": lambda ramp: replace(ramp, histories=(left_before(ramp),)),
    "resample": ImageSet.single,
}
"""What stands between a step and the product of the one before it."""


def references() -> References:
    """All reference types that steps want, with structure, bad pixels and values that are not finite."""
    rng = np.random.default_rng(4)
    pixels = SHAPE[2:]
    flat = rng.normal(1, 0.02, pixels)
    flat[5, 5], flat[6, 6] = np.nan, 0
    gain = build.references(build.image("gain", np.full(pixels, 2.0), GAINFACT=1.5))
    refpix = TableReference(reftype="refpix", name="test_refpix.fits", digest="0" * 64, tables={})
    held = [build.everything(pixels), build.references(refpix), gain, mosaics.catalogue_references()]
    table = TableReference(
        reftype="trappars", name="test_trappars.fits", digest="0" * 64, tables={"TRAPPARS": FAMILIES}
    )
    traps = (build.image("trapdensity", np.full(pixels, 500.0)), build.image("persat", np.full(pixels, 5e4)))
    held.append(build.references(*traps, table))
    held.append(scenes.references(pixels, flat=scenes.image_reference("flat", flat, 0.001 * np.abs(flat))))
    every = {name: found[name] for found in held for step in STEPS.values() for name in step.wanted
             if name in found}  # fmt: skip
    return References(every)


REFERENCES = references()


def raw(seed: int = 1, nint: int = SHAPE[0]) -> Ramp:
    """A raw exposure with stars, hits, saturation and a zero frame, and the keywords of all stages."""
    ramp = build.raw_ramp((nint, *SHAPE[1:]), seed, hits=0.1)
    y, x = np.mgrid[: SHAPE[2], : SHAPE[3]]
    stars = sum(np.exp(-((y - b) ** 2 + (x - a) ** 2) / 6) for a, b in ((18, 20), (44, 30)))
    groups = np.arange(1, SHAPE[1] + 1)[:, None, None]
    data = (ramp.data + 2000 * stars * groups).round().clip(0, 65535).astype(np.uint16)
    about = scenes.meta()
    primary = {
        **dict(about.primary),
        **dict(ramp.meta.primary),
        "FILTER": "F150W",
        "NFRAMES": 3,
        "FRMDIVSR": 4,
        "EXPSTART": 60000.0,
        "EFFINTTM": 240.0,
    }
    meta = replace(ramp.meta, primary=ramp.meta.primary.with_cards(primary), science=about.science)
    return replace(ramp, meta=meta, data=data, zeroframe=data[:, 0].copy())


def guided(seed: int = 1, nint: int = SHAPE[0]) -> Ramp:
    """What a guider reads to acquire its star."""
    ramp = raw(seed, nint)
    meta = ramp.meta.with_primary(INSTRUME="FGS", EXP_TYPE="FGS_ACQ1", NGROUPS=2)
    return replace(ramp, meta=meta, zeroframe=None, data=ramp.data[:, :2], groupdq=ramp.groupdq[:, :2])


def left_before(ramp: Ramp) -> PersistenceHistory:
    """The history of an exposure like this one, some minutes before it."""
    return persistence_history(ramp.with_meta(ramp.meta.with_primary(EXPSTART=59999.98)), dn_threshold=5000.0)


def corrected(seed: int = 1, nint: int = SHAPE[0]) -> Ramp:
    """The ramp that detector1 makes."""
    return DETECTOR1_NIR(raw(seed, nint), REFERENCES)


BESIDE = {"guider_cds": guided, "persistence_history": corrected}
"""Steps that do not take what the one before makes, and what they are given; nobody takes what they make."""


def raw_miri(seed: int = 1, nint: int = SHAPE[0]) -> Ramp:
    """The same as an exposure of MIRI's, which has no zero frame, averaged with a divisor of two thirds."""
    ramp = raw(seed, nint)
    cards = build.MIRI | {"NFRAMES": 3, "FRMDIVSR": 2}
    return replace(ramp, meta=ramp.meta.with_primary(**cards), zeroframe=None)


ONLY_MIRI = [step.name for step in DETECTOR1_MIRI.steps if step not in DETECTOR1_NIR.steps]
"""Steps that have nothing to do for the near-infrared detectors."""


def road(seed: int = 1, nint: int = SHAPE[0]) -> dict[str, Product]:
    """What each registered step is given on the way from a raw exposure to a catalogue."""
    given: dict[str, Product] = {}
    product: Product = raw_miri(seed, nint)
    for step in DETECTOR1_MIRI.steps:
        given[step.name] = product
        product = step(product, REFERENCES)
    product = raw(seed, nint)
    for name, step in STEPS.items():
        if name in BESIDE:
            given[name] = BESIDE[name](seed, nint)
        if name in BESIDE or name in ONLY_MIRI:
            continue
        product = PREPARE.get(name, lambda same: same)(product)
        given[name] = product
        product = step(product, REFERENCES)
    return given


def contents(product: Product) -> dict[str, object]:
    """Everything of a product that somebody could see: bytes of arrays, metadata, WCS, parts, members."""
    seen: dict[str, object] = {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in product.arrays().items()}
    seen["first"] = getattr(product, "first_integration", None)
    seen["meta"] = metadata(product.meta)
    for field in fields(product):
        value = getattr(product, field.name)
        if isinstance(value, Product):
            seen[field.name] = contents(value)
        elif isinstance(value, Table):
            seen[field.name] = written(value)
    if isinstance(product, ImageSet):
        seen["members"] = [contents(load()) for load in product.members]
    return seen


def written(table: Table) -> str:
    text = StringIO()
    table.write(text, format="ascii.ecsv")
    return text.getvalue()


def metadata(meta) -> tuple[object, ...]:
    """Headers, tables, records and what the WCS makes of some pixels."""
    sky = meta.wcs and tuple(np.asarray(v).tobytes() for v in meta.wcs(*POINTS, with_bounding_box=False))
    box = meta.wcs and str(meta.wcs.bounding_box)
    tables = {name: np.asarray(table).tobytes() for name, table in meta.tables.items()}
    headers = tuple(part.header().tostring(sep="\n") for part in (meta.primary, meta.science))
    return (*headers, tables, repr(meta.provenance), dict(meta.quality), sky, box)


def cut(product: Ramp | Rate, first: int, last: int) -> Ramp | Rate:
    """Integrations of a product, as copies."""
    whole = {"pixeldq", "area", "average_dark_current"}
    parts = {
        name: a.copy() if name in whole else a[first:last].copy() for name, a in product.arrays().items()
    }
    return replace(product, first_integration=product.first_integration + first, **parts)
