"""The job's schema: what it refuses, with the field in the message, and what survives the way through JSON."""

import pytest
from pydantic import ValidationError

from paploss.jobs.metrics import Metrics
from paploss.jobs.presets import PRESETS, identity
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import EVENT, DatasetSpec, EvaluationEvent, JobResult, JobSpec, Split

INSIDE = Split(annotations="annotations/a.json", images="images")
FRACTIONS = {"ap": 0.5, "ap50": 0.5, "ap75": 0.5, "ap_small": -1, "ap_medium": 0.5, "ap_large": 0.5}


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.json", "annotations/../../a.json"])
@pytest.mark.parametrize("field", ["annotations", "images"])
def test_paths_of_a_split_stay_below_the_root(field, path):
    outside = INSIDE.model_dump() | {field: path}
    with pytest.raises(ValidationError, match=rf"val\.{field}\n  Value error, expected a path inside the root"):
        DatasetSpec.model_validate({"name": "mine", "root": "/data/mine", "train": INSIDE, "val": outside})


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
        ({"outcome": "pruned", "reward": 0.5, "seconds": float("inf")}, r"seconds\n  Input should be a finite number"),
    ],
)
def test_a_result_has_a_reward_or_an_error(given, message):
    with pytest.raises(ValidationError, match=message):
        JobResult(**given)


def test_text_that_programs_wrote_loses_what_cannot_be_stored():
    result = JobResult(outcome="failed", error_kind="crash", error="a\0b caf\udce9.jpg")
    assert result.error == "a\N{REPLACEMENT CHARACTER}b caf?.jpg"
    assert JobResult.model_validate_json(result.model_dump_json()) == result


def test_an_unknown_key_is_named_and_a_job_survives_json():
    job = JobSpec(trial_id="s1-1", profile="synthetic", loss=PRESETS["retinanet"])
    assert JobSpec.model_validate_json(job.model_dump_json()) == job
    with pytest.raises(ValidationError, match="epoch"):
        JobSpec.model_validate(job.model_dump() | {"epoch": 3})


def test_an_event_is_told_by_its_kind():
    event = EvaluationEvent(iteration=3, total_iterations=6, metrics=Metrics(**FRACTIONS))
    assert EVENT.validate_json(event.model_dump_json()) == event


@pytest.mark.parametrize("card", PROFILES.values(), ids=lambda card: card.name)
def test_presets_and_the_identity_fit_the_heads_of_their_profiles(card):
    assert identity(card.heads).heads.keys() == set(card.heads)
    assert card.preset is None or PRESETS[card.preset].heads.keys() == set(card.heads)
