"""Java, Maven, and the jars of Apache Kafka that Maven fetches into a cache folder, once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from schemas.errors import Retriable, Unprocessable

JAVA: Final = 17
"""The oldest Java that Kafka 4 runs on."""


def deployed(name: str) -> Path:
    """Return a file of ``deploy/kafka``: package data of the wheel, or the source tree's own.

    Parameters
    ----------
    name : str
        For example ``pom.xml``.
    """
    packaged = Path(__file__).parent / "deploy" / name
    return packaged if packaged.exists() else Path(__file__).parents[2] / "deploy" / "kafka" / name


def java() -> str:
    """Return the path of a Java that can run Kafka: JAVA_HOME's, else the first on PATH.

    Raises
    ------
    Unprocessable
        If there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if found is None:
        raise Unprocessable(
            f"Kafka needs Java {JAVA} or newer, and there is no `java` "
            f"{'in JAVA_HOME, ' + home if home else 'on PATH'}; "
            f"on Debian: apt-get install openjdk-{JAVA}-jre-headless"
        )
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)', told.stderr + told.stdout)
    if match is None or int(match[1]) < JAVA:
        raise Unprocessable(
            f"Kafka needs Java {JAVA} or newer, and {found} is {match[1] if match else 'unable to run'}; "
            "install a newer one, or set JAVA_HOME"
        )
    return found


def jars() -> Path:
    """Return the folder of Kafka's jars, fetched with Maven where it is not there yet.

    Raises
    ------
    Unprocessable
        If Maven is needed and missing.
    Retriable
        If Maven fails.
    """
    pom = deployed("pom.xml")
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    folder = _cache() / digest
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as half:
            libs = Path(half) / "libs"
            _fetch(pom, libs)
            try:
                libs.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
    return folder


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "calstream" / "kafka"


def _fetch(pom: Path, folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unprocessable(
            "Kafka's jars are fetched with Maven, and there is no `mvn` on PATH; "
            "on Debian: apt-get install maven"
        )
    command = [maven, "-B", "-q", "-f", str(pom), "dependency:copy-dependencies"]
    options = ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode or not any(folder.glob("kafka_*.jar")):
        errors = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise Retriable(
            f"Maven could not fetch Kafka's jars ({errors[0] if errors else 'it said nothing'}); "
            "check the network and Maven's settings, and try again"
        )
