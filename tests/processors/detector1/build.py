"""Small ramps and references for tests of single steps."""

import numpy as np

from schemas.dq import DQ
from schemas.meta import Keywords, Meta
from schemas.products import Ramp
from schemas.references import ImageReference, ModelReference, RampReference, References, TableReference

NO_FLAGS = np.uint32(0)


def keywords(shape, **more):
    """Header of an exposure of shape (nint, ngroup, ny, nx)."""
    nint, ngroup, ny, nx = shape
    cards = {
        "TELESCOP": "JWST",
        "INSTRUME": "NIRCAM",
        "DETECTOR": "NRCA1",
        "EXP_TYPE": "NRC_IMAGE",
        "FILTER": "F200W",
        "PUPIL": "CLEAR",
        "READPATT": "RAPID",
        "NINTS": nint,
        "NGROUPS": ngroup,
        "NFRAMES": 1,
        "GROUPGAP": 0,
        "FRMDIVSR": 1,
        "TFRAME": 10.0,
        "TGROUP": 10.0,
        "SUBARRAY": "SUB64",
        "SUBSTRT1": 1001,
        "SUBSTRT2": 901,
        "SUBSIZE1": nx,
        "SUBSIZE2": ny,
        "FASTAXIS": -1,
        "SLOWAXIS": 2,
        "NOUTPUTS": 1,
        "FILENAME": "test_uncal.fits",
    }
    return cards | more


def make_ramp(data, groupdq=None, pixeldq=None, zeroframe=None, **more):
    """A ramp of float32 data."""
    meta = Meta(primary=Keywords(keywords(data.shape, **more)), science=Keywords({"BUNIT": "DN"}))
    return Ramp(
        meta=meta,
        data=np.asarray(data, np.float32),
        groupdq=np.zeros(data.shape, np.uint8) if groupdq is None else groupdq,
        pixeldq=np.zeros(data.shape[2:], np.uint32) if pixeldq is None else pixeldq,
        zeroframe=None if zeroframe is None else np.asarray(zeroframe, np.float32),
    )


def image(reftype, data, dq=None, **header):
    """An image reference."""
    data = np.asarray(data, np.float32)
    flags = np.zeros(data.shape[-2:], np.uint32) if dq is None else np.asarray(dq, np.uint32)
    return ImageReference(
        reftype=reftype, name=f"test_{reftype}.fits", digest="0" * 64, keywords=header, data=data, dq=flags
    )


def mask(dq):
    """A mask reference."""
    return image("mask", np.zeros((0, *dq.shape)), dq)


def dark(groups, nframes=1, groupgap=0, dq=None, average=None):
    """A dark reference (ngroup, ny, nx)."""
    groups = np.asarray(groups, np.float32)
    flags = np.zeros(groups.shape[1:], np.uint32) if dq is None else dq
    return RampReference(
        reftype="dark",
        name="test_dark.fits",
        digest="0" * 64,
        ngroup=len(groups),
        nframes=nframes,
        groupgap=groupgap,
        dq=flags,
        group=lambda i: groups[i].copy(),
        average_dark_current=average,
    )


def by_integration(reftype, groups, dq=None):
    """A reference (nint, ngroup, ny, nx): MIRI's dark or reset."""
    groups = np.asarray(groups, np.float32)
    flat = groups.reshape(-1, *groups.shape[2:])
    return RampReference(
        reftype=reftype,
        name=f"test_{reftype}.fits",
        digest="0" * 64,
        ngroup=groups.shape[1],
        nframes=1,
        groupgap=0,
        dq=np.zeros(groups.shape[2:], np.uint32) if dq is None else dq,
        group=lambda i: flat[i].copy(),
        nint=len(groups),
    )


def rscd(*rows):
    """A table of (subarray, readpatt, group_skip1, group_skip)."""
    columns = [("subarray", "S17"), ("readpatt", "S12"), ("group_skip1", "i4"), ("group_skip", "i4")]
    table = {"RSCD_GROUP_SKIP": np.array(list(rows), columns)}
    return TableReference(reftype="rscd", name="test_rscd.fits", digest="0" * 64, tables=table)


def emicorr(wave, frequency=390.625, **cases):
    """Waveform of one frequency, and the clock (ticks of a row and of a frame) of each subarray."""
    found = {
        name: {"rowclocks": row, "frameclocks": frame, "freqs": {"FAST": ["Hz390"], "SLOW": {}}}
        for name, (row, frame) in cases.items()
    }
    waves = {"Hz390": {"frequency": frequency, "phase_amplitudes": list(wave)}}
    tree = {"frequencies": waves, "subarray_cases": found}
    return ModelReference(reftype="emicorr", name="test_emicorr.asdf", digest="0" * 64, tree=tree)


MIRI = {
    "INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "EXP_TYPE": "MIR_IMAGE", "FILTER": "F770W", "PUPIL": None,
    "READPATT": "FASTR1", "NFRAMES": 1, "FRMDIVSR": 1, "NOUTPUTS": 4, "NSAMPLES": 1, "FASTAXIS": 1,
}  # fmt: skip
"""Keywords of an exposure of MIRI's."""


def references(*given):
    """References by their types."""
    return References({reference.reftype: reference for reference in given})


def everything(shape, seed=0, gain=2.0, readnoise=6.0):
    """All references of stage 1 for pixels (ny, nx), with structure and some bad pixels."""
    rng = np.random.default_rng(seed)
    flags = np.where(rng.random(shape) < 0.01, np.uint32(DQ.DO_NOT_USE | DQ.DEAD), NO_FLAGS)
    flags[:, 0] |= np.uint32(DQ.REFERENCE_PIXEL)
    flags[:, -1] |= np.uint32(DQ.REFERENCE_PIXEL)
    coefficients = np.stack([np.zeros(shape), np.ones(shape), rng.normal(1e-6, 1e-7, shape)])
    resets = -np.exp(-np.arange(5))[:, None, None] * rng.normal(50, 10, (2, 1, *shape))
    resets[0, 1, shape[0] // 2, shape[1] // 2] = np.nan
    return references(
        mask(flags),
        image("saturation", rng.normal(60000, 500, shape)),
        image("superbias", rng.normal(10000, 50, shape)),
        image("linearity", coefficients),
        dark(np.arange(1, 21)[:, None, None] * rng.normal(0.05, 0.01, shape)),
        image("gain", np.full(shape, gain)),
        image("readnoise", np.full(shape, readnoise)),
        image("ipc", [[0, -0.005, 0], [-0.005, 1.02, -0.005], [0, -0.005, 0]]),
        by_integration("reset", resets),
        rscd(("SUB64", "FASTR1", 1, 2)),
        emicorr(np.sin(2 * np.pi * (np.arange(100) + 0.5) / 100), SUB64=(28, 8512)),
    )


def raw_ramp(shape, seed=1, rate=30.0, gain=2.0, readnoise=6.0, hits=0.02):
    """A raw exposure (nint, ngroup, ny, nx): bias, Poisson and read noise, hits, a few saturating pixels."""
    rng = np.random.default_rng(seed)
    nint, ngroup, ny, nx = shape
    rates = np.where(rng.random((ny, nx)) < 0.02, 20000.0, rate)
    charge = np.cumsum(rng.poisson(rates * 10.0, shape), axis=1).astype(float)
    where = rng.random(shape) < hits / ngroup
    charge += np.cumsum(np.where(where, rng.uniform(500, 5000, shape), 0), axis=1)
    data = 10000 + charge / gain + rng.normal(0, readnoise / np.sqrt(2), shape)
    return make_ramp(np.round(data).clip(0, 65535), NINTS=nint)
