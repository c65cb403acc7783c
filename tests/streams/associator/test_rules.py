"""Grouping and names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Event
from schemas.recipe import Recipe
from streams.associator import IMAGE3, needs_companions, places, plan_from, program_of
from streams.associator.fields import target, text

from .made import IMAGE, PRODUCT, cal, generation, recipe


def name_of(**changes):
    (place,), refused = places({**IMAGE, **changes}, "cal")
    assert not refused
    return IMAGE3.product(place.fields)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, PRODUCT),
        ({"TARGETID": 1}, "jw01234-o001_t001_nircam_clear-f200w"),
        ({"TARGETID": "12", "OBSERVTN": 7}, "jw01234-o007_t012_nircam_clear-f200w"),
        ({"SUBARRAY": "SUB160"}, "jw01234-o001_t-m-92_nircam_clear-f200w-sub160"),
        ({"FILTER": "F322W2", "PUPIL": "F323N"}, "jw01234-o001_t-m-92_nircam_f322w2-f323n"),
        ({"INSTRUME": "FGS", "EXP_TYPE": "FGS_IMAGE", "FILTER": "N/A", "PUPIL": None},
         "jw01234-o001_t-m-92_fgs_clear"),
        ({"PROGRAM": "793"}, "jw00793-o001_t-m-92_nircam_clear-f200w"),
    ],
)  # fmt: skip
def test_product_name_is_spelled_as_the_archive_spells_it(changes, name):
    assert name_of(**changes) == name
    assert Event(
        kind="x", topic="combined", name=name, suffix="i2d", generation=generation(1), recipe=recipe()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"TSOVISIT": True}, {"TSOVISIT": "T"}, {"BKGDTARG": True}, {"VISITYPE": "PRIME_WFSC_ROUTINE"},
        {"EXP_TYPE": "NRC_TSIMAGE"}, {"EXP_TYPE": "NRC_GRISM"}, {"EXP_TYPE": "NIS_AMI"}, {"EXP_TYPE": ""},
    ],
)  # fmt: skip
def test_image3_leaves_other_observations_alone(changes):
    assert places({**IMAGE, **changes}, "cal") == ((), ())


@pytest.mark.parametrize("suffix", ["uncal", "rate", "calints", "i2d"])
def test_image3_takes_cal_only(suffix):
    assert places(IMAGE, suffix) == ((), ())


@pytest.mark.parametrize(
    ("keyword", "named"),
    [("TARGPROP", "TARGPROP"), ("OBSERVTN", "OBSERVTN"), ("SUBARRAY", "SUBARRAY"), ("PROGRAM", "PROGRAM")],
)
def test_a_missing_keyword_is_refused_by_name(keyword, named):
    found, (refusal,) = places({key: value for key, value in IMAGE.items() if key != keyword}, "cal")
    assert not found
    assert refusal.stage == "image3"
    assert named in refusal.reason


def test_detector_and_exposure_do_not_part_a_group():
    assert name_of(DETECTOR="NRCB4", MODULE="B") == name_of()


def test_targets_that_differ_only_in_unusual_characters_keep_apart():
    tags = {
        target({"TARGPROP": name}) for name in ("AB-AUR", "V*-AB-AUR", "AB+AUR", "AB_AUR", "A" * 40, "A" * 41)
    }
    assert len(tags) == 6
    assert target({"TARGPROP": "ab aur"}) == target({"TARGPROP": "AB-AUR"}) == "t-ab-aur"


@given(st.text(max_size=60))
def test_any_target_gives_a_valid_name_or_none(name):
    tag = target({"TARGPROP": name})
    if tag:
        assert Event(
            kind="x", topic="combined", name=f"jw01234-o001_{tag}_nircam_clear", suffix="i2d",
            generation=generation(1), recipe=recipe(),
        )  # fmt: skip
    else:
        assert not text({"TARGPROP": name}, "TARGPROP") or not name.strip()


def test_plans_are_by_program_and_in_order():
    files = [("jw00002001001_x_b", {"PROGRAM": "2"}), ("jw00001001001_x_c", {}), ("jw00002001001_x_a", IMAGE)]
    one, two, three = plan_from([*files, files[0]], line="test")
    assert [p.program for p in (one, two, three)] == ["00001", "00002", "01234"]
    assert [e.name for e in two.exposures] == ["jw00002001001_x_b"]
    assert {p.line for p in (one, two, three)} == {"test"}
    assert plan_from(reversed(files), line="test") == [one, two, three]


def test_an_unreadable_file_belongs_to_the_program_in_its_name():
    assert program_of("jw04321001001_02101_00001_nrca1", {}) == "04321"
    assert program_of("my_file", {}) == "00000"


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [("uncal", False), ("ramp", False), ("rate", False), ("rateints", False), ("cal", True), ("i2d", True)],
)
def test_only_stage_three_needs_companions(suffix, expected):
    assert needs_companions(cal(1, suffix=suffix), Recipe()) is expected
