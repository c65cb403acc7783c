"""Speed and memory beside the peer, the `jwst` package: ``python -m tests.bench``, or ``make bench``.

Both sides get the same file, the same CRDS cache and the same number of threads, and take turns.
"""

import argparse
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from tests.bench.measure import Bench
from tests.bench.report import Report, fill
from tests.bench.workers import ROOT, Failed, environment, whole_process
from tests.bench.workload import Workload, simulated

PEER = "CALSTREAM_PEER_PYTHON"
NOTES = (
    "calstream, warm: raw event in, event of the rate out, in a process that has done it before: the digests "
    "of the references and those decoded last are known. Nothing of the exposure is, and each round has a "
    "new store. The rate is written, hashed (content digest and SHA-256), flushed to the disk and published "
    "with its manifest. Recipe optimal: jumps by likelihood, slopes by generalised least squares.",
    "jwst, warm: Detector1Pipeline.call with its code defaults (two-point jumps, OLS_C) in a process that "
    "did it before, the rate saved, not hashed.",
    "Whole processes: `calstream run FILE --until rate`, which also hashes the raw file, and a script that "
    "calls Detector1Pipeline. Peak memory is the largest resident size of the process from its start on.",
    "image2 and image3 (--all): ours as `calstream run` does them; Image3Pipeline without tweakreg, skymatch "
    "and outlier_detection, which ours has not.",
)


def main(arguments=None):
    """Run the bench; return 1 where something failed, or where --check finds a bound that is not met."""
    chosen = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 118, highlight=False)
    try:
        return _run(chosen, console)
    except Failed as error:
        console.print(str(error), style="red", markup=False)
        return 1


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured (3)")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of both sides (2)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "bench-output", help="what is simulated, and results"
    )
    parser.add_argument("--all", action="store_true", help="image2, and image3 of 4 exposures, too")
    parser.add_argument(
        "--quick", action="store_true", help="a subarray: a smoke test, bounds are not judged"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bound is not met")
    return parser


def _run(chosen, console):
    peer, out = _peer(), chosen.out.resolve()
    if not peer:
        console.rule("[bold red]NO PEER: calstream alone, nothing is compared")
        console.print(f"`make peer` makes one, or {PEER} names an interpreter that has jwst.")
    out.mkdir(parents=True, exist_ok=True)

    def say(text):
        console.print(f"[dim]{text}[/]")

    size = {"subarray": "SUB160", "ngroups": 4, "dark_groups": 6} if chosen.quick else {}
    downlink = simulated(Workload(**size), out, say)
    say("compiling kernels, where they are not")
    whole_process(
        [sys.executable, "-m", "streams.warm"], environment(downlink.crds, chosen.threads), out / "warm.log"
    )
    bench = Bench(downlink, out, peer, chosen.rounds, chosen.threads, say)
    report = Report(judged=not chosen.quick)
    measured = bench.detector1()
    fill(report, measured, bench.whole_process())
    stored = bench.ramp_stored()
    report.cost("storing the ramp in between", stored["fused"], stored["cut"])
    report.single("ingest: hashing the raw file", bench.ingest(), "not in the warm figures")
    if chosen.all:
        more = simulated(Workload(**{**size, "dithers": 4}), out, say)
        for stage, both in Bench(more, out, peer, chosen.rounds, chosen.threads, say).later_stages().items():
            report.comparison(f"{stage}, warm", both["ours"], both.get("peer"))
    about = _about(chosen, bench.about_peer() if peer else None)
    for shown in (report.steps(measured["ours"], measured.get("peer")), report.table()):
        console.print(shown)
    for note in NOTES:
        console.print(note, style="dim")
    console.print(" ".join(f"{name}={value}" for name, value in about.items() if value), style="dim")
    report.write(out / "results.json", about)
    console.print(f"all figures: {out / 'results.json'}")
    return 1 if chosen.check and report.broken() else 0


def _peer():
    """Return the peer's interpreter, or an empty string."""
    here = ROOT / ".venv-peer/bin/python"
    return os.environ.get(PEER) or (str(here) if here.exists() else "")


def _about(chosen, peer):
    return {
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": chosen.threads,
        "rounds": chosen.rounds,
        "quick": chosen.quick,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "calstream": version("calstream"),
        **(peer or {}),
    }


if __name__ == "__main__":
    sys.exit(main())
