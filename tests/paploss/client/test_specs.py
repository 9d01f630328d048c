from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from paploss.client.algorithms import PaperSettings
from paploss.client.documents import SPEC
from paploss.client.loss_choice import every_loss
from paploss.client.specs import ComparisonSpec, ConfirmSpec, ExperimentSpec, SearchSpec, TrainingSpec
from paploss.jobs.profiles import PROFILES

COCO = {
    "name": "coco",
    "root": "/data/coco",
    "train": {"annotations": "annotations/search_train2017.json", "images": "train2017"},
    "val": {"annotations": "annotations/search_val2017.json", "images": "train2017"},
}

EARLIER = {
    "space": {"heads": ["bbox_head"], "knots": 2},
    "trials": [{"theta": [0.5] * 21, "reward": 0.2, "seed": 1}],
}


def search(**changes: Any) -> SearchSpec:
    return SearchSpec.model_validate({"profile": "retinanet-tiny", **changes})


def test_a_profile_is_all_that_a_search_needs() -> None:
    spec = search()
    assert (spec.rounds, spec.trials_per_round, spec.algorithm.name, spec.mode) == (40, 8, "guided", "stream")
    assert spec.trial_gpus == PROFILES["retinanet-tiny"].gpus
    assert search(gpus=3).trial_gpus == 3


@pytest.mark.parametrize(
    ("algorithm", "mode"),
    [("guided", "stream"), ({"name": "ppo"}, "round"), ("released", "round"), (PaperSettings(), "round")],
)
def test_the_mode_suits_the_algorithm_unless_one_is_asked_for(algorithm: Any, mode: str) -> None:
    assert search(algorithm=algorithm).mode == mode
    assert search(algorithm="ppo", mode="stream").mode == "stream"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"roundz": 3}, "roundz"),
        ({"profile": "yolo"}, "expected one of retinanet-tiny"),
        ({"algorithm": "genetic"}, "algorithm"),
        ({"mode": "batch"}, "mode"),
        ({"algorithm": {"name": "ppo", "clip": 2}}, "clip"),
        ({"algorithm": {"name": "random", "clip": 0.2}}, "clip"),
        ({"algorithm": "paper", "mode": "stream"}, "mode: expected round for the algorithm paper, got stream"),
        ({"rounds": 0}, "rounds"),
        ({"trials_per_round": 1}, "trials_per_round"),
        ({"knots": 3}, "knots"),
        ({"seed": -1}, "seed"),
        ({"overrides": {"optimizer": "x"}}, "overrides.optimizer"),
        ({"overrides": {"learning_rate": float("nan")}}, "overrides.learning_rate"),
        ({"budgets": {"max_failed_attempts": 0}}, "budgets.max_failed_attempts"),
        ({"dataset": {"name": "coco"}}, "root: expected a folder"),
        ({"dataset": {**COCO, "val": {"annotations": "../secret.json", "images": "i"}}}, "expected a path inside"),
        ({"start_from": ["published", "0abc"], "algorithm": "ppo"}, "start_from[1]: expected the algorithm guided"),
        ({"start_from": ["../secret"]}, "search"),
        ({"start_from": [{}]}, "expected exactly one of preset, search, earlier, loss, got none"),
        ({"start_from": [{"earlier": EARLIER}]}, "start_from[0]: expected a search over heads bbox_head; knots 4"),
        ({"pilot": "tell"}, "pilot: expected none for a search without a rival beside the loss where it starts"),
        ({"pilot": "ask", "confirm": {"rivals": ["published"]}}, "two losses; got ask (confirm.rivals names rivals)"),
        ({"synthetic": {"iterations": 3}}, "synthetic: expected only for the profile synthetic"),
    ],
)
def test_a_mistake_in_a_search_names_its_field(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        search(**changes)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("rivals", "has_pilot"),
    [(None, True), (["ap_l1"], True), (["published", "ap_l1"], True), (["published"], False), ("none", False)],
)
def test_a_search_on_own_data_begins_with_a_pilot_where_it_has_two_losses(rivals: Any, has_pilot: bool) -> None:
    assert search(dataset=COCO, confirm={"rivals": rivals}).has_pilot is has_pilot
    assert not search(confirm={"rivals": rivals}).has_pilot


def test_the_published_set_is_confirmed_only_where_there_is_one() -> None:
    assert search(confirm={"published": True}).confirm == ConfirmSpec(published=True)


@pytest.mark.parametrize(
    ("changes", "seeds", "most"),
    [
        ({}, 5, 5),
        ({"dataset": COCO}, 5, 12),
        ({"dataset": COCO, "confirm": {"seeds": 20}}, 20, 20),
        ({"dataset": COCO, "confirm": {"most_seeds": 8}}, 5, 8),
    ],
)
def test_a_race_begins_with_five_seeds_and_has_up_to_twelve_on_a_data_set_with_a_root(
    changes: dict[str, Any], seeds: int, most: int
) -> None:
    spec = search(**changes)
    assert (spec.confirm.seeds, spec.most_seeds) == (seeds, most)


@pytest.mark.parametrize(("confirm", "seeds"), [({}, 3), ({"candidates": 2, "seeds": 4}, 4)])
def test_a_search_of_the_first_version_keeps_the_seeds_that_it_had(confirm: dict[str, int], seeds: int) -> None:
    spec = SPEC.read({"profile": "retinanet-tiny", "dataset": COCO, "confirm": confirm})
    assert isinstance(spec, SearchSpec)
    assert (spec.confirm.seeds, spec.most_seeds) == (seeds, seeds)


def test_a_search_of_version_1_has_no_screen_which_that_did_not_know() -> None:
    assert not SPEC.read({"profile": "retinanet-tiny"}).screen
    assert SearchSpec(profile="retinanet-tiny").screen


@pytest.mark.parametrize("given", ["paper", "released", {"name": "released"}, PaperSettings()])
def test_the_update_of_the_paper_is_also_known_by_its_former_name(given: Any) -> None:
    assert search(algorithm=given).algorithm == PaperSettings()


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
        ({"reference": "nothing"}, "reference: expected one of 'Focal + L1', 'Focal + GIoU'"),
        ({"evaluate_split": "test", "dataset": COCO}, "evaluate_split: expected val for a data set without"),
    ],
)
def test_a_mistake_in_a_comparison_names_its_field(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ComparisonSpec.model_validate({"profile": "retinanet-tiny", **changes})
    assert named in str(caught.value)


def test_a_comparison_is_of_every_loss_over_three_seeds_with_a_check_of_the_rate() -> None:
    spec = ComparisonSpec(profile="retinanet-tiny")
    assert spec.losses == every_loss("retinanet-tiny")
    assert (spec.seeds, spec.learning_rates) == ((0, 1, 2), (0.5, 1))
    assert spec.reference_label == spec.losses[0].label == "Focal + L1"
    assert ComparisonSpec.model_validate_json(spec.model_dump_json()) == spec


def test_trainings_as_long_as_the_check_of_their_rate_may_take_a_greater_one_than_the_profiles() -> None:
    assert ComparisonSpec(profile="retinanet-tiny", schedule="proxy").learning_rates == (0.5, 1, 2)


def test_final_trainings_have_no_check_of_the_rate() -> None:
    spec = TrainingSpec.model_validate({"profile": "retinanet-tiny", "losses": ["published"]})
    assert (spec.seeds, spec.learning_rates) == ((0,), ())


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"kind": "search", "rounds": 10_000, "trials_per_round": 101}, "rounds, trials_per_round"),
        ({"kind": "training", "losses": [{"label": str(n), "preset": "identity"} for n in range(21)]}, "losses, seeds"),
        ({"kind": "search", "dataset": {"name": "mine", "root": "/" + "x" * 1000}}, "root"),
        ({"kind": "search", "weights": "x" * 1001}, "weights"),
    ],
)
def test_one_request_may_ask_for_so_much_and_no_more(given: dict[str, Any], named: str) -> None:
    seeds = {"seeds": list(range(1000))} if given["kind"] == "training" else {}
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(ExperimentSpec).validate_python({"profile": "retinanet-tiny", **given, **seeds})
    assert named in str(caught.value)


@pytest.mark.parametrize("given", [["published", "0abc"], "published, 0abc", '["published", "0abc"]'])
def test_what_a_search_starts_from_is_a_list_or_a_line_and_is_written_by_name(given: Any) -> None:
    spec = search(start_from=given)
    assert spec.model_dump(mode="json")["start_from"] == ["published", "0abc"]
    assert SearchSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert search(start_from="none").starts == ()
    assert [start.preset for start in search().starts] == ["published"]
