"""Our side of the bench: ``python -m tests.bench.ours`` serves tasks."""

import json
import shutil
import time
from pathlib import Path

from streams.kernel_cache import use_kernel_cache

use_kernel_cache()

from schemas.events import next_generation  # noqa: E402
from streams import logs  # noqa: E402
from streams.execution import handle  # noqa: E402
from streams.inputs import RefusedInput, open_inputs  # noqa: E402
from streams.manifest_files import StoreLedger  # noqa: E402
from streams.planning import Tools  # noqa: E402
from streams.recipes import load_recipe  # noqa: E402
from streams.references import ReferenceLibrary  # noqa: E402
from streams.roots import Roots  # noqa: E402
from streams.run.driver import RunRequest, run  # noqa: E402
from streams.stages.table import DETECTOR1, RAMP_FIT, RAW_TO_RATE  # noqa: E402
from streams.store import Store, local_path  # noqa: E402
from tests.bench.serving import serve  # noqa: E402

STAGES = {"fused": (RAW_TO_RATE,), "cut": (DETECTOR1, RAMP_FIT)}


class Ours:
    """A warm process: references are known, kernels are compiled, and every store is new.

    Parameters
    ----------
    recipe : str
        Name.
    """

    def __init__(self, recipe):
        self._recipe = load_recipe(recipe)
        self._library = ReferenceLibrary()
        self._event = None
        self._tools = None

    def ingest(self, path, folder):
        """Hash a raw file, and make its event in a new store."""
        shutil.rmtree(folder, ignore_errors=True)
        store = Store(folder)
        self._tools = Tools(
            store=store, library=self._library, ledger=StoreLedger(store), recipe=lambda event: self._recipe
        )
        (found,) = open_inputs([Path(path)])
        if isinstance(found, RefusedInput):
            raise found.error
        self._event = Roots(self._recipe, store, next_generation(time.time())).product(found)

    def process(self, how):
        """Take the raw event to the event of its rate; return the seconds of each part."""
        parts, event = {}, self._event
        for stage in STAGES[how]:
            event = handle(stage, event, self._tools).event
            if event.outcome != "complete":
                raise RuntimeError(f"{event.name} was {event.outcome}: there was nothing to measure")
            for part, seconds in _parts(event).items():
                parts[part] = parts.get(part, 0.0) + seconds
        return parts


def _parts(event):
    return json.loads(local_path(event.manifest.uri).read_text())["timing"]["parts"]


def later_stages(paths, folder, until):
    """Take rates, or an association, on in a new folder, as `calstream run` does."""
    shutil.rmtree(folder, ignore_errors=True)
    summary = run(RunRequest(paths=paths, out=Path(folder), until=until))
    failed = [ending for ending in summary.endings if ending.failed]
    if failed:
        raise RuntimeError("; ".join(ending.reason for ending in failed))


def _main():
    logs.quiet_unless_configured()
    sides = {}

    def side(recipe):
        return sides.setdefault(recipe, Ours(recipe))

    serve(
        {
            "ingest": lambda recipe, **arguments: side(recipe).ingest(**arguments),
            "process": lambda recipe, **arguments: side(recipe).process(**arguments),
            "later_stages": later_stages,
        }
    )


if __name__ == "__main__":
    _main()
