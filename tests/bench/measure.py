"""What the bench measures."""

import json
import re
import shutil
import sys
from pathlib import Path

from tests.bench import kafka, services, workers
from tests.bench.comparison import alternate
from tests.bench.detector1 import PEER_DEFAULT, PEER_LARGE, PEER_LIKELY, PEER_STEPS, Copy, recipe_file
from tests.bench.series import WORKLOAD, simulated_series

PEER_COMMAND = (
    "import sys; from jwst.pipeline import Detector1Pipeline; "
    "Detector1Pipeline.call(sys.argv[1], save_results=True, output_dir=sys.argv[2])"
)
SAME_STEPS = {name: {"skip": True} for name in ("tweakreg", "skymatch", "outlier_detection")}
"""Steps of the peer's Image3Pipeline that ours has not: left out, so that both do the same."""

OURS, OURS_BY_LIKELY, OURS_BASELINE = "ours", "ours by LIKELY", "ours, recipe baseline"
OURS_LARGE = "ours, snowballs and 1/f"
COPY = "copy"


class Bench:
    """One run of the bench.

    Parameters
    ----------
    downlink : Downlink
        What is processed.
    out : Path
        The bench's folder.
    peer : str
        The peer's interpreter; empty without.
    rounds, threads : int
        How often each way is run, and with how many threads.
    say : callable
        Told of the progress.
    """

    warming = True
    """Whether each way is gone once before it counts."""

    long_series = WORKLOAD
    """What the longer exposure of the series is made of."""

    def __init__(self, downlink, out, peer, rounds, threads, say):
        self._raw, self._peer, self._rounds, self._say = downlink.files[0], peer, rounds, say
        self._files = downlink.files
        self._work, self._made, self._logs = out / "work", out / "calibrated", out
        self._env = workers.environment(downlink.crds, threads)

    def detector1(self):
        """Raw to rate in warm processes: ours by recipe, the peer's ways, a copy of the same bytes.

        Few processes at a time, and each is woken before it counts: what has waited is no longer warm.
        """
        large = recipe_file(self._logs)
        measured = self._side_by_side(OURS, "optimal", PEER_DEFAULT, copied=True)
        measured |= self._side_by_side(OURS_BY_LIKELY, "optimal", PEER_LIKELY)
        measured |= self._side_by_side(OURS_LARGE, large, PEER_LARGE)
        return measured | self._side_by_side(OURS_BASELINE, "baseline", None)

    def _side_by_side(self, name, recipe, peer, copied=False):
        sides = {name: self._start_ours(Path(recipe).stem)}
        ways = {name: self._way(sides[name], recipe, "fused")}
        if copied:
            ways = self._with_copy(name, ways[name])
        if self._peer and peer:
            sides[peer] = self._start_theirs(peer)
            steps = PEER_STEPS[peer]
            ways[peer] = self._their_way("Detector1Pipeline", self._raw, sides[peer], steps)
        return self._alternated(ways, sides, woken=True)

    def _with_copy(self, name, ours):
        """Return our way, and one that copies as many bytes as that has moved."""
        copy, last = Copy(self._read_by_it(), self._work / "copied"), {}

        def kept():
            last.update(ours())
            return dict(last)

        return {name: kept, COPY: lambda: copy(last["read"], last["written"])}

    def first_call(self):
        """Raw to rate in a process that has done nothing yet."""

        def way():
            with self._start_ours("first") as side:
                return self._way(side, "optimal", "fused")()

        measured = alternate({"first": way}, self._rounds, self._say)["first"]
        shutil.rmtree(self._work, ignore_errors=True)
        return measured

    def series(self):
        """Raw to rate of exposures with few and with many integrations, each in a warm process."""
        measured, series = {}, simulated_series(self.long_series, self._logs, self._say)
        for number, path in series.files.items():
            env = {**self._env, "CRDS_PATH": str(series.crds)}
            with workers.ours(env, self._logs / "ours-series.log") as side:
                warm = self._way(side, "optimal", "fused", min(series.files.values(), key=_size))
                warm()
                way = self._way(side, "optimal", "fused", path)
                measured |= alternate({number: way}, 1, self._say)
            shutil.rmtree(self._work, ignore_errors=True)
        return measured

    def loop(self):
        """The services' loop beside a bare one, and single events."""
        return services.loop(self._work, self._rounds, self._say)

    def replicas(self):
        """One, two and four processes of a service."""
        return services.replicas(self._work, self._rounds, self._say)

    def kafka_loop(self):
        """The same loop on a broker, beside a bare one on it, and single events."""
        return kafka.loop(self._work, self._rounds, self._say)

    def kafka_replicas(self):
        """The same replicas on brokers."""
        return kafka.replicas(self._work, self._rounds, self._say)

    def services(self):
        """Raw to rate from event in to event out: a fused service, two separate ones, the peer."""
        sides = services.open_roads(self._work, self._env, self._raw)
        ways = {name: road.through for name, road in sides.items()}
        if self._peer:
            sides["peer"] = self._start_theirs()
            ways["peer"] = self._their_way("Detector1Pipeline", self._raw, sides["peer"])
        return self._alternated(ways, sides)

    def ramp_stored(self):
        """Ours fused, and cut in two stages with the ramp stored in between."""
        sides = {"fused": self._start_ours("fused"), "cut": self._start_ours("cut")}
        return self._alternated({name: self._way(sides[name], "optimal", name) for name in sides}, sides)

    def ingest(self):
        """What hashing a raw file and making its event costs, in a warm process."""
        with self._start_ours("ingest") as side:

            def way():
                return side.do(
                    "ingest", recipe="optimal", path=str(self._raw), folder=str(self._work / "ingest")
                )

            if self.warming:
                way()
            return alternate({"ingest": way}, self._rounds, self._say)["ingest"]

    def whole_process(self):
        """``calstream run FILE --until rate`` and the peer's script, from start to end."""
        ways = {"ours": self._our_process}
        if self._peer:
            ways["peer"] = self._their_process
        return self._alternated(ways, {})

    def later_stages(self):
        """Image2 of one exposure, and image3 of all, each in warm processes of its own."""
        made = self._calibrated()
        rate = made / self._files[0].name.replace("_uncal", "_rate")
        compared = {
            "image2": self._later(rate, "cal", "Image2Pipeline", {}),
            "image3": self._later(_association(made), "combined", "Image3Pipeline", SAME_STEPS),
        }
        shutil.rmtree(self._made)
        return compared

    def about_peer(self):
        """Return the peer's versions."""
        with self._start_theirs() as side:
            return side.do("about")["result"]

    def _alternated(self, ways, sides, woken=False):
        for name, way in ways.items():
            if self.warming and not woken:
                self._say(f"{name}: first call, not counted")
                way()
        measured = alternate(ways, self._rounds, self._say, woken and self.warming)
        self._stop(sides)
        return measured

    def _stop(self, sides):
        for side in sides.values():
            side.stop()
        shutil.rmtree(self._work, ignore_errors=True)

    def _start_ours(self, name):
        return workers.ours(self._env, self._logs / f"ours-{name}.log")

    def _start_theirs(self, name="peer"):
        return workers.theirs(self._peer, self._env, self._logs / f"{re.sub(r'[^a-zA-Z]+', '-', name)}.log")

    def _read_by_it(self):
        """Return files that are read on the way from raw to rate."""
        references = Path(self._env["CRDS_PATH"]) / "references"
        return [self._raw, *sorted(references.rglob("*.fits"))]

    def _way(self, side, recipe, how, raw=None):
        folder = str(self._work / f"{Path(recipe).stem}-{how}")

        def way():
            side.do("ingest", recipe=recipe, path=str(raw or self._raw), folder=folder)
            return side.do("process", recipe=recipe, how=how)

        return way

    def _their_way(self, pipeline, path, side, steps=None):
        arguments = {
            "pipeline": pipeline,
            "path": str(path),
            "folder": str(self._work / "peer"),
            "steps": steps or {},
        }
        return lambda: side.do("process", **arguments)

    def _later(self, path, until, pipeline, steps):
        sides = {"ours": self._start_ours("later")}
        task = {"paths": [str(path)], "folder": str(self._work / "later"), "until": until}
        ways = {"ours": lambda: sides["ours"].do("later_stages", **task)}
        if self._peer:
            sides["peer"] = self._start_theirs()
            ways["peer"] = self._their_way(pipeline, path, sides["peer"], steps)
        return self._alternated(ways, sides)

    def _calibrated(self):
        self._say(f"calibrating {len(self._files)} exposures for the later stages")
        with self._start_ours("calibrated") as side:
            paths = [str(file) for file in self._files]
            side.do("later_stages", paths=paths, folder=str(self._made), until="cal")
        return self._made

    def _our_process(self):
        folder = self._fresh("whole-ours")
        command = ["run", str(self._raw), "--until", "rate", "--out", str(folder)]
        command = [sys.executable, "-m", "streams.cli", *command]
        return workers.whole_process(command, self._env, self._logs / "whole-ours.log")

    def _their_process(self):
        command = [self._peer, "-c", PEER_COMMAND, str(self._raw), str(self._fresh("whole-peer"))]
        return workers.whole_process(command, self._env, self._logs / "whole-peer.log")

    def _fresh(self, name):
        folder = self._work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def _size(path):
    return path.stat().st_size


def _association(folder):
    """Write an association of a folder's images beside them, which both sides read."""
    members = [{"expname": file.name, "exptype": "science"} for file in sorted(folder.glob("*_cal.fits"))]
    tree = {
        "asn_type": "image3",
        "asn_rule": "candidate_Asn_Lv3Image",
        "asn_id": "a3001",
        "asn_pool": "none",
        "program": "01234",
        "version_id": None,
        "code_version": "0",
        "degraded_status": "No known degraded exposures in association.",
        "constraints": "No constraints",
        "target": "t001",
        "products": [{"name": "jw01234-a3001_t001_nircam_f200w", "members": members}],
    }
    path = Path(folder) / "jw01234-a3001_image3_asn.json"
    path.write_text(json.dumps(tree, indent=1))
    return path
