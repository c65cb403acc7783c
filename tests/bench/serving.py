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
    before, idle, cpu, begun = bytes_moved(), resident_bytes(), cpu_seconds(), time.perf_counter()
    result = task(**arguments)
    seconds = time.perf_counter() - begun
    cpu = cpu_seconds() - cpu
    read, written = (now - then for now, then in zip(bytes_moved(), before, strict=True))
    return {
        "result": result, "seconds": seconds, "cpu": cpu, "idle": idle, "peak": peak_bytes(),
        "read": read, "written": written,
    }  # fmt: skip


def cpu_seconds():
    """Return the processor time of all threads of this process so far, user's and system's."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_bytes():
    """Return the most memory that this process has had resident so far."""
    try:
        with open("/proc/self/status") as file:
            told = dict(line.split(":", 1) for line in file)
        return int(told["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError):  # the other figure holds that of the process which started this one, too
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT


def resident_bytes():
    """Return the memory that this process has resident; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def bytes_moved():
    """Return how many bytes this process has read and written; zeros where the system does not tell."""
    try:
        with open("/proc/self/io") as file:
            told = dict(line.split(": ") for line in file.read().splitlines())
    except OSError:
        return 0, 0
    return int(told["rchar"]), int(told["wchar"])
