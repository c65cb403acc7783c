"""A CRDS cache that the unmodified ``crds`` client reads with nothing but CRDS_PATH.

Mappings never change once written: each addition writes new ones under the next serial number and makes the
new context the operational one. The rules (what a mapping's header holds, what its checksum covers) are those
of the CRDS documentation, "Rules Files" and "CRDS Cache".
"""

from __future__ import annotations

import ast
import hashlib
import pprint
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from schemas.errors import Unprocessable

USEAFTER: Final = "2015-01-01 00:00:00"
"""Every reference file is valid for exposures after this date."""

_ALL_TYPES: Final = """
abvegaoffset apcorr area barshadow bkg camera chromcorr collimator cubepar dark dflat disperser distortion
drizpars emicorr extract1d fflat filteroffset flat fore fpa fringe fringefreq gain ifufore ifupost ifuslicer
ipc lastframe linearity mask mrsptcorr mrsxartcorr msa msaoper nrm ote pastasoss pathloss persat photom
pictureframe psf psfmask readnoise refpix regions reset resol rscd saturation sflat sirskernel speckernel
specprofile spectrace specwcs straymask superbias throughput trapdensity trappars tsophot wavecorr
wavelengthrange wavemap wcsregions wfssbkg
"""
_STEPS: Final = """
adaptivetracemodel alignrefs ami3pipeline amianalyze amiaverage aminormalize assignmtwcs assignwcs background
badpixselfcal barshadow chargemigration cleanflickernoise combine1d coron3pipeline cubebuild darkcurrent
darkpipeline detector1pipeline dqinit emicorr engdblog extract1d extract2d firstframe flatfield fringe
gainscale groupscale guidercds guiderpipeline hlsp image2pipeline image3pipeline imprint ipc jump klip
lastframe linearity linearpipeline masterbackground masterbackgroundmos mrsimatch msaflagopen nsclean
outlierdetection pathloss persistence photom pictureframe pixelreplace rampfit refpix resample resamplespec
reset residualfringe rscd saturation skymatch sourcecatalog sourcetype spec2pipeline spec3pipeline
spectralleak stackrefs straylight subtractimages superbias targcentroid tso3pipeline tsophotometry tweakreg
undersamplecorrection wavecorr wfsscontam whitelight wfscombine
"""
_PARAMETERS: Final = tuple(
    f"pars-{name if name.endswith('pipeline') else name + 'step'}" for name in _STEPS.split()
)

KEYS: Final[dict[str, tuple[str, ...]]] = {
    "mask": ("DETECTOR",),
    "saturation": ("DETECTOR",),
    "superbias": ("DETECTOR",),
    "linearity": ("DETECTOR",),
    "gain": ("DETECTOR",),
    "readnoise": ("DETECTOR",),
    "dark": ("DETECTOR", "READPATT", "SUBARRAY"),
    "reset": ("DETECTOR", "READPATT", "SUBARRAY"),
    "rscd": ("DETECTOR",),
    "emicorr": ("DETECTOR",),
    "distortion": ("DETECTOR",),
    "filteroffset": ("DETECTOR",),
    "flat": ("DETECTOR", "FILTER", "PUPIL"),
    "photom": ("DETECTOR",),
    "area": ("DETECTOR",),
    "apcorr": (),
    "abvegaoffset": (),
}
"""Header keywords that each type of reference file is matched on."""
SPECIAL: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("NIRSPEC", "mask"): ("DETECTOR", "READPATT"),
    ("NIRSPEC", "superbias"): ("DETECTOR", "READPATT"),
    ("NIRSPEC", "refpix"): ("DETECTOR", "READPATT"),
    **{(instrument, "ipc"): ("DETECTOR",) for instrument in ("NIRCAM", "NIRISS", "NIRSPEC", "FGS", "MIRI")},
    **{
        (instrument, reftype): ("DETECTOR",)
        for instrument in ("NIRCAM", "NIRISS", "NIRSPEC", "FGS")
        for reftype in ("trapdensity", "trappars", "persat")
    },
}
"""The same by instrument, where it is another or the type is one that few have."""


def keys(instrument: str, reftype: str) -> tuple[str, ...]:
    """Return the header keywords that an instrument's reference files of a type are matched on."""
    return SPECIAL.get((instrument, reftype)) or KEYS[reftype]


_PATHS: Final = {
    "DETECTOR": "META.INSTRUMENT.DETECTOR",
    "READPATT": "META.EXPOSURE.READPATT",
    "SUBARRAY": "META.SUBARRAY.NAME",
    "FILTER": "META.INSTRUMENT.FILTER",
    "PUPIL": "META.INSTRUMENT.PUPIL",
}
_DATE: Final = ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")

Rules = dict[tuple[str, ...], str]
"""Reference file by the values of its type's keys."""


@dataclass
class CrdsCache:
    """A cache being added to; nothing is visible to readers before `commit`.

    Parameters
    ----------
    root : Path
        What CRDS_PATH will name. What is there already is kept.
    """

    root: Path
    rules: dict[str, dict[str, Rules]] = field(default_factory=dict)
    """By instrument and type."""
    _changed: set[tuple[str, str]] = field(default_factory=set)
    _serial: int = 0
    _names: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.root / "config/jwst/server_config"
        if config.exists():
            context = ast.literal_eval(config.read_text())["operational_context"]
            self._load(context)

    def find(self, instrument: str, reftype: str, match: tuple[str, ...]) -> Path | None:
        """Return the reference file of a type for values of its keys, or None."""
        name = self.rules.get(instrument, {}).get(reftype, {}).get(match)
        return None if name is None else self._folder(instrument) / name

    def new_path(self, instrument: str, reftype: str, extension: str) -> Path:
        """Return where the next reference file of a type belongs."""
        folder = self._folder(instrument)
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"jwst_{instrument.lower()}_{reftype}_"
        numbers = [int(m[1]) for p in folder.glob(f"{stem}*") if (m := re.match(rf"{stem}(\d+)\.", p.name))]
        return folder / f"{stem}{max(numbers, default=0) + 1:04d}.{extension}"

    def add(self, instrument: str, reftype: str, match: tuple[str, ...], path: Path) -> None:
        """Make a reference file the best one for values of its type's keys."""
        if len(match) != len(keys(instrument, reftype)):
            raise ValueError(f"{reftype} is matched on {keys(instrument, reftype)}, not on {match}")
        self.rules.setdefault(instrument, {}).setdefault(reftype, {})[match] = path.name
        self._changed.add((instrument, reftype))

    def add_none(self, instrument: str, reftype: str, match: tuple[str, ...]) -> None:
        """Say that for values of a type's keys there is to be no reference file."""
        rules = self.rules.setdefault(instrument, {}).setdefault(reftype, {})
        if match not in rules:
            rules[match] = "N/A"
            self._changed.add((instrument, reftype))

    def commit(self) -> str:
        """Write new mappings for what was added, and return the operational context's name."""
        if self._changed:
            self._serial += 1
            self._write_rmaps()
            self._write_imaps()
            self._write_config()
            self._changed.clear()
        return f"jwst_{self._serial:04d}.pmap"

    def _folder(self, instrument: str) -> Path:
        return self.root / "references/jwst" / instrument.lower()

    def _write_rmaps(self) -> None:
        for instrument, reftype in sorted(self._changed):
            selector = {
                match: {USEAFTER: name} for match, name in sorted(self.rules[instrument][reftype].items())
            }
            lines = [f"    {match!r} : UseAfter({used!r})," for match, used in selector.items()]
            name = f"jwst_{instrument.lower()}_{reftype}_{self._serial:04d}.rmap"
            self._names[instrument, reftype] = name
            header = {
                "filekind": reftype.upper(),
                "instrument": instrument,
                "mapping": "REFERENCE",
                "parkey": (tuple(_PATHS[key] for key in keys(instrument, reftype)), _DATE),
            }
            self._write(name, header, "Match({\n" + "\n".join(lines) + "\n})")

    def _write_imaps(self) -> None:
        for instrument in sorted({instrument for instrument, _ in self._changed}):
            selector = dict.fromkeys((*_ALL_TYPES.split(), *_PARAMETERS), "N/A")
            selector |= {t: name for (i, t), name in self._names.items() if i == instrument and t}
            name = f"jwst_{instrument.lower()}_{self._serial:04d}.imap"
            self._names[instrument, ""] = name
            header = {"instrument": instrument, "mapping": "INSTRUMENT", "parkey": ("REFTYPE",)}
            self._write(name, header, pprint.pformat(selector))
        pmap = {i: name for (i, t), name in sorted(self._names.items()) if not t}
        header = {"mapping": "PIPELINE", "parkey": ("META.INSTRUMENT.NAME",)}
        self._write(f"jwst_{self._serial:04d}.pmap", header, pprint.pformat(pmap))

    def _write(self, name: str, header: dict[str, Any], selector: str) -> None:
        header |= {"name": name, "observatory": "JWST", "derived_from": "calstream simulator"}
        rows = [f"    {key!r} : {value!r},\n" for key, value in sorted(header.items())]
        body = "".join(rows), "}\n\nselector = " + selector + "\n"
        digest = hashlib.sha1(
            ("header = {\n" + body[0] + body[1]).encode(), usedforsecurity=False
        ).hexdigest()
        path = self.root / "mappings/jwst" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("header = {\n" + body[0] + f"    'sha1sum' : {digest!r},\n" + body[1])

    def _write_config(self) -> None:
        folder = self.root / "config/jwst"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ref_cache_subdir_mode").write_text("instrument")
        config = {
            "observatory": "jwst",
            "operational_context": f"jwst_{self._serial:04d}.pmap",
            "bad_files_list": [],
            "bad_files": "",
            "last_synced": "never",
            "force_remote_mode": False,
            "status": "s3",
            "reason": "written by the calstream simulator",
        }
        temporary = folder / "server_config.new"
        temporary.write_text(pprint.pformat(config) + "\n")
        temporary.replace(folder / "server_config")

    def _load(self, context: str) -> None:
        self._serial = int(re.findall(r"\d+", context)[-1])
        for instrument, imap in _selector(self.root / "mappings/jwst" / context).items():
            self._names[instrument, ""] = imap
            for reftype, rmap in _selector(self.root / "mappings/jwst" / imap).items():
                if rmap != "N/A":
                    self._names[instrument, reftype] = rmap
                    matches = _selector(self.root / "mappings/jwst" / rmap)
                    rules = {match: next(iter(used.values())) for match, used in matches.items()}
                    self.rules.setdefault(instrument, {})[reftype] = rules


def _selector(path: Path) -> dict[Any, Any]:
    """Return a mapping's selector with ``Match`` and ``UseAfter`` as plain dictionaries."""
    try:
        tree = ast.parse(path.read_text())
        statement = next(s for s in tree.body if isinstance(s, ast.Assign) and s.targets[0].id == "selector")  # type: ignore[attr-defined]
        result = ast.literal_eval(_Plain().visit(statement.value))
    except (OSError, SyntaxError, ValueError, StopIteration) as error:
        raise Unprocessable(
            f"{path} is no CRDS mapping that can be added to ({error}); use another folder"
        ) from error
    return dict(result)


class _Plain(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        plain: ast.AST = self.visit(node.args[0])
        return plain
