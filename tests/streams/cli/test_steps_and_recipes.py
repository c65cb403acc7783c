"""``calstream steps`` and ``calstream recipe``: what can be set, and what is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from processors.options import Options, option
from processors.registry import STEPS
from streams.cli import main
from streams.cli.steps import bounds
from streams.references import ReferenceLibrary

RECIPE = """
base: optimal
steps:
  jump: {likelihood_threshold_one: 30.0}
overrides:
  - when: {filter: F200W}
    steps: {jump: {likelihood_threshold_one: 40.0}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    return path


def rows(text: str) -> dict[str, str]:
    """First word of each line, and the rest."""
    return {line.split()[0]: " ".join(line.split()[1:]) for line in text.splitlines() if line.strip()}


def test_all_steps_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["steps"]) == 0
    found = rows(capsys.readouterr().out)
    assert set(STEPS) <= set(found)
    assert found["jump"].endswith("gain, readnoise")


@pytest.mark.parametrize(("name", "reftype"), [("photom", "area"), ("assign_wcs", "filteroffset")])
def test_optional_references_are_listed_as_such(
    name: str, reftype: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["steps", name]) == 0
    assert rows(capsys.readouterr().out)["references"].endswith(f", {reftype} (optional)")


@pytest.mark.parametrize("name", STEPS)
def test_a_step_shows_every_option_with_its_documentation(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["steps", name]) == 0
    text = capsys.readouterr().out
    found = rows(text)
    for parameter, declared in STEPS[name].options_type.model_fields.items():
        assert found[parameter].split()[0] == str(declared.default).split()[0]
        assert " ".join((declared.description or "").split())[:40] in " ".join(text.split())
    assert "Parameters\n" not in text
    assert STEPS[name].implementation in text


def test_an_unknown_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["steps", "jumb"]) == 2
    assert "did you mean 'jump'?" in capsys.readouterr().err


def test_bounds() -> None:
    from typing import Literal

    class Some(Options):
        number: float = option(1.0, gt=0, le=1e6, doc="x")
        word: Literal["a", "b"] = option("a", doc="x")
        free: bool = option(True, doc="x")

    fields = Some.model_fields
    assert [bounds(fields[name]) for name in fields] == ["> 0, <= 1e+06", "a or b", ""]


def test_the_origin_of_every_value_is_told(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "explain", str(recipe)]) == 0
    found = rows(capsys.readouterr().out)
    assert found["jump.likelihood_threshold_one"].startswith("30.0 chi-squared recipe ")
    assert found["jump.likelihood_threshold_two"].startswith("23.8 chi-squared default ")
    assert main(["recipe", "explain", str(recipe), "--where", "filter=f200w", "--set", "jump.skip=true"]) == 0
    found = rows(capsys.readouterr().out)
    assert found["jump.likelihood_threshold_one"].startswith("40.0 chi-squared override ")
    assert found["jump.skip"].startswith("True command line ")


def test_for_an_exposure(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "jw1_nrca1_uncal.fits"
    header = fits.Header({"INSTRUME": "NIRCAM", "EXP_TYPE": "NRC_IMAGE", "FILTER": "F200W"})
    fits.HDUList(
        [fits.PrimaryHDU(header=header), fits.ImageHDU(np.zeros((1, 2, 8, 8), np.uint16), name="SCI")]
    ).writeto(path)
    for arguments in ([str(path), "--recipe", str(recipe)], [str(recipe), "--for", str(path)]):
        assert main(["recipe", "explain", *arguments]) == 0
        assert rows(capsys.readouterr().out)["jump.likelihood_threshold_one"].startswith("40.0 ")


def test_crds_parameters_that_no_step_follows_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"jump": {"rejection_threshold": 6.5, "only_use_ints": True}}
    monkeypatch.setattr(ReferenceLibrary, "parameters", lambda self, keywords, steps: found)
    assert main(["recipe", "explain", "baseline", "--instrument", "NIRCAM", "--exp-type", "NRC_IMAGE"]) == 0
    text = capsys.readouterr().out
    assert rows(text)["jump.rejection_threshold"].startswith("6.5 sigma CRDS parameter reference ")
    assert "not followed: jump.only_use_ints = True" in text


def test_without_references_the_rest_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("CRDS_PATH", "CRDS_SERVER_URL", "CRDS_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    assert main(["recipe", "explain", "baseline", "--instrument", "NIRCAM"]) == 0
    said = capsys.readouterr()
    assert "jump.method" in said.out
    assert "CRDS_PATH" in said.err
    assert main(["recipe", "explain", "baseline"]) == 0
    assert "--for FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["optimol"], "did you mean 'optimal'?"),
        (["optimal", "--where", "filter"], "keyword=value"),
        (["optimal", "--set", "jump.rejection_threshold=-1"], "jump.rejection_threshold"),
    ],
)
def test_bad_requests(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "explain", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "list"]) == 0
    assert {"baseline", "optimal"} <= set(rows(capsys.readouterr().out))
