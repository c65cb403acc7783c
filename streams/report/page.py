"""Write the page of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from schemas.errors import Unprocessable, explained
from streams.lines import MAIN
from streams.report.gather import Folder, gather
from streams.report.history import History, of_bus, of_record
from streams.report.provenance import origins
from streams.report.recovery import Check, check_errors
from streams.report.sections import PREVIEWS, mosaic_section, previews, quality_table
from streams.report.timeline import duration, timeline
from streams.report.truth import Truth, deviations, read_truth
from streams.run.record import read_record
from streams.site import Site


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """What the user asks of `calstream report`.

    Attributes
    ----------
    folder : Path
        Of the products.
    out : Path
        The page.
    truth : Path, optional
        Folder of a simulation's truth.
    record : Path, optional
        The run's record.
    site : Site, optional
        Where the products were made, if services made them: its events are the timeline.
    timeline : bool
        Whether the page must have a timeline.
    line, since : str, float
        Of the bus, only what was published on a line from a time on, seconds since 1970.
    """

    folder: Path
    out: Path
    truth: Path | None = None
    record: Path | None = None
    site: Site | None = None
    timeline: bool = False
    line: str = MAIN
    since: float = float("-inf")


def write_report(request: ReportRequest) -> list[Check]:
    """Write the page, and return what was checked against the truth; nothing without one.

    Parameters
    ----------
    request : ReportRequest
        What is asked.

    Raises
    ------
    CalstreamError
        If there is nothing to show, or a file cannot be read or written.
    """
    folder = gather(request.folder)
    truth = None if request.truth is None else read_truth(request.truth)
    history = _history(request, folder)
    sections = [mosaic_section(i, combined, truth) for i, combined in enumerate(folder.combined)]
    errors = _errors(folder, truth)
    checks = [section.recovered.check for section in sections if section.recovered]
    checks += [errors["check"]] if errors else []
    text = _template().render(
        title=_title(folder),
        facts=_facts(folder, history),
        sections=sections,
        previews=previews(folder),
        hidden=max(0, len(folder.exposures) - PREVIEWS),
        quality=quality_table(folder),
        timeline=timeline(history) if history else None,
        history=history,
        errors=errors,
        checks=checks,
        origins=origins(folder.heads),
        problems=folder.problems,
        duration=duration,
        version=metadata.version("calstream"),
    )
    _write(text, request.out)
    return checks


def _history(request: ReportRequest, folder: Folder) -> History | None:
    if request.record is not None:
        return of_record(read_record(request.record))
    if request.site is None:
        return None
    names = {*folder.exposures, *(item.image.name for item in folder.combined)}
    history = of_bus(request.site, names, request.line, request.since)
    if history is None and request.timeline:
        raise Unprocessable(
            f"{request.site.address.bus}: no event of line {request.line!r} speaks of what is in "
            f"{folder.path}; name the bus and the line that it was made on, or another time with --since"
        )
    return history


def _errors(folder: Folder, truth: Truth | None) -> dict[str, Any] | None:
    if truth is None:
        return None
    from streams.report.plots import deviation_plot

    found = deviations(folder.calibrated(), truth)
    check = check_errors(found)
    label = f"Histogram of (measured - true) / error: {check.sentence}"
    return {"check": check, "count": found.size, "plot": deviation_plot(found, label) if found.size else ""}


def _title(folder: Folder) -> str:
    targets = {str(head.meta.get("TARGPROP") or head.meta.get("TARGNAME") or "") for head in folder.heads} - {
        ""
    }
    return next(iter(targets)) if len(targets) == 1 else folder.path.resolve().name


def _facts(folder: Folder, history: History | None) -> list[tuple[str, str]]:
    heads = folder.heads
    meta = heads[0].meta
    contexts = sorted({str(head.meta.get("CRDS_CTX")) for head in heads if head.meta.get("CRDS_CTX")})
    versions = sorted({_software(head.meta) for head in heads} - {""})
    facts = [
        ("Software", ", ".join(versions)),
        ("CRDS context", ", ".join(contexts)),
        ("Recipe", history.recipe if history else ""),
        ("Exposures", str(len(folder.exposures))),
        ("Combined", str(len(folder.combined))),
        ("Wall time", duration(history.seconds) if history else ""),
        ("Begun", _when(history.began) if history else ""),
        ("Program", str(meta.get("PROGRAM") or "")),
    ]
    return [(name, value) for name, value in facts if value]


def _software(meta: Any) -> str:
    version = meta.get("CAL_VER")
    return f"{meta.get('CAL_VCS') or 'calstream'} {version}" if version else ""


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("streams.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _write(text: str, out: Path) -> None:
    partial = out.with_name(f".{out.name}.part")
    try:
        with explained(out, "written"):
            partial.write_text(text, encoding="utf-8")
            partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
