"""The peer's side of the bench, run by path in the peer's own interpreter: it serves tasks."""

import logging
import os
import re
import shutil

from serving import serve  # beside this file

RUNNING = re.compile(r"Step (\w+) running with args")
DONE = re.compile(r"Step (\w+) done")


class Stopwatch(logging.Handler):
    """Takes the seconds of each step from the peer's log."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.begun = {}
        self.parts = {}

    def emit(self, record):
        message = record.getMessage()
        if found := RUNNING.match(message):
            self.begun[found[1]] = record.created
        elif (found := DONE.match(message)) and found[1] in self.begun:
            self.parts[found[1]] = record.created - self.begun[found[1]]


def process(pipeline, path, folder, steps):
    """Run one of the peer's pipelines, and let it save its results; return the seconds of each step."""
    from jwst import pipeline as pipelines

    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    watch = Stopwatch()
    logger = logging.getLogger("stpipe")
    logger.setLevel(logging.INFO)
    logger.addHandler(watch)
    try:
        getattr(pipelines, pipeline).call(
            path, steps=steps, save_results=True, output_dir=folder, configure_log=False
        )
    finally:
        logger.removeHandler(watch)
    watch.parts.pop(pipeline, None)
    return watch.parts


def about():
    """Return the versions of what is measured."""
    import jwst
    import stcal

    return {"jwst": jwst.__version__, "stcal": stcal.__version__}


if __name__ == "__main__":
    serve({"process": process, "about": about})
