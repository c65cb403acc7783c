"""The bench's tables and its file of results."""

import json
from statistics import median

from rich.table import Table

from tests.bench.comparison import (
    FASTER_AS_PROCESS,
    FASTER_IN_PROCESS,
    FASTER_IN_SERVICES,
    FASTER_SEPARATE,
    FASTER_THAN_LIKELY,
    LENGTH,
    MEMORY,
    MEMORY_IN_SERVICES,
    SERIES,
    linear,
    ratio,
)
from tests.bench.detector1 import PEER_DEFAULT, PEER_LARGE, PEER_LIKELY
from tests.bench.measure import COPY, OURS, OURS_BASELINE, OURS_BY_LIKELY, OURS_LARGE

OURS_ONLY = "-"
ORDER = (
    "read", "group_scale", "dq_init", "saturation", "ipc", "superbias", "refpix", "linearity", "dark_current",
    "jump", "ramp_fit", "gain_scale", "average_integrations", "write", "other",
)  # fmt: skip
"""In which steps are shown; others come first."""


class Report:
    """Collects rows and results.

    Parameters
    ----------
    judged : bool
        Whether the bounds hold for what is measured; they do not for a smoke test.
    """

    def __init__(self, judged):
        self._judged = judged
        self._rows = []
        self.results = {"bounds": {}}

    def comparison(self, what, ours, peer, speed=None, memory=None):
        """Add rows on time, processor time and memory of one comparison; `peer` may be None."""
        self.results[what] = {"ours": ours.taken, "peer": peer.taken if peer else None}
        self._row(f"{what}: time", ours, peer, "seconds", speed)
        self._row(f"{what}: processor time", ours, peer, "cpu", None)
        mine, yours = ours.peak, peer.peak if peer else None
        text = self._judgement(f"{what}: peak memory", mine / yours if yours else None, memory)
        self._rows.append((f"{what}: peak memory", _bytes(mine), _bytes(yours), *text))

    def single(self, what, ours, note=""):
        """Add a row of which the peer has nothing."""
        self.results[what] = ours.taken
        self._rows.append((what, _seconds(ours.median("seconds")), OURS_ONLY, "", note, ""))

    def copied(self, what, copy, ours):
        """Add a row: what part of our time a plain copy of the same bytes takes."""
        self.results[what] = copy.taken
        part = f"{ratio(copy, ours, 'seconds'):.2f}"
        self._rows.append((what, _seconds(copy.median("seconds")), OURS_ONLY, part, "of our time", ""))

    def series(self, measured):
        """Add rows on the memory of long series: above the idle process, and whether it grows with them."""
        above = {number: one.peak - one.taken[0]["idle"] for number, one in measured.items()}
        self.results["series"] = {number: one.taken for number, one in measured.items()}
        for number, value in above.items():
            what = f"series of {number} integrations: memory above idle"
            _, *text = self._judgement(what, value, SERIES)
            seconds = _seconds(measured[number].median("seconds"))
            self._rows.append((f"{what}, {seconds}", _bytes(value), OURS_ONLY, "", *text))
        short, long = above.values()
        what = "series: memory of the longer one"
        self._rows.append((what, "", OURS_ONLY, *self._judgement(what, long / short, LENGTH)))

    def cost(self, what, fused, cut):
        """Add a row: what `cut` takes longer than `fused`."""
        self.results[what] = {"fused": fused.taken, "cut": cut.taken}
        longer = cut.median("seconds") - fused.median("seconds")
        again = f"{ratio(cut, fused, 'seconds'):.2f}x"
        self._rows.append((what, f"+{longer:.2f} s", OURS_ONLY, again, "of the fused stage's time", ""))

    def loops(self, where, measured, alone, events, bound, aim):
        """Add rows on the services' loop: events a second beside a bare one, and what a single one takes."""
        mine, bare = measured["ours"], measured["bare"]
        self.results[f"{where}: loop"] = {name: samples.taken for name, samples in measured.items()}
        self.results[f"{where}: single events"] = alone
        what = f"{where}: no-op loop, bare {events / bare.median('seconds'):.0f}/s"
        text = self._judgement(what.partition(",")[0], ratio(bare, mine, "seconds"), bound)
        self._rows.append((what, f"{events / mine.median('seconds'):.0f}/s", OURS_ONLY, *text))
        shown = f"{1e3 * median(alone):.0f} ms"
        self._rows.append((f"{where}: single event, in to out", shown, OURS_ONLY, "", aim, ""))

    def replicas(self, where, measured):
        """Add rows on replicas: how many times faster than one."""
        self.results[f"{where}: replicas"] = {number: one.taken for number, one in measured.items()}
        for number, samples in measured.items():
            what = f"{where}: {number} replicas, a stage that sleeps"
            text = ("", "", "")
            if number > 1:
                text = self._judgement(what, ratio(measured[1], samples, "seconds"), linear(number))
            self._rows.append((what, _seconds(samples.median("seconds")), OURS_ONLY, *text))

    def table(self):
        """Return the table of comparisons."""
        table = Table(title="Medians over rounds; ratios: median of each round's", title_justify="left")
        table.add_column("")
        for heading in ("calstream", "jwst", "ratio"):
            table.add_column(heading, justify="right")
        table.add_column("bound")
        table.add_column("")
        for row in self._rows:
            table.add_row(*row)
        return table

    def steps(self, ours, peer):
        """Return the table of steps; what is not in any step is opening, reading, hashing and storing."""
        mine, yours = _with_rest(ours), _with_rest(peer) if peer else {}
        self.results["steps"] = {"ours": mine, "peer": yours}
        table = Table(title="Seconds by step (medians), warm processes", title_justify="left")
        for heading in ("step", "calstream", "jwst", "ratio"):
            table.add_column(heading, justify="left" if heading == "step" else "right")
        for name in sorted({*yours, *mine}, key=lambda name: ORDER.index(name) if name in ORDER else -1):
            a, b = mine.get(name), yours.get(name)
            times = f"{b / a:.1f}x" if a and b and a > 5e-3 and b > 5e-3 else ""
            table.add_row(name, *(OURS_ONLY if v is None else f"{v:.2f}" for v in (a, b)), times)
        return table

    def write(self, path, about):
        """Write the results as JSON."""
        path.write_text(json.dumps({"about": about, **self.results}, indent=1))

    def broken(self):
        """Return the names of bounds that were judged and not met."""
        return [name for name, said in self.results["bounds"].items() if said["met"] is False]

    def _row(self, what, ours, peer, figure, bound):
        mine, yours = ours.median(figure), peer.median(figure) if peer else None
        text = self._judgement(what, ratio(peer, ours, figure) if peer else None, bound)
        self._rows.append((what, _seconds(mine), _seconds(yours), *text))

    def _judgement(self, what, value, bound):
        if value is None:
            return "", bound.text if bound else "", "[yellow]not compared[/]" if bound else ""
        shown = f"{value:.2f}" if "memory" in what else f"{value:.1f}x" if value >= 3 else f"{value:.2f}x"
        if bound is None:
            return shown, "", ""
        met = bound.met(value) if self._judged else None
        self.results["bounds"][what] = {"ratio": value, "bound": bound.factor, "met": met}
        verdict = {True: "[green]met[/]", False: "[bold red]NOT MET[/]", None: "not judged"}[met]
        return shown, bound.text, verdict


def fill(report, measured, first, whole):
    """Add what is promised of raw to rate: warm processes, a first call, whole processes."""
    ours, large = measured[OURS], measured[OURS_LARGE]
    peer, likely, theirs = (measured.get(name) for name in (PEER_DEFAULT, PEER_LIKELY, PEER_LARGE))
    report.comparison("raw to rate, warm", ours, peer, FASTER_IN_PROCESS, MEMORY)
    report.comparison("same, the peer's LIKELY", measured[OURS_BY_LIKELY], likely, FASTER_THAN_LIKELY, MEMORY)
    report.comparison("same, snowballs and 1/f in both", large, theirs, FASTER_THAN_LIKELY, MEMORY)
    report.single("same, recipe baseline", measured[OURS_BASELINE])
    report.copied("reading and writing the same bytes", measured[COPY], ours)
    report.single("raw to rate, first call of a process", first, "compiled kernels are there")
    report.comparison("raw to rate, whole process", whole["ours"], whole.get("peer"), FASTER_AS_PROCESS)


def fill_services(report, measured):
    """Add what is promised of warm services, from event in to event out."""
    fused, separate, peer = measured["fused"], measured["separate"], measured.get("peer")
    report.comparison("services: raw to rate, fused", fused, peer, FASTER_IN_SERVICES, MEMORY_IN_SERVICES)
    report.comparison("services: raw to rate, separate", separate, peer, FASTER_SEPARATE)


def _with_rest(samples):
    parts = samples.parts()
    return {**parts, "other": max(0.0, samples.median("seconds") - sum(parts.values()))}


def _seconds(value):
    return OURS_ONLY if value is None else f"{value:.2f} s"


def _bytes(value):
    return OURS_ONLY if value is None else f"{value / 1e6:.0f} MB"
