"""Raw to rate in warm processes, beside the peer's ways to do it and a plain copy of the same bytes."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

LARGE_EVENTS = "name: large-events\nbase: optimal\nsteps:\n" + "".join(
    f"  {step}: {{{option}}}\n"
    for step, option in (("jump", "expand_large_events: true"), ("clean_flicker_noise", "skip: false"))
)
"""Our recipe with snowballs looked for and 1/f noise cleaned from the groups, whatever `optimal` does."""

PEER_DEFAULT, PEER_LIKELY, PEER_LARGE = "jwst", "jwst, LIKELY", "jwst, snowballs and 1/f"

PEER_STEPS = {
    PEER_DEFAULT: {},
    PEER_LIKELY: {"ramp_fit": {"algorithm": "LIKELY"}},
    PEER_LARGE: {"jump": {"expand_large_events": True}, "clean_flicker_noise": {"skip": False}},
}
"""The peer's default, which is OLS_C; its likelihood; and what our recipe above does."""


def recipe_file(folder):
    """Write our recipe with large events and 1/f noise; return its path."""
    path = Path(folder) / "large-events.yaml"
    path.write_text(LARGE_EVENTS)
    return str(path)


@dataclass
class Copy:
    """Reads as many bytes as an exposure needed and writes as many as it made, and does nothing with them.

    Attributes
    ----------
    sources : list of Path
        Files that were read: the raw one and the references.
    target : Path
        Where to write.
    """

    sources: list
    target: Path

    def __call__(self, read, written):
        """Return a sample as of any other way; what is written is flushed to the disk, as a rate is."""
        buffer = memoryview(bytearray(1 << 22))
        self.target.parent.mkdir(parents=True, exist_ok=True)
        begun, cpu = time.perf_counter(), time.process_time()
        for path in self.sources:
            with path.open("rb", buffering=0) as file:
                while read > 0 and (count := file.readinto(buffer)):
                    read -= count
        with self.target.open("wb", buffering=0) as file:
            while written > 0:
                written -= file.write(buffer[:written])
            os.fsync(file.fileno())
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        self.target.unlink()
        return {"seconds": seconds, "cpu": cpu, "peak": len(buffer), "result": {}}
