from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from paploss.client.loss_choice import every_loss
from paploss.client.specs import ConfirmSpec, PathRefusedError, SearchSpec, TrainingSpec, check_paths
from paploss.jobs.profiles import PROFILES

ROOTS = (Path("/data"), Path("/more/data"))
COCO = {
    "name": "coco",
    "root": "/data/coco",
    "train": {"annotations": "annotations/search_train2017.json", "images": "train2017"},
    "val": {"annotations": "annotations/search_val2017.json", "images": "train2017"},
}


def search(**changes: Any) -> SearchSpec:
    return SearchSpec.model_validate({"profile": "retinanet-tiny", **changes})


def test_a_profile_is_all_that_a_search_needs() -> None:
    spec = search()
    assert (spec.rounds, spec.trials_per_round, spec.algorithm, spec.mode) == (40, 8, "ppo", "round")
    assert spec.trial_gpus == PROFILES["retinanet-tiny"].gpus
    assert search(gpus=3).trial_gpus == 3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"roundz": 3}, "roundz"),
        ({"profile": "yolo"}, "profile: expected one of"),
        ({"algorithm": "genetic"}, "algorithm"),
        ({"mode": "batch"}, "mode"),
        ({"algorithm": "released", "mode": "stream"}, "mode: expected round"),
        ({"rounds": 0}, "rounds"),
        ({"trials_per_round": 1}, "trials_per_round"),
        ({"knots": 3}, "knots"),
        ({"seed": -1}, "seed"),
        ({"overrides": {"optimizer": "x"}}, "overrides.optimizer"),
        ({"overrides": {"learning_rate": float("nan")}}, "overrides.learning_rate"),
        ({"budgets": {"max_failed_attempts": 0}}, "budgets.max_failed_attempts"),
        ({"dataset": {"name": "coco"}}, "root: expected a folder"),
        ({"dataset": {**COCO, "val": {"annotations": "../secret.json", "images": "i"}}}, "val: expected a path inside"),
        ({"synthetic": {"iterations": 3}}, "synthetic: expected only for the profile synthetic"),
    ],
)
def test_a_mistake_in_a_search_names_its_field(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        search(**changes)
    assert named in str(caught.value)


def test_the_published_set_is_confirmed_only_where_there_is_one() -> None:
    assert search(confirm={"published": True}).confirm == ConfirmSpec(published=True)


@pytest.mark.parametrize(
    ("losses", "named"),
    [
        ([], "losses"),
        ([{"label": "a"}], "exactly one of preset, search, loss, got none"),
        ([{"label": "a", "preset": "identity", "search": "x"}], "got preset, search"),
        ([{"label": "a", "preset": "unknown"}], "preset: expected one of"),
        ([{"label": "a", "preset": "identity"}, {"label": "a", "search": "x"}], "distinct labels"),
        ([{"label": "a", "preset": "faster-rcnn"}], "losses[a].loss.heads: expected bbox_head"),
    ],
)
def test_a_mistake_in_a_training_names_its_field(losses: list[dict[str, Any]], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingSpec.model_validate({"profile": "retinanet-tiny", "losses": losses})
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seeds": (1, 1)}, "seeds: expected distinct seeds, got [1, 1]"),
        ({"seeds": ()}, "seeds"),
        ({"learning_rates": (1, 1.0)}, "learning_rates: expected distinct factors, got [1.0, 1.0]"),
        ({"learning_rates": (0,)}, "learning_rates.0"),
        ({"losses": ("focal_l2",)}, "got 'focal_l2'"),
        ({"losses": ("focal_l1", "focal_l1")}, "losses: expected distinct labels"),
        ({"losses": ("ce_l1",)}, "losses[CE + L1].loss.name: expected one of"),
        ({"reference": "nothing"}, "reference: expected one of Focal + L1, Focal + GIoU"),
        ({"evaluate_split": "test", "dataset": COCO}, "evaluate_split: expected val for a data set without"),
    ],
)
def test_a_mistake_in_a_comparison_names_its_field(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingSpec.model_validate({"kind": "compare", "profile": "retinanet-tiny", **changes})
    assert named in str(caught.value)


def test_a_comparison_is_of_every_loss_over_three_seeds_with_a_check_of_the_rate() -> None:
    spec = TrainingSpec(kind="compare", profile="retinanet-tiny")
    assert spec.losses == every_loss("retinanet-tiny")
    assert (spec.seeds, spec.learning_rates) == ((0, 1, 2), (0.5, 1, 2))
    assert spec.reference_label == spec.losses[0].label == "Focal + L1"
    assert TrainingSpec.model_validate_json(spec.model_dump_json()) == spec


def test_final_trainings_have_no_check_of_the_rate() -> None:
    spec = TrainingSpec.model_validate({"profile": "retinanet-tiny", "losses": ["published"]})
    assert (spec.seeds, spec.learning_rates) == ((0,), ())


def test_paths_beneath_a_data_root_are_accepted() -> None:
    check_paths(search(), ())
    check_paths(search(dataset=COCO, weights="/more/data/resnet50.pth"), ROOTS)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dataset": {**COCO, "root": "/etc"}}, "dataset.root"),
        ({"dataset": {**COCO, "root": "/data/../etc"}}, "dataset.root"),
        ({"dataset": {**COCO, "root": "data/coco"}}, "dataset.root"),
        ({"dataset": {**COCO, "root": "/database"}}, "dataset.root"),
        ({"weights": "/root/.ssh/id"}, "weights"),
    ],
)
def test_paths_outside_the_data_roots_are_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(PathRefusedError, match=field) as caught:
        check_paths(search(**changes), ROOTS)
    assert caught.value.field == field


def test_without_data_roots_only_the_embedded_data_set_can_be_used() -> None:
    with pytest.raises(PathRefusedError, match="PAPLOSS_DATA_ROOTS"):
        check_paths(search(dataset=COCO), ())
