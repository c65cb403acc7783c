"""Plots of a page, as inline SVG that takes its colours from the page's style sheet."""

from __future__ import annotations

import io
import re
from typing import Any, Final

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from streams.report.recovery import FLUX_BOUND, Sources

# Colours that stand for the page's own: matplotlib writes them, `_themed` replaces them.
_INK, _FAINT, _FIRST, _SECOND, _BAND = "#010203", "#010204", "#010205", "#010206", "#010207"
_VARIABLES: Final = {
    _INK: "var(--ink-2)", _FAINT: "var(--line)", _FIRST: "var(--accent)", _SECOND: "var(--accent-2)",
    _BAND: "var(--good)",
}  # fmt: skip
_STYLE: Final = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10.5, "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK, "xtick.color": _FAINT, "ytick.color": _FAINT, "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "text.color": _INK, "axes.grid": True, "grid.color": _FAINT, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "legend.fontsize": 9.5,
}  # fmt: skip
_MANY: Final = 3000


def flux_plot(sources: Sources, label: str) -> str:
    """Return measured over true flux against magnitude.

    Parameters
    ----------
    sources : Sources
        Those to show.
    label : str
        What a screen reader says.
    """
    judged, others = sources.judged, sources.star & ~sources.judged
    with rc_context(_style(label)):
        figure = Figure(figsize=(6.4, 3.6))
        axes = figure.subplots()
        axes.axhspan(-100 * FLUX_BOUND, 100 * FLUX_BOUND, color=_BAND, alpha=0.18, lw=0)
        axes.axhline(0, color=_INK, lw=0.8)
        for mask, colour, name in ((others, _SECOND, "other stars"), (judged, _FIRST, "isolated stars")):
            if mask.any():
                _points(axes, sources, mask, colour, name)
        axes.set(xlabel="true magnitude (AB)", ylabel="measured / true \N{MINUS SIGN} 1  (%)")
        low, high = _span(100 * (sources.ratio[judged] - 1), 100 * sources.ratio_err[judged])
        axes.set_ylim(low, high)
        if (judged | others).any():
            axes.legend(loc="lower left", ncols=2)
        return _svg(figure, label)


def position_plot(sources: Sources, label: str) -> str:
    """Return measured minus true positions.

    Parameters
    ----------
    sources : Sources
        Those to show.
    label : str
        What a screen reader says.
    """
    judged, others = sources.judged, sources.star & ~sources.judged
    with rc_context(_style(label)):
        figure = Figure(figsize=(3.9, 3.6))
        axes = figure.subplots()
        axes.axhline(0, color=_INK, lw=0.8)
        axes.axvline(0, color=_INK, lw=0.8)
        for mask, colour in ((others, _SECOND), (judged, _FIRST)):
            axes.plot(sources.dra[mask], sources.ddec[mask], ".", ms=5, mew=0, color=colour, alpha=0.8)
        both = np.abs(np.concatenate([sources.dra[judged], sources.ddec[judged], [1.0]]))
        reach = 1.7 * float(np.quantile(both, 0.95))
        axes.set(xlim=(reach, -reach), ylim=(-reach, reach), aspect="equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
        axes.set(xlabel="Δα cos δ  (mas)", ylabel="Δδ  (mas)")
        return _svg(figure, label)


def deviation_plot(deviations: NDArray[np.float64], label: str) -> str:
    """Return the histogram of (measured - true) / error beside a Gaussian of unit width.

    Parameters
    ----------
    deviations : ndarray (naperture,)
        What to show.
    label : str
        What a screen reader says.
    """
    with rc_context(_style(label)):
        figure = Figure(figsize=(6.4, 3.4))
        axes = figure.subplots()
        width = 0.25
        edges = np.arange(-5, 5 + width / 2, width)
        axes.hist(
            np.clip(deviations, -5, 5), edges.tolist(), color=_FIRST, alpha=0.55, lw=0, label="apertures"
        )
        x = np.linspace(-5, 5, 201)
        expected = deviations.size * width * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
        axes.plot(x, expected, color=_SECOND, lw=1.8, label="Gaussian of unit width")
        axes.set(xlabel="(measured \N{MINUS SIGN} true) / error", ylabel="apertures", xlim=(-5, 5))
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper right")
        return _svg(figure, label)


def _style(label: str) -> dict[str, Any]:
    return {**_STYLE, "svg.hashsalt": label}  # names of markers and clips differ by plot


def _points(axes: Any, sources: Sources, mask: NDArray[np.bool_], colour: str, name: str) -> None:
    many = int(mask.sum()) > _MANY
    axes.errorbar(
        sources.magnitude[mask],
        100 * (sources.ratio[mask] - 1),
        None if many else 100 * sources.ratio_err[mask],
        fmt=".",
        ms=2 if many else 5,
        lw=0.9,
        color=colour,
        alpha=0.85,
        label=name,
        mew=0,
        rasterized=many,
    )


def _span(values: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[float, float]:
    """Return limits that hold nearly all points; the bounds are always in sight."""
    if not values.size:
        return -5.0, 5.0
    reach = float(np.quantile(np.abs(values) + errors, 0.97))
    reach = max(1.3 * reach, 300 * FLUX_BOUND)
    return -reach, reach


def _svg(figure: Figure, label: str) -> str:
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None}
    )
    return _themed(buffer.getvalue(), label)


def _themed(svg: str, label: str) -> str:
    """Return the bare element: the page's colours, no fixed size, no names that another plot has too."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r' id="(?![a-zA-Z][0-9a-f]{8,}")[^"]*"', "", body)  # others tell clips and markers apart
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--sans)", body)
    body = body.replace("sans-serif", "var(--sans)")
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    return body.replace("<svg ", f'<svg role="img" aria-label="{_attribute(label)}" ', 1)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
