"""A form made from a schema asks for all that the request has, and gives back what was typed."""

import pytest
from pydantic import ValidationError

from paploss.client.specs import SearchSpec
from paploss.controller.api.problems import describe_errors
from paploss.controller.web.forms import Field, default_values, flatten, list_fields, read_values

FIELDS = list_fields(SearchSpec.model_json_schema())
BY_PATH = {field.path: field for field in FIELDS}
FULL = SearchSpec.model_validate(
    {
        "name": "mine",
        "profile": "synthetic",
        "dataset": {
            "name": "cells",
            "root": "/data/cells",
            "train": {"annotations": "train.json", "images": "images"},
            "val": {"annotations": "val.json", "images": "images"},
        },
        "overrides": {"learning_rate": 0.02},
        "reward": {"sum": [{"metric": {"class": "dépôt: a, 'b' }"}, "weight": 2}, {"metric": "AP75"}]},
        "knots": 6,
        "prune": False,
        "gpus": 2,
        "priority": -3,
        "timeout_seconds": 90.5,
        "confirm": {"published": True},
        "synthetic": {"noise": 0.0, "fault": "crash"},
    }
)


def field(path: str) -> Field:
    return BY_PATH[path]


def test_every_key_of_the_request_has_a_field() -> None:
    """Whatever a request holds, a form that is filled in with it holds too."""
    assert flatten(FULL.model_dump(mode="json"), FIELDS).keys() <= BY_PATH.keys()


def test_a_clone_asks_for_the_same() -> None:
    typed = default_values(FIELDS) | flatten(FULL.model_dump(mode="json"), FIELDS)
    assert SearchSpec.model_validate(read_values(FIELDS, typed)) == FULL


def test_an_untouched_form_is_the_default_request() -> None:
    typed = default_values(FIELDS) | {"profile": "synthetic"}
    assert SearchSpec.model_validate(read_values(FIELDS, typed)) == SearchSpec(profile="synthetic")


def test_fields_tell_their_kind_range_and_help() -> None:
    assert (field("rounds").kind, field("rounds").minimum, field("rounds").maximum) == ("number", 1, 10_000)
    assert field("knots").choices == ("2", "4", "6")
    assert field("prune").kind == "switch"
    assert field("profile").required
    assert field("dataset.train.images").label == "Train images"
    assert field("overrides.epochs").default == ""
    assert "fairly" in field("priority").help


def test_what_may_be_left_out_as_a_whole_is_not_filled_in() -> None:
    assert field("synthetic.iterations").optional_group
    assert field("synthetic.iterations").default == "20"
    assert "synthetic.iterations" not in default_values(FIELDS)
    assert "synthetic" not in read_values(FIELDS, {"synthetic.iterations": "  "})


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("rounds", "many", "expected a whole number"),
        ("rounds", "0", "expected 1 or more"),
        ("overrides.learning_rate", "-1", "expected more than 0"),
        ("knots", "5", "2, 4, 6"),
        ("reward", "AP_tiny", "AP50, AP75, AP_small"),
        ("reward", "{class: [", "worst_classes: K"),
        ("reward", "7", "worst_classes: K"),
        ("dataset.train.images", "images", "is missing"),
        ("seed", "99999999999999999999999", "expected 2147483647 or less"),
    ],
)
def test_a_wrong_value_is_told_at_its_field(path: str, text: str, complaint: str) -> None:
    typed = {"profile": "synthetic", path: text}
    document = read_values(FIELDS, typed)
    with pytest.raises(ValidationError) as caught:
        SearchSpec.model_validate(document)
    (error,) = describe_errors(caught.value.errors(), document)
    shown = error.pointer.strip("/").replace("/", ".")
    assert shown == ("dataset.train.annotations" if path == "dataset.train.images" else path)
    assert shown in BY_PATH
    assert complaint in error.message
