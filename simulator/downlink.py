"""Write a simulated downlink: Level-1b files, their truth, the CRDS cache, and how to use it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from schemas.errors import Unprocessable
from simulator import level1b, truth
from simulator.crds_cache import CrdsCache
from simulator.exposure import simulate, traps_of
from simulator.observation import Request, plan, sky
from simulator.persistence import Traps
from simulator.references.build import add_exposure, header_of


def write_downlink(
    request: Request, out: Path, dark_groups: int = 0, progress: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Simulate a request.

    Parameters
    ----------
    request : Request
        What to observe.
    out : Path
        Folder for ``*_uncal.fits``, ``truth/``, ``crds_cache/`` (extended when it is there already) and
        ``env.sh``.
    dark_groups : int
        Groups of the dark reference, at least those of the exposures.
    progress : callable
        Called with a sentence when something is done.

    Returns
    -------
    list of Path
        The Level-1b files.
    """
    exposures = plan(request)
    scene = sky(exposures)
    try:
        (out / "truth").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unprocessable(
            f"{out} cannot be written to ({error.strerror}); choose another folder"
        ) from error
    truth.write_catalogue(scene, exposures[0], out / "truth/sources.ecsv")
    cache = CrdsCache(out / "crds_cache")
    paths = []
    traps: dict[str, Traps | None] = {}
    # One detector after the other: the maps of one are kept, and those of two are 300 MB more.
    for exposure in sorted(exposures, key=lambda exposure: exposure.detector.name):
        name = exposure.detector.name
        if name not in traps:
            traps = {name: traps_of(exposure)}
        simulated = simulate(exposure, scene, traps[name])
        path = out / f"{exposure.name}_uncal.fits"
        level1b.write(simulated, path)
        truth.write_exposure(simulated, out / f"truth/{exposure.name}_truth.fits")
        traps_there = traps[name] is not None
        add_exposure(cache, header_of(path), dark_groups, ipc=request.coupling, traps=traps_there)
        paths.append(path)
        progress(path.name)
    context = cache.commit()
    write_environment(out, out / "crds_cache")
    progress(f"crds_cache ({context})")
    return sorted(paths)


def write_environment(out: Path, cache: Path) -> None:
    """Write ``env.sh``, which makes the CRDS client use a cache and nothing else."""
    (out / "env.sh").write_text(
        "# Source this file: the CRDS client then reads the simulated references, with no network.\n"
        f"export CRDS_PATH={shlex.quote(str(cache.resolve()))}\n"
        "unset CRDS_SERVER_URL CRDS_CONTEXT\n"
    )
