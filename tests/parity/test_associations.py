"""The same groups of images as JWST's association generator, on the pools that it ships for its own tests."""

from __future__ import annotations

import json
import math
import subprocess

import pytest

from schemas.canonical import digest
from schemas.events import Artifact, ProductEvent, RecipeReference
from schemas.keywords import EVENT_KEYWORDS
from schemas.naming import exposure_name
from streams.associator import Associator, Emission
from tests.parity import peer

POOLS = {
    "pool_001_candidates.csv": 14,
    "pool_002_image_miri.csv": 1,
    "pool_003_image_nircam.csv": 2,
    "pool_019_niriss_wfss.csv": 1,
    "pool_020_00009_image_miri.csv": 1,
    "pool_033_wfs_jitter.csv": 0,
    "pool_duplicate.csv": 1,
    "jw00632_dups.csv": 0,
    "jw09505_20251216t202003_pool.csv": 1,
    "jw87800_20180412T163456_pool.csv": 1,
}
"""Pool, and how many image3 associations of observations the peer finds in it."""

GENERATE = """
import json, logging, sys, warnings
warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
from importlib.resources import files
from jwst.associations import generate
from jwst.associations.lib.utilities import constrain_on_candidates
from jwst.associations.tests.helpers import combine_pools, registry_level3_only
found = {}
for name in sys.argv[1:]:
    pool = combine_pools(str(files("jwst.associations.tests") / "data" / name))
    rules = registry_level3_only(constrain_on_candidates(None))
    images = [a for a in generate(pool, rules) if a["asn_rule"] == "Asn_Lv3Image"]
    rows = [{key.upper(): str(row[key]) for key in pool.colnames} for row in pool]
    found[name] = {"rows": rows, "associations": [json.loads(a.dump()[1]) for a in images]}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def peer_found(need_peer):
    done = subprocess.run(
        [peer.interpreter(), "-c", GENERATE, *POOLS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def event(row: dict[str, str]) -> ProductEvent:
    keywords = {key: value for key, value in row.items() if key in EVENT_KEYWORDS}
    keywords["OBSERVTN"] = row["OBS_NUM"]
    name = exposure_name(row["FILENAME"])
    return ProductEvent(
        topic="cal",
        name=name,
        suffix="cal",
        generation=f"{1:026d}",
        recipe=RecipeReference(name="optimal", digest=digest("optimal")),
        keywords=keywords,
        product=Artifact(uri=f"memory:/{name}", size=1, sha256=digest(name)),
    )


def ours(rows: list[dict[str, str]]) -> list[Emission]:
    """Associate a pool's exposures: not its comments, nor those that the archive made no candidate for."""
    associator = Associator()
    for row in rows:
        if row["FILENAME"].endswith("_uncal.fits") and "observation" in row["ASN_CANDIDATE"].lower():
            associator.take(event(row), 0.0)
    return [emission for reduced in associator.tick(math.inf) for emission in reduced.emissions]


def members(tree) -> tuple[str, ...]:
    science = (m["expname"].lower() for m in tree["products"][0]["members"] if m["exptype"] == "science")
    return tuple(sorted(science))


@pytest.mark.peer
@pytest.mark.parametrize("pool", POOLS)
def test_images_of_an_observation_are_grouped_and_named_alike(peer_found, pool):
    associations = peer_found[pool]["associations"]
    theirs = {members(a): a["products"][0]["name"] for a in associations if a["asn_id"].startswith("o")}
    assert len(theirs) == POOLS[pool]
    emitted = ours(peer_found[pool]["rows"])
    trees = [json.loads(emission.association.to_json()) for emission in emitted]
    assert {members(tree): tree["products"][0]["name"] for tree in trees} == theirs
    assert {tree["asn_id"] for tree in trees} == {a["asn_id"] for a in associations}


@pytest.mark.peer
def test_peer_reads_our_association(peer_found, tmp_path):
    emission = ours(peer_found["pool_002_image_miri.csv"]["rows"])[0]
    path = tmp_path / "ours_asn.json"
    path.write_text(emission.association.to_json())
    code = (
        "import sys; from jwst.associations import load_asn; "
        "asn = load_asn(open(sys.argv[1])); print(asn['asn_type'], len(asn['products'][0]['members']))"
    )
    done = subprocess.run(
        [peer.interpreter(), "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["image3", str(emission.members)], done.stderr[-2000:]
