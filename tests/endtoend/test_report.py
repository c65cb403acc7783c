"""The page on a real run, and the demo's checks, by the commands that a user types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def calstream(*arguments: object, crds: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams.cli", *map(str, arguments)]
    environment = {**os.environ, "CRDS_PATH": str(crds)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_run_and_report_by_command(downlink, crds, tmp_path):
    record = tmp_path / "run.json"
    done = calstream("run", downlink, "--out", tmp_path, "--record", record, crds=crds)
    assert done.returncode == 0, done.stderr
    assert "stopped at combined" in done.stdout.splitlines()[-1]
    assert "Warning" not in done.stderr
    page = calstream(
        "report", tmp_path, "--record", record, "--truth", downlink / "truth", "--check", crds=crds
    )
    assert (tmp_path / "index.html").stat().st_size > 100_000, page.stderr
    text = (tmp_path / "index.html").read_text()
    for words in ("Timeline", "Coverage", "Catalogue", "Recovered", "jw01234-o001"):
        assert words in text
    assert "apertures" in page.stdout + page.stderr


def test_inspect_tells_how_a_product_was_made(processed, crds):
    cal = next(processed.glob("*_cal.fits"))
    told = calstream("inspect", cal, crds=crds)
    assert told.returncode == 0, told.stderr
    for word in ("MJy/sr", "likelihood", "ramp_fit", "gain", "S_FLAT", "run key"):
        assert word.lower() in told.stdout.lower(), word


def test_a_failure_is_exit_1_and_a_misunderstanding_exit_2(downlink, crds, tmp_path):
    bad = tmp_path / "jw01234001001_02101_00009_nrca1_uncal.fits"
    bad.write_bytes(b"no FITS")
    failed = calstream("run", bad, "--out", tmp_path / "out", crds=crds)
    assert failed.returncode == 1
    assert "not a FITS file" in failed.stderr
    assert "Traceback" not in failed.stderr
    misunderstood = calstream("run", bad, "--recipe", "optimall", crds=crds)
    assert misunderstood.returncode == 2
    assert "optimal" in misunderstood.stderr
