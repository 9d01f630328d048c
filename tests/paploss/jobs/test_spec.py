"""The job's schema: what it refuses, with the field in the message, and what survives the way through JSON."""

import pytest
from pydantic import TypeAdapter, ValidationError

from paploss.jobs.presets import PRESETS, identity
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import (
    DatasetSpec,
    EvaluationEvent,
    Event,
    HeadLoss,
    JobResult,
    JobSpec,
    LossSpec,
    Metrics,
    Split,
)

LINE = ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0))
INSIDE = Split(annotations="annotations/a.json", images="images")
FRACTIONS = {"ap": 0.5, "ap50": 0.5, "ap75": 0.5, "ap_small": -1, "ap_medium": 0.5, "ap_large": 0.5}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((LINE,) * 3, "expected 4 or 5 rows .*, got 3"),
        ((*(LINE,) * 4, ((0.0, 0.0), (1.0, 1.0))), "rows differ in length"),
        ((*(LINE,) * 4, ((0.1, 0.0), (0.5, 0.5), (1.0, 1.0))), r"control_points\[H1\]: expected to start at \(0, 0\)"),
        ((LINE, ((0.0, 0.0), (0.5, 0.5), (1.0, 0.9)), *(LINE,) * 3), r"control_points\[I2\]: expected .* end at"),
        ((((0.0, 0.0), (0.6, 0.5), (0.5, 0.7), (1.0, 1.0)),) * 5, r"control_points\[H2\]: not monotone"),
        ((((0.0, 0.0), (0.5, 1.5), (1.0, 1.0)),) * 5, "less than or equal to 1"),
        ((((0.0, 0.0), (0.5, float("nan")), (1.0, 1.0)),) * 5, "finite number"),
    ],
)
def test_control_points_that_are_no_functions_are_refused(rows, message):
    with pytest.raises(ValidationError, match=message):
        HeadLoss(control_points=rows)


def test_a_knot_outside_the_unit_square_is_told_with_its_place_and_value():
    row = ((0.0, 0.0), (0.5, 1.5), (1.0, 1.0))
    with pytest.raises(ValidationError, match=r"(?s)heads\.rpn_head\.control_points\.0\.1\.1.*input_value=1\.5"):
        LossSpec(heads={"rpn_head": {"control_points": (row,) * 5}})


@pytest.mark.parametrize(
    "given",
    [
        {"heads": {}},
        {"name": "focal_l1", "form": "linear"},
        {"name": "handmade_ap"},
        {"name": "rank_sort", "top_k": 100},
        {"name": "handmade_ap", "form": "linear", "top_k": 0},
    ],
)
def test_a_loss_has_the_parameters_of_its_name_and_no_others(given):
    with pytest.raises(ValidationError, match=r"(heads|form|top_k): expected for|greater than or equal to 1"):
        LossSpec(**given)


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.json", "annotations/../../a.json"])
@pytest.mark.parametrize("field", ["annotations", "images"])
def test_paths_of_a_split_stay_below_the_root(field, path):
    outside = INSIDE.model_copy(update={field: path})
    with pytest.raises(ValidationError, match="val: expected a path inside the root"):
        DatasetSpec(name="mine", root="/data/mine", train=INSIDE, val=outside)


def test_only_the_embedded_data_set_has_no_root():
    with pytest.raises(ValidationError, match="root: expected a folder for data set 'mine'"):
        DatasetSpec(name="mine")
    with pytest.raises(ValidationError, match="train, val: expected"):
        DatasetSpec(name="mine", root="/data/mine")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, -2.0])
def test_metrics_are_fractions_or_minus_one(value):
    assert Metrics(**FRACTIONS).ap_small == -1
    for given in ({**FRACTIONS, "ap": value}, {**FRACTIONS, "per_class": {"dog": value}}):
        with pytest.raises(ValidationError, match=r"ap|dog"):
            Metrics(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"outcome": "succeeded"}, "reward: expected for succeeded"),
        ({"outcome": "failed", "reward": 0.5, "error_kind": "crash"}, "reward: expected for succeeded"),
        ({"outcome": "failed"}, "error_kind: expected for failed"),
        ({"outcome": "pruned", "reward": float("nan")}, "reward"),
        ({"outcome": "pruned", "reward": 0.5, "seconds": float("inf")}, "seconds: expected a finite number"),
    ],
)
def test_a_result_has_a_reward_or_an_error(given, message):
    with pytest.raises(ValidationError, match=message):
        JobResult(**given)


def test_text_that_programs_wrote_loses_its_nul_characters():
    result = JobResult(outcome="failed", error_kind="crash", error="a\0b")
    assert result.error == "a\N{REPLACEMENT CHARACTER}b"


def test_an_unknown_key_is_named_and_a_job_survives_json():
    job = JobSpec(trial_id="s1-1", profile="synthetic", loss=PRESETS["retinanet"])
    assert JobSpec.model_validate_json(job.model_dump_json()) == job
    with pytest.raises(ValidationError, match="epoch"):
        JobSpec.model_validate(job.model_dump() | {"epoch": 3})


def test_an_event_is_told_by_its_kind():
    event = EvaluationEvent(iteration=3, total_iterations=6, metrics=Metrics(**FRACTIONS))
    assert TypeAdapter(Event).validate_json(event.model_dump_json()) == event


@pytest.mark.parametrize("card", PROFILES.values(), ids=lambda card: card.name)
def test_presets_and_the_identity_fit_the_heads_of_their_profiles(card):
    assert identity(card.heads).heads.keys() == set(card.heads)
    assert card.preset is None or PRESETS[card.preset].heads.keys() == set(card.heads)
