"""The commands ``calstream simulate EXP_TYPE`` and ``calstream simulate references``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from schemas.errors import UsageError
from simulator import midinfrared
from simulator.downlink import write_downlink, write_environment
from simulator.instruments import FULL_SIZE
from simulator.lamp import Lamp, write_lamp
from simulator.observation import EXP_TYPES, USUAL, Request
from simulator.readout import OTHERS, PATTERNS
from simulator.references.build import add_files


class _Dispatch(TyperGroup):
    """A group whose unknown words are exposure types: ``simulate NRC_IMAGE`` and ``simulate references``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            return super().resolve_command(ctx, ["exposure", *args])
        return super().resolve_command(ctx, args)


simulate = typer.Typer(
    cls=_Dispatch,
    no_args_is_help=True,
    help="Simulate observations with known truth, and CRDS references for them or for given exposures. "
    f"`simulate EXP_TYPE --out DIR` takes exposures ({', '.join(EXP_TYPES)}); "
    "`simulate EXP_TYPE --help` lists its options. "
    "`simulate lamp DETECTOR EXP_TYPE --out DIR` exposes any near-infrared detector to a lamp. "
    "`simulate references FILE... --crds DIR` makes references.",
)


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip().upper() for name in value.split(",") if name.strip())


def _usual(what: str) -> str:
    """Return the values of an option that each exposure type has unless said."""
    values = {name: getattr(usual, what) for name, usual in USUAL.items()}
    return "; ".join(f"{name}: {v if isinstance(v, str) else ','.join(v)}" for name, v in values.items())


@simulate.command("exposure", hidden=True)
def exposure(
    exp_type: Annotated[str, typer.Argument(help=f"One of {', '.join(EXP_TYPES)}.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the files.", show_default=False)],
    detectors: Annotated[
        str | None, typer.Option(help="Detectors, separated by commas.", show_default=_usual("detectors"))
    ] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help="Bandpass.", show_default=_usual("filter"))
    ] = None,
    subarray: Annotated[
        str | None,
        typer.Option(help="FULL or a subarray that the SIAF knows.", show_default=_usual("subarray")),
    ] = None,
    dithers: Annotated[int, typer.Option(help="Number of dither positions.")] = 4,
    ngroups: Annotated[int, typer.Option(help="Groups per integration.")] = 6,
    nints: Annotated[int, typer.Option(help="Integrations per exposure.")] = 1,
    readpatt: Annotated[
        str | None,
        typer.Option(
            help=f"Read pattern: {', '.join(PATTERNS)}; of MIRI {', '.join(midinfrared.PATTERNS)}.",
            show_default=_usual("pattern"),
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed is another sky and other noise.")] = 1,
    sources: Annotated[
        int | None, typer.Option(help="Sources at most.", show_default="as many as fit")
    ] = None,
    flicker: Annotated[
        float, typer.Option(help="1/f noise of the near-infrared detectors; 1 is typical.", min=0.0)
    ] = 0.0,
    dark_groups: Annotated[
        int, typer.Option(help="Groups of the dark, at least those of the exposures.")
    ] = 0,
    persistence: Annotated[
        bool, typer.Option(help="Traps keep charge from one exposure for the next (near-infrared).")
    ] = False,
) -> None:
    """Simulate exposures: Level-1b files, their truth, the CRDS cache and env.sh."""
    if detectors is not None and not _names(detectors):
        raise UsageError("no detector was given")
    usual = USUAL.get(exp_type.upper(), next(iter(USUAL.values())))
    request = Request(
        exp_type.upper(),
        usual.detectors if detectors is None else _names(detectors),
        (filter_ or usual.filter).upper(),
        (subarray or usual.subarray).upper(),
        (readpatt or usual.pattern).upper(),
        ngroups,
        nints,
        dithers,
        seed,
        sources,
        persistence=persistence,
        flicker=flicker,
    )
    write_downlink(request, out, dark_groups, progress=typer.echo)
    typer.echo(f"use the references with: . {out / 'env.sh'}")


@simulate.command("lamp")
def lamp(
    detector: Annotated[str, typer.Argument(help="Any near-infrared detector.", show_default=False)],
    exp_type: Annotated[str, typer.Argument(help="EXP_TYPE of the exposure.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the file.", show_default=False)],
    readpatt: Annotated[str, typer.Option(help=f"Read pattern: {', '.join(PATTERNS | OTHERS)}.")] = "RAPID",
    subarray: Annotated[str, typer.Option(help="Its name.")] = "FULL",
    corner: Annotated[tuple[int, int], typer.Option(help="Its first column and row.")] = (1, 1),
    size: Annotated[tuple[int, int], typer.Option(help="Its columns and rows.")] = (FULL_SIZE, FULL_SIZE),
    ngroups: Annotated[int, typer.Option(help="Groups per integration.")] = 4,
    nints: Annotated[int, typer.Option(help="Integrations.")] = 1,
    zeroframe: Annotated[bool, typer.Option(help="Keep the first frame of each integration.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed is other noise.")] = 1,
    flicker: Annotated[float, typer.Option(help="1/f noise; 1 is typical.", min=0.0)] = 0.0,
) -> None:
    """Expose a detector to a lamp: a Level-1b file and a CRDS cache for it, IRS2 readouts too."""
    request = Lamp(
        detector=detector.upper(),
        exp_type=exp_type.upper(),
        pattern=readpatt.upper(),
        subarray=subarray.upper(),
        corner=corner,
        size=size,
        ngroups=ngroups,
        nints=nints,
        zeroframe=zeroframe,
        seed=seed,
        flicker=flicker,
    )
    request.check()
    out.mkdir(parents=True, exist_ok=True)
    path = write_lamp(request, out / f"jw01234009001_02101_{seed:05d}_{detector.lower()}_uncal.fits")
    typer.echo(path.name)
    add_files(out / "crds_cache", [path])
    write_environment(out, out / "crds_cache")
    typer.echo(f"use the references with: . {out / 'env.sh'}")


@simulate.command("references")
def references(
    files: Annotated[list[Path], typer.Argument(help="Exposures of any level.", show_default=False)],
    crds: Annotated[Path, typer.Option(help="Cache to write or to extend; CRDS_PATH of its users.")],
    dark_groups: Annotated[
        int, typer.Option(help="Groups of the darks, at least those of each exposure.")
    ] = 0,
) -> None:
    """Write a CRDS cache that serves given exposures."""
    context = add_files(crds, files, dark_groups)
    typer.echo(f"export CRDS_PATH={crds.resolve()}  # operational context {context}")
