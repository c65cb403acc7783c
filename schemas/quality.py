"""The quality figures that events of stage 1 carry: what each is, told once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class FigureKind:
    """A quality figure.

    Attributes
    ----------
    label : str
        In a few words, for people.
    unit : str
        Of its value; empty for a number.
    doc : str
        How it is measured.
    """

    label: str
    unit: str
    doc: str


FIGURES: Final[Mapping[str, FigureKind]] = {
    "cosmic_ray_rate": FigureKind(
        "cosmic rays",
        "cm-2 s-1",
        "connected regions of jumps that rise by more than 6 sigma, less those that fall by as much, for "
        "area and time, in some groups; fainter hits do not count",
    ),
    "saturated_fraction": FigureKind(
        "saturated", "", "part of the pixels that see light which saturate in any integration"
    ),
    "reference_pixel_scatter": FigureKind(
        "reference pixels scatter by", "DN", "of a group, robustly, behind the correction by them"
    ),
    "residual_1f_power": FigureKind(
        "1/f power",
        "",
        "variance of rows' offsets beyond what white noise gives, over that of a pixel; about 0 for none",
    ),
    "median_background": FigureKind("background", "DN/s", "median of the rate's pixels, sources clipped"),
    "chisq_per_dof_q05": FigureKind("chi2/dof 5 %", "", "quantile over pixels"),
    "chisq_per_dof_q50": FigureKind("chi2/dof median", "", "quantile over pixels"),
    "chisq_per_dof_q95": FigureKind("chi2/dof 95 %", "", "quantile over pixels"),
    "poor_fit_fraction": FigureKind("poor fits", "", "part of the fitted pixels that no straight line fits"),
}
"""By the name in an event's `quality`; services of others may add their own."""


def told(quality: Mapping[str, float | None]) -> list[tuple[str, str, str]]:
    """Return label, value with its unit, and what it is, of each figure that is known here, in order."""
    found = []
    for name, kind in FIGURES.items():
        if (value := quality.get(name)) is not None:
            found.append((kind.label, f"{value:.3g} {kind.unit}".rstrip(), kind.doc))
    return found


def tabulated(
    every: Mapping[str, Mapping[str, float | None]],
) -> tuple[list[FigureKind], dict[str, list[str]]]:
    """Return the kinds of figures that any of several products has, and each product's values, as a table.

    Parameters
    ----------
    every : mapping of str to mapping
        Quality by the product's name.
    """
    names = [name for name in FIGURES if any(q.get(name) is not None for q in every.values())]
    rows = {
        product: ["" if (value := quality.get(name)) is None else f"{value:.3g}" for name in names]
        for product, quality in every.items()
        if any(quality.get(name) is not None for name in names)
    }
    return [FIGURES[name] for name in names], rows
