"""Golden events, and files that events alone lead to, are what was once released: nobody edits them."""

from __future__ import annotations

import hashlib
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
RELEASED = {
    "v1/association.json": "29212758faa4a58eb8e5463b644c56c06b184b1f42be57cf8ccb818e97710035",
    "v1/failure.json": "8e4a2742e69d3c8d06d8a0c86e03d655ae9e6d73ebe76db75963ca8f451dda58",
    "v1/history_persistence.fits": "8511388702fa5a6f8c055c72b261f66717ab81fc01875c04ec723c260c5566e3",
    "v1/plan.json": "12b81d52d8461d1d7967bf14961cbe057234baa4f2bf89dd7654fc923c6a4f3d",
    "v1/rate.json": "c04fa54c504275ce0aec3f258d37ab1a5be634ee3270e1e577819cb0851c2a0a",
    "v1/raw.json": "a7a4965f388d685a015a3d94cf2e7bb853a0776656a88ef31ef8f8927832c336",
    "v1/unknown_fields.json": "8dc0a075768c4f3ec8810fd116533a46cee4e2ea1b342dee009b43a76868ccd6",
    "v1/unknown_kind.json": "56373c8c0a6ed49c6cbf6a95aa21cf20f74f500168d992620330789883f69c61",
}
"""SHA-256 of each file. A new version of an event adds lines; no line ever changes."""


def test_released_events_are_as_they_were() -> None:
    for name, digest in RELEASED.items():
        assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == digest, name


def test_every_golden_file_is_held() -> None:
    files = (path for path in GOLDEN.rglob("*.*") if path.suffix != ".md")
    assert {str(path.relative_to(GOLDEN)) for path in files} == RELEASED.keys()
