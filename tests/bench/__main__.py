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

from streams.bus.protocol import PARTITIONS
from tests.bench import kafka, services
from tests.bench.comparison import FIFTH, HALF
from tests.bench.detector1 import PEER_DEFAULT
from tests.bench.measure import OURS, Bench
from tests.bench.report import Report, fill, fill_services
from tests.bench.series import LONG, QUICK, SHORT
from tests.bench.workers import ROOT, Failed, environment, whole_process
from tests.bench.workload import NOTHING, Workload, simulated
from tests.streams.bus.brokers import missing

PEER = "CALSTREAM_PEER_PYTHON"
NOTES = (
    "calstream, warm: raw event in, event of the rate out, in a process that has just done it: the digests "
    "of the references and those decoded last are known, and the files are in the system's cache. Nothing of "
    "the exposure is known, and each round has a new store. The rate is written, hashed (content digest and "
    "SHA-256), flushed to the disk and published with its manifest. Recipe optimal: jumps by likelihood, "
    "slopes by generalised least squares.",
    "jwst, warm: Detector1Pipeline.call with its code defaults (two-point jumps, OLS_C) in a process that "
    "has just done it, the rate saved, not hashed. LIKELY: ramp_fit.algorithm; snowballs and 1/f: "
    "jump.expand_large_events and clean_flicker_noise on. Each way has a process of its own.",
    "The copy reads as many bytes as our process read, from the raw file and references, and writes as many "
    "as it wrote, flushed to the disk.",
    f"Series: {SHORT} and {LONG} integrations of 640 x 640 pixels and 12 groups, the longer one 0.98 GB, in "
    "processes that were warmed with the shorter one; memory is the peak less what is held before.",
    "Whole processes: `calstream run FILE --until rate`, which also hashes the raw file, and a script that "
    "calls Detector1Pipeline. Peak memory is the largest resident size of the process from its start on.",
    "Services: a no-op loop with products of a kilobyte beside a bare loop with the same flushes to the "
    "disk; replicas of a stage that sleeps 0.2 s; raw to rate from the publishing of the raw event to that "
    "of the rate's, in `calstream serve` on an embedded bus, peaks of parents and children added up.",
    "Kafka: the same loop and replicas on brokers of this machine, from publishing to what a reader gets; "
    "the bare loop there copies events of 1.5 kB, 100 in a transaction with their offsets.",
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
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be given many times")
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
    parts = {part: PARTS[part] for part in chosen.only or PARTS}
    downlink = NOTHING
    if chosen.all or {"files", "series", "services"} & set(parts):
        downlink = simulated(Workload(**size), out, say)
        say("compiling kernels, where they are not")
        compiling = [sys.executable, "-m", "streams.warm"]
        whole_process(compiling, environment(downlink.crds, chosen.threads), out / "warm.log")
    bench = Bench(downlink, out, peer, chosen.rounds, chosen.threads, say)
    if chosen.quick:
        bench.long_series = QUICK
    report = Report(judged=not chosen.quick)
    for measure in parts.values():
        measure(bench, report, console)
    if chosen.all:
        more = simulated(Workload(**{**size, "dithers": 4}), out, say)
        for stage, both in Bench(more, out, peer, chosen.rounds, chosen.threads, say).later_stages().items():
            report.comparison(f"{stage}, warm", both["ours"], both.get("peer"))
    about = _about(chosen, bench.about_peer() if peer else None)
    console.print(report.table())
    for note in NOTES:
        console.print(note, style="dim")
    console.print(" ".join(f"{name}={value}" for name, value in about.items() if value), style="dim")
    report.write(out / "results.json", about)
    console.print(f"all figures: {out / 'results.json'}")
    return 1 if chosen.check and report.broken() else 0


def _files(bench, report, console):
    measured = bench.detector1()
    fill(report, measured, bench.first_call(), bench.whole_process())
    stored = bench.ramp_stored()
    report.cost("storing the ramp in between", stored["fused"], stored["cut"])
    report.single("ingest: hashing the raw file", bench.ingest(), "not in the warm figures")
    console.print(report.steps(measured[OURS], measured.get(PEER_DEFAULT)))


def _series(bench, report, _):
    report.series(bench.series())


def _loop(bench, report, _):
    report.loops("services", *bench.loop(), services.EVENTS * PARTITIONS, HALF, "aim: 50 ms")


def _replicas(bench, report, _):
    report.replicas("services", bench.replicas())


def _services(bench, report, _):
    fill_services(report, bench.services())


def _kafka(bench, report, console):
    if reason := missing():
        console.rule("[bold red]NO KAFKA: nothing is measured on it")
        console.print(reason, markup=False)
        return
    report.loops("kafka", *bench.kafka_loop(), kafka.EVENTS * PARTITIONS, FIFTH, "aim: 60 ms")
    report.replicas("kafka", bench.kafka_replicas())


PARTS = {
    "files": _files,
    "series": _series,
    "loop": _loop,
    "replicas": _replicas,
    "services": _services,
    "kafka": _kafka,
}
"""What is measured: files in process and as commands, the memory of long ones; the services' loop and
replicas, services on files; the same loop and replicas on brokers."""


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
