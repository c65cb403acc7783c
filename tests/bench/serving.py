"""A process that does tasks when it is told to, and says what each cost.

Both sides of the bench run it, each in its own interpreter, so it needs the standard library alone. Commands
come as JSON lines on standard input, answers leave as JSON lines on what was standard output; whatever the
tasks print goes to standard error.
"""

import json
import os
import resource
import sys
import time
import traceback

MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def serve(tasks):
    """Do tasks until standard input ends.

    Parameters
    ----------
    tasks : mapping of str to callable
        ``task(**arguments)`` returns something for JSON; the time it takes is measured.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = _measured(tasks[command["task"]], command["arguments"])
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _measured(task, arguments):
    cpu, begun = cpu_seconds(), time.perf_counter()
    result = task(**arguments)
    seconds = time.perf_counter() - begun
    return {"result": result, "seconds": seconds, "cpu": cpu_seconds() - cpu, "peak": peak_bytes()}


def cpu_seconds():
    """Return the processor time of all threads of this process so far, user's and system's."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_bytes():
    """Return the most memory that this process has had resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT
