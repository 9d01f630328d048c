"""The reward of an evaluation: what each form of it is, what it is called, and what cannot be measured."""

from typing import Any

import pytest
from pydantic import ValidationError

from paploss.client.specs import SearchSpec
from paploss.jobs.metrics import REWARD, Metrics, UndefinedMetricError, measure, name_requested, name_reward

CELLS = Metrics(
    ap=0.5,
    ap50=0.8,
    ap75=0.6,
    ap_small=-1,
    ap_medium=0.4,
    ap_large=0.7,
    per_class={"red": 0.9, "white": 0.3, "platelets": 0.1, "unseen": -1},
)
SUM = {"sum": [{"metric": "AP", "weight": 3}, {"metric": {"class": "white"}}, {"metric": {"worst_classes": 1}}]}

FORMS: dict[str, tuple[Any, float]] = {
    "AP": ("AP", 0.5),
    "AP50": ("AP50", 0.8),
    "AP75": ("AP75", 0.6),
    "AP_medium": ("AP_medium", 0.4),
    "AP_large": ("AP_large", 0.7),
    "AP of white": ({"class": "white"}, 0.3),
    "AP of the worst class": ({"worst_classes": 1}, 0.1),
    "AP of the 2 worst classes": ({"worst_classes": 2}, 0.2),
    "AP of the 3 worst classes": ({"worst_classes": 3}, 1.3 / 3),
    "(0.6 AP + 0.2 AP of white + 0.2 AP of the worst class)": (SUM, (3 * 0.5 + 0.3 + 0.1) / 5),
}


@pytest.mark.parametrize("name", FORMS)
def test_each_form_has_its_value_and_its_name(name: str) -> None:
    given, value = FORMS[name]
    reward = REWARD.validate_python(given)
    assert measure(reward, CELLS) == pytest.approx(value)
    assert name_reward(reward) == name
    assert name_requested({"reward": given}) == name


@pytest.mark.parametrize("given", [form for form, _ in FORMS.values()], ids=FORMS)
def test_each_form_survives_a_request_and_its_json(given: Any) -> None:
    spec = SearchSpec(profile="synthetic", reward=given)
    assert SearchSpec.model_validate_json(spec.model_dump_json()) == spec
    assert SearchSpec.model_validate(spec.model_dump()) == spec


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("AP_small", "AP_small is undefined, for no object counts; defined are AP, AP50, AP75, AP_medium, AP_large, "),
        ({"class": "unseen"}, "AP of unseen is undefined, .*the AP of red, white, platelets"),
        ({"class": "blue"}, "there is no class 'blue'; expected one of red, white, platelets, unseen"),
        ({"worst_classes": 4}, "at most 3 worst_classes, which have an object, got 4; they are red, white, platelets"),
        ({"sum": [{"metric": "AP"}, {"metric": "AP_small", "weight": 0.01}]}, "AP_small is undefined"),
    ],
)
def test_what_is_undefined_is_no_reward_and_says_what_is_defined(given: Any, message: str) -> None:
    with pytest.raises(UndefinedMetricError, match=message):
        measure(REWARD.validate_python(given), CELLS)


@pytest.mark.parametrize(
    "given",
    [
        *("ap", "AP_tiny", 5, None, [], {}, {"median": 1}),
        *({"class": ""}, {"class": "a", "worst_classes": 1}, {"worst_classes": 0}),
        *({"sum": []}, {"sum": [{"metric": SUM}]}, {"sum": [{"metric": "AP", "weight": 0}]}),
    ],
    ids=str,
)
def test_another_form_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        SearchSpec(profile="synthetic", reward=given)
    assert all(fault["loc"][0] == "reward" for fault in caught.value.errors())


def test_a_sum_of_perfect_metrics_is_a_fraction() -> None:
    perfect = Metrics(ap=1, ap50=1, ap75=1, ap_small=1, ap_medium=1, ap_large=1)
    thirds = REWARD.validate_python({"sum": [{"metric": name, "weight": 0.1} for name in ("AP", "AP50", "AP75")]})
    assert measure(thirds, perfect) == 1


@pytest.mark.parametrize(("request_", "name"), [({}, "AP"), ({"reward": {"of_the_future": 1}}, "reward")])
def test_requests_of_other_versions_have_a_name_too(request_: dict[str, Any], name: str) -> None:
    assert name_requested(request_) == name
