"""Start the two sides of the bench, and whole processes, under the same conditions."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.serving import MAXRSS_UNIT

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Failed(RuntimeError):
    """Something that was to be measured went wrong."""


def environment(crds, threads):
    """Return the environment of both sides: one cache of references, one number of threads, no server."""
    dropped = ("CRDS", "PYTHONDONTWRITEBYTECODE")  # without the latter every start compiles what it imports
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return {**kept, **dict.fromkeys(THREADS, str(threads)), "CRDS_PATH": str(crds)}


class Worker:
    """A process that serves tasks; see :mod:`tests.bench.serving`.

    Parameters
    ----------
    command : sequence of str
        What to start.
    env : mapping of str to str
        Its environment.
    log : Path
        Where its standard error goes.
    """

    def __init__(self, command, env, log):
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def do(self, task, **arguments):
        """Return result, seconds, cpu seconds and peak of a task."""
        try:
            self._process.stdin.write(json.dumps({"task": task, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended: the answer that does not come says so
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"it ended with code {self._process.wait()}"}
        if "error" in answer:
            raise Failed(f"{task} failed, see {self._log}\n{answer['error']}")
        return answer

    def stop(self):
        """End the process, and wait for it."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def ours(env, log):
    """Start our side."""
    return Worker([sys.executable, "-m", "tests.bench.ours"], env, log)


def theirs(interpreter, env, log):
    """Start the peer's side."""
    return Worker([interpreter, str(HERE / "theirs.py")], env, log)


def whole_process(command, env, log):
    """Run a command; return its seconds, cpu seconds and peak memory.

    Raises
    ------
    Failed
        If it fails.
    """
    begun = time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise Failed(f"{' '.join(map(str, command))} ended with code {process.returncode}, see {log}")
    cpu = used.ru_utime + used.ru_stime
    return {"seconds": seconds, "cpu": cpu, "peak": used.ru_maxrss * MAXRSS_UNIT}
