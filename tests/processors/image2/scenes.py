"""Small synthetic exposures and references for the imaging stages."""

from __future__ import annotations

import numpy as np
from astropy.modeling.models import Identity, Mapping, Polynomial2D, Shift

from schemas.meta import Keywords, Meta
from schemas.products import Rate
from schemas.references import ImageReference, ModelReference, References, TableReference

SCALE = 0.031
"""Arcsec per pixel."""

AREA_A2 = SCALE**2
AREA_SR = float(np.deg2rad(SCALE / 3600) ** 2)


def distortion_model(centre=(63.5, 63.5), v2v3=(120.0, -527.0), strength=1.0):
    """Pixels of the full frame to V2, V3: a parity flip, some rotation and terms up to third order."""
    x = Polynomial2D(
        3, c0_0=0, c1_0=-SCALE, c0_1=2e-4 * strength, c2_0=3e-8 * strength, c1_1=-2e-8 * strength, c0_3=1e-12
    )
    y = Polynomial2D(
        3, c0_0=0, c1_0=1e-4 * strength, c0_1=SCALE, c0_2=4e-8 * strength, c1_1=1e-8 * strength, c3_0=-2e-12
    )
    inverse_x = Polynomial2D(1, c1_0=-1 / SCALE)
    inverse_y = Polynomial2D(1, c0_1=1 / SCALE)
    polynomial = Mapping((0, 1, 0, 1)) | x & y
    polynomial.inverse = Mapping((0, 1, 0, 1)) | inverse_x & inverse_y
    return Shift(-centre[0]) & Shift(-centre[1]) | polynomial | Shift(v2v3[0]) & Shift(v2v3[1]) | Identity(2)


def model(reftype, tree):
    return ModelReference(
        reftype=reftype, name=f"jwst_nircam_{reftype}_0001.asdf", digest="0" * 64, keywords={}, tree=tree
    )


def distortion(**values):
    return model("distortion", {"model": distortion_model(**values)})


def filteroffset(column=0.0, row=0.0):
    return model(
        "filteroffset",
        {"filters": [{"filter": "F150W", "pupil": "CLEAR", "column_offset": column, "row_offset": row}]},
    )


def image_reference(reftype, data, err=None, dq=None, keywords=None):
    data = np.asarray(data, np.float32)
    flags = np.zeros(data.shape, np.uint32) if dq is None else dq
    return ImageReference(
        reftype=reftype, name=f"jwst_nircam_{reftype}_0001.fits", digest="0" * 64, keywords=keywords or {},
        data=data, dq=flags, err=None if err is None else np.asarray(err, np.float32),
    )  # fmt: skip


def photom_reference(rows=(("F150W", "CLEAR", 0.25, 0.0),), **tables):
    dtype = [("filter", "S12"), ("pupil", "S15"), ("photmjsr", "f4"), ("uncertainty", "f4")]
    found = {"PHOTOM": np.array([tuple(row) for row in rows], dtype), **tables}
    return TableReference(
        reftype="photom", name="jwst_nircam_photom_0001.fits", digest="0" * 64,
        keywords={"PIXAR_SR": AREA_SR, "PIXAR_A2": AREA_A2}, tables=found,
    )  # fmt: skip


def references(shape=(128, 128), **changed):
    area = {"PIXAR_SR": AREA_SR, "PIXAR_A2": AREA_A2}
    held = {
        "distortion": distortion(),
        "filteroffset": filteroffset(),
        "flat": image_reference("flat", np.ones(shape), np.full(shape, 1e-3)),
        "photom": photom_reference(),
        "area": image_reference("area", np.ones(shape), keywords=area),
        **changed,
    }
    return References({key: value for key, value in held.items() if value is not None})


def meta(*, ra=53.16, dec=-27.8, roll=33.0, exposure=1, **changed):
    primary = {
        "TELESCOP": "JWST", "INSTRUME": "NIRCAM", "DETECTOR": "NRCA1", "MODULE": "A", "CHANNEL": "SHORT",
        "FILTER": "F150W", "PUPIL": "CLEAR", "EXP_TYPE": "NRC_IMAGE", "SUBARRAY": "FULL",
        "SUBSTRT1": 1, "SUBSTRT2": 1,
        "PROGRAM": "01234", "OBSERVTN": "001", "VISIT": "001", "VISITGRP": "02", "SEQ_ID": "1",
        "ACT_ID": "01",
        "EXPOSURE": f"{exposure:05d}", "EFFEXPTM": 100.0, "TMEASURE": 95.0, "DURATION": 110.0,
        "EXPSTART": 60000.0 + exposure, "EXPMID": 60000.1 + exposure, "EXPEND": 60000.2 + exposure,
        "DATE-OBS": "2023-02-25", "TIME-OBS": f"00:{exposure:02d}:00.000",
        "FILENAME": f"jw01234001001_02101_{exposure:05d}_nrca1_rate.fits",
    }  # fmt: skip
    science = {
        "RA_REF": ra, "DEC_REF": dec, "V2_REF": 120.0, "V3_REF": -527.0, "ROLL_REF": roll, "V3I_YANG": -0.1,
        "VPARITY": -1, "VA_SCALE": 1.00004, "BUNIT": "DN/s", "XPOSURE": 100.0,
    }  # fmt: skip
    for keyword, value in changed.items():
        (science if keyword in science else primary)[keyword] = value
    return Meta(primary=Keywords(primary), science=Keywords(science))


def rate(data, *, var_poisson=0.01, var_rnoise=0.02, about=None, **more):
    data = np.array(data, np.float32)
    planes = {"var_poisson": np.broadcast_to(np.float32(var_poisson), data.shape).copy()}
    planes["var_rnoise"] = np.broadcast_to(np.float32(var_rnoise), data.shape).copy()
    err = np.sqrt(planes["var_poisson"] + planes["var_rnoise"])
    dq = np.zeros(data.shape, np.uint32)
    about = about or meta()
    size = {"SUBSIZE1": data.shape[-1], "SUBSIZE2": data.shape[-2]}
    about = about.with_primary(**{k: v for k, v in size.items() if about.get(k) is None})
    return Rate(meta=about, data=data, err=err, dq=dq, **planes, **more)
