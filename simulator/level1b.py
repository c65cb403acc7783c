"""Level-1b files as JWST's: headers, groups and integration times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.time import Time
from stdatamodels.jwst import datamodels

from simulator.exposure import Simulated
from simulator.geometry import distortion
from simulator.midinfrared import samples
from simulator.observation import POSITION_ANGLE, TARGET, Exposure, corners

_GROUP = [
    ("integration_number", "i4"),
    ("group_number", "i2"),
    ("end_day", "i2"),
    ("end_milliseconds", "i4"),
    ("end_submilliseconds", "i2"),
    ("group_end_time", "S26"),
    ("number_of_columns", "i2"),
    ("number_of_rows", "i2"),
    ("number_of_gaps", "i2"),
    ("completion_code_number", "i2"),
    ("completion_code_text", "S36"),
    ("bary_end_time", "f8"),
    ("helio_end_time", "f8"),
]
_INT_TIMES = [("integration_number", "i4")] + [
    (f"int_{what}_{scale}", "f8") for scale in ("MJD_UTC", "BJD_TDB") for what in ("start", "mid", "end")
]


def write(simulated: Simulated, path: Path) -> None:
    """Write an exposure as a Level-1b file.

    Parameters
    ----------
    simulated : Simulated
        The exposure.
    path : Path
        File to write, ``..._uncal.fits``.
    """
    exposure = simulated.exposure
    with datamodels.Level1bModel(simulated.data, strict_validation=True) as model:
        for parts in (_programme, _instrument, _timing, _pointing):
            for key, value in parts(exposure).items():
                model[f"meta.{key}"] = value
        model["meta.filename"] = path.name
        model["meta.model_type"] = "Level1bModel"
        model["meta.wcsinfo.s_region"] = _region(exposure)
        model.group = _groups(exposure)
        model.int_times = _integrations(exposure)
        save(model, path)


def save(model: datamodels.Level1bModel, path: Path, keywords: Iterable[tuple[str, str]] = ()) -> None:
    """Write a model so that the file is there only when it is whole.

    Parameters
    ----------
    model : Level1bModel
        What to write.
    path : Path
        File to write.
    keywords : iterable of (str, str)
        Further FITS keywords of the primary header, and their values.
    """
    from astropy.io import fits

    temporary = path.with_suffix(".tmp.fits")
    model.save(temporary, overwrite=True)
    with fits.open(temporary, mode="update") as hdus:
        # `save` puts the name of the file that it writes into the header.
        hdus[0].header.update([("FILENAME", path.name), *keywords])
    temporary.replace(path)


def _programme(exposure: Exposure) -> dict[str, Any]:
    request = exposure.request
    number = f"{exposure.dither:05d}"
    return {
        "telescope": "JWST",
        "origin": "CALSTREAM simulator",
        "filetype": "raw",
        "time_sys": "UTC",
        "time_unit": "s",
        "data_processing_version": "2022_3",
        "sdp_vers": "simulated",
        "program.title": "Simulated field",
        "program.pi_name": "Simulator",
        "program.category": "CAL",
        "program.sub_category": exposure.detector.instrument,
        "program.science_category": "Calibration",
        "program.continuation_id": 0,
        "observation.date": _time(exposure.start).strftime("%Y-%m-%d"),
        "observation.time": _time(exposure.start).strftime("%H:%M:%S.%f")[:-3],
        "observation.obs_id": f"V{request.program}{request.observation}001P0000000002101",
        "observation.visit_id": f"{request.program}{request.observation}001",
        "observation.program_number": request.program,
        "observation.observation_number": request.observation,
        "observation.visit_number": "001",
        "observation.visit_group": "02",
        "observation.sequence_id": "1",
        "observation.activity_id": "01",
        "observation.exposure_number": number,
        "observation.observation_label": "Simulated field",
        "observation.observation_folder": "Simulation",
        "visit.type": "PRIME_TARGETED_FIXED",
        "visit.status": "SUCCESSFUL",
        "visit.internal_target": False,
        "visit.external_target": True,
        "visit.tsovisit": False,
        "visit.total_exposures": request.dithers,
        "visit.crowded_field": False,
        "target.catalog_name": "SIMULATED-FIELD",
        "target.proposer_name": "SIMULATED-FIELD",
        "target.type": "FIXED",
        "target.ra": TARGET[0],
        "target.dec": TARGET[1],
        "target.ra_uncertainty": 0.0,
        "target.dec_uncertainty": 0.0,
        "target.proposer_ra": TARGET[0],
        "target.proposer_dec": TARGET[1],
    }


def _instrument(exposure: Exposure) -> dict[str, Any]:
    camera, part = exposure.detector, exposure.window
    return {
        "instrument.name": camera.instrument,
        "instrument.detector": camera.name,
        **_optics(exposure),
        "subarray.name": part.name,
        "subarray.xstart": part.xstart,
        "subarray.ystart": part.ystart,
        "subarray.xsize": part.nx,
        "subarray.ysize": part.ny,
        "subarray.fastaxis": camera.fast_axis,
        "subarray.slowaxis": camera.slow_axis,
        "aperture.name": part.aperture,
        "aperture.pps_name": part.aperture,
        "aperture.position_angle": (exposure.pointing.roll_ref + part.angle) % 360,
        "dither.primary_type": "NONE" if exposure.request.dithers == 1 else "INTRAMODULE",
        "dither.position_number": exposure.dither,
        "dither.total_points": exposure.request.dithers,
        "dither.pattern_size": "SMALL",
        "dither.subpixel_number": 1,
        "dither.subpixel_total_points": 1,
        "dither.primary_points": exposure.request.dithers,
        "dither.x_offset": exposure.offset[0],
        "dither.y_offset": exposure.offset[1],
    }


def _optics(exposure: Exposure) -> dict[str, Any]:
    """Return what stands in the beam; MIRI has one wheel and neither modules nor channels of its imager."""
    camera, (filter_, pupil) = exposure.detector, exposure.pair
    if camera.mid_infrared:
        return {"instrument.filter": filter_}
    return {
        "instrument.module": camera.module,
        "instrument.channel": camera.channel,
        "instrument.filter": filter_,
        "instrument.pupil": pupil,
    }


def _timing(exposure: Exposure) -> dict[str, Any]:
    sampling = exposure.readout
    duration = sampling.nints * (sampling.integration_time + sampling.tframe)
    effective = sampling.integration_time * sampling.nints
    day = 1 / 86400
    return {
        "exposure.type": exposure.request.exp_type.upper(),
        "exposure.readpatt": sampling.pattern,
        "exposure.nints": sampling.nints,
        "exposure.ngroups": sampling.ngroups,
        "exposure.nframes": sampling.nframes,
        "exposure.groupgap": sampling.groupgap,
        "exposure.frame_divisor": sampling.nframes,
        "exposure.drop_frames1": 0,
        "exposure.frame_time": sampling.tframe,
        "exposure.group_time": sampling.tgroup,
        "exposure.sample_time": 10.0,
        "exposure.nsamples": samples(sampling.pattern),
        "exposure.integration_time": sampling.integration_time,
        "exposure.exposure_time": effective,
        "exposure.effective_exposure_time": effective,
        "exposure.elapsed_exposure_time": duration,
        "exposure.duration": duration,
        "exposure.measurement_time": effective,
        "exposure.nresets_at_start": 1,
        "exposure.nresets_between_ints": 1,
        "exposure.noutputs": exposure.outputs,
        "exposure.start_time": exposure.start,
        "exposure.mid_time": exposure.start + duration / 2 * day,
        "exposure.end_time": exposure.start + duration * day,
        "exposure.start_time_mjd": exposure.start,
        "exposure.mid_time_mjd": exposure.start + duration / 2 * day,
        "exposure.end_time_mjd": exposure.start + duration * day,
        "exposure.count": 1,
        "exposure.zero_frame": False,
        "exposure.data_problem": False,
        "exposure.sca_num": _SCA[exposure.detector.name],
        "exposure.integration_start": 1,
        "exposure.integration_end": sampling.nints,
    }


_SCA = {
    name: number
    for number, name in enumerate(
        ["NRCA1", "NRCA2", "NRCA3", "NRCA4", "NRCALONG", "NRCB1", "NRCB2", "NRCB3", "NRCB4", "NRCBLONG"], 481
    )
} | {"MIRIMAGE": 493}


def _pointing(exposure: Exposure) -> dict[str, Any]:
    part, here = exposure.window, exposure.pointing
    boresight = here.at((0.0, 0.0))
    m = distortion(exposure.detector).rotation
    scale = np.sqrt(distortion(exposure.detector).nominal_area) * 180 / np.pi
    roll = np.deg2rad(here.roll_ref)
    # From offsets in (V2, V3) to offsets to the east and to the north.
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    pc = turn @ m
    return {
        "pointing.ra_v1": boresight.ra_ref,
        "pointing.dec_v1": boresight.dec_ref,
        "pointing.pa_v3": boresight.roll_ref,
        "wcsinfo.wcsaxes": 2,
        "wcsinfo.ctype1": "RA---TAN",
        "wcsinfo.ctype2": "DEC--TAN",
        "wcsinfo.cunit1": "deg",
        "wcsinfo.cunit2": "deg",
        "wcsinfo.crpix1": part.reference[0],
        "wcsinfo.crpix2": part.reference[1],
        "wcsinfo.crval1": here.ra_ref,
        "wcsinfo.crval2": here.dec_ref,
        "wcsinfo.cdelt1": scale,
        "wcsinfo.cdelt2": scale,
        "wcsinfo.pc1_1": pc[0, 0],
        "wcsinfo.pc1_2": pc[0, 1],
        "wcsinfo.pc2_1": pc[1, 0],
        "wcsinfo.pc2_2": pc[1, 1],
        "wcsinfo.ra_ref": here.ra_ref,
        "wcsinfo.dec_ref": here.dec_ref,
        "wcsinfo.roll_ref": here.roll_ref,
        "wcsinfo.v2_ref": part.v2v3[0],
        "wcsinfo.v3_ref": part.v2v3[1],
        "wcsinfo.vparity": part.parity,
        "wcsinfo.v3yangle": part.angle,
        "wcsinfo.siaf_xref_sci": part.reference[0],
        "wcsinfo.siaf_yref_sci": part.reference[1],
        "coordinates.reference_frame": "ICRS",
        "velocity_aberration.scale_factor": here.va_scale,
        "velocity_aberration.va_ra_ref": here.ra_ref,
        "velocity_aberration.va_dec_ref": here.dec_ref,
        "visit.pointing_engineering_quality": "CALCULATED",
        "pointing.pa_aper_nominal": POSITION_ANGLE,
    }


def _region(exposure: Exposure) -> str:
    ra, dec = corners(exposure)
    return "POLYGON ICRS  " + " ".join(f"{a:.9f} {d:.9f}" for a, d in zip(ra, dec, strict=True))


def _time(mjd: float) -> Any:
    return Time(mjd, format="mjd", scale="utc").to_datetime()


def _groups(exposure: Exposure) -> Any:
    sampling = exposure.readout
    start = _time(exposure.start)
    rows = []
    for i in range(sampling.nints):
        for g in range(sampling.ngroups):
            seconds = (
                i * (sampling.integration_time + sampling.tframe) + sampling.frames(g)[-1] * sampling.tframe
            )
            end = start + timedelta(seconds=seconds)
            midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
            milli, micro = divmod(round((end - midnight).total_seconds() * 1e6), 1000)
            mjd = exposure.start + seconds / 86400
            rows.append(
                (
                    i + 1,
                    g + 1,
                    (end.year - 2000) * 366 + end.timetuple().tm_yday,
                    milli,
                    micro,
                    end.isoformat()[:26],
                    exposure.window.nx,
                    exposure.window.ny,
                    0,
                    0,
                    "Normal Completion",
                    mjd,
                    mjd,
                )
            )
    return np.array(rows, dtype=_GROUP)


def _integrations(exposure: Exposure) -> Any:
    sampling = exposure.readout
    rows = []
    for i in range(sampling.nints):
        begin = exposure.start + i * (sampling.integration_time + sampling.tframe) / 86400
        times = [
            begin,
            begin + sampling.integration_time / 2 / 86400,
            begin + sampling.integration_time / 86400,
        ]
        rows.append((i + 1, *times, *times))
    return np.array(rows, dtype=_INT_TIMES)
