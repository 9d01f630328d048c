"""Losses as documents: what is read and refused, what other versions can read, and what fits which detector."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from paploss.jobs.losses import (
    ALRP,
    CEL1,
    LOSSES,
    HandmadeAP,
    HeadLoss,
    Loss,
    LossSpec,
    RankSort,
    check_fit,
    parse_loss,
)
from paploss.jobs.presets import PRESETS, identity
from paploss.jobs.profiles import PROFILES
from paploss.jobs.published_results import PUBLISHED_RESULTS
from paploss.jobs.spec import JobSpec

LINE = ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0))
PARAMETERS: dict[str, dict[str, Any]] = {
    "parameterized_ap": {"heads": PRESETS["retinanet"].heads, "top_k": 100},
    "handmade_ap": {"form": "square", "top_k": None},
}
ONE_OF_EACH = {name: parse_loss({"name": name} | PARAMETERS.get(name, {}), strict=True) for name in LOSSES}


class LossOf010(BaseModel):
    """A loss as version 0.1.0 wrote and read it."""

    model_config = ConfigDict(extra="forbid")

    name: str = "parameterized_ap"
    heads: dict[str, HeadLoss] = {}
    form: Literal["sigmoid", "linear", "square"] | None = None
    top_k: int | None = None


@pytest.mark.parametrize("loss", ONE_OF_EACH.values(), ids=ONE_OF_EACH)
@pytest.mark.parametrize("strict", [True, False], ids=["from a person", "stored"])
def test_what_0_1_0_wrote_is_read_and_it_reads_what_is_written(loss: LossSpec, strict: bool) -> None:
    as_written_then = LossOf010.model_validate_json(loss.model_dump_json())
    assert parse_loss(as_written_then.model_dump(mode="json"), strict=strict) == loss
    assert JobSpec(trial_id="t", profile="p", loss=as_written_then.model_dump()).loss == loss


@pytest.mark.parametrize("loss", ONE_OF_EACH.values(), ids=ONE_OF_EACH)
def test_a_loss_survives_json_and_has_its_own_parameters_alone(loss: LossSpec) -> None:
    document = loss.model_dump(mode="json")
    assert parse_loss(document, strict=True) == loss
    assert set(document) == {"name", *PARAMETERS.get(loss.name, {})}


def test_a_document_without_a_name_is_of_the_parameterized_ap_loss() -> None:
    document = PRESETS["faster-rcnn"].model_dump(mode="json", exclude={"name"})
    assert parse_loss(document, strict=True) == PRESETS["faster-rcnn"]


def test_a_loss_is_returned_as_it_is() -> None:
    loss = RankSort()
    assert parse_loss(loss, strict=True) is loss


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"name": "focal_l1", "form": "linear"}, r"loss\.form: .*'linear'"),
        ({"name": "rank_sort", "top_k": 100}, r"loss\.top_k: .*100"),
        ({"name": "alrp", "heads": {"bbox_head": {}}}, r"loss\.heads: "),
        ({"name": "focal_l1", "gamma": None}, r"loss\.gamma: "),
        (
            {"name": "handmade_ap", "form": "linear", "heads": {}, "top_k": 0},
            r"loss\.top_k: .*greater than .* 1",
        ),
        ({"heads": {"bbox_head": {"control_points": (LINE,) * 5, "scale": 2}}}, r"loss\.heads\.bbox_head\.scale: "),
    ],
)
def test_a_person_is_told_of_parameters_that_the_loss_does_not_have(document: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_loss(document, strict=True)


@pytest.mark.parametrize("strict", [True, False], ids=["from a person", "stored"])
@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"heads": {}}, r"loss\.heads: .*at least 1"),
        ({"name": "handmade_ap"}, r"loss\.form: .*required"),
        ({"name": "handmade_ap", "form": "cubic"}, r"loss\.form: .*'cubic'"),
        ({"name": "focal"}, r"loss: .*'focal'.*'parameterized_ap', 'handmade_ap'"),
        ({"name": ["focal_l1"]}, "loss: "),
        ("focal_l1", "loss: "),
        (None, "loss: "),
    ],
)
def test_what_is_no_loss_is_refused(document: Any, strict: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_loss(document, strict=strict)


def test_fields_of_a_newer_version_are_left_out_of_what_is_stored() -> None:
    document = PRESETS["retinanet"].model_dump(mode="json") | {"temperature": 3}
    document["heads"]["bbox_head"]["tail"] = "long"
    assert parse_loss(document, strict=False) == PRESETS["retinanet"]


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
def test_control_points_that_are_no_functions_are_refused(rows: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        HeadLoss(control_points=rows)


def test_a_knot_outside_the_unit_square_is_told_with_its_place_and_value() -> None:
    row = ((0.0, 0.0), (0.5, 1.5), (1.0, 1.0))
    with pytest.raises(ValueError, match=r"loss\.heads\.rpn_head\.control_points\.0\.1\.1: .*got 1\.5"):
        parse_loss({"heads": {"rpn_head": {"control_points": (row,) * 5}}}, strict=True)


def test_every_name_and_title_is_of_one_loss() -> None:
    assert len({record.title for record in LOSSES.values()}) == len(LOSSES)
    assert [loss.name for loss in ONE_OF_EACH.values()] == list(LOSSES)
    shorthands = [name for record in LOSSES.values() for name in record.shorthands()]
    assert len(set(shorthands)) == len(shorthands)


def test_every_published_row_can_be_trained_or_says_why_not() -> None:
    for row in PUBLISHED_RESULTS:
        if row.loss is None:
            assert row.remark
        else:
            assert row.detector in row.loss.rates


def test_a_loss_for_another_detector_is_refused_with_those_that_fit_and_its_own_detectors() -> None:
    with pytest.raises(
        ValueError, match=r"expected one of .*focal_l1.*'retinanet-tiny', got 'ce_l1', which is for faster-rcnn"
    ):
        check_fit(CEL1(), "retinanet-tiny")


def test_parameters_for_other_heads_are_refused() -> None:
    with pytest.raises(ValueError, match=r"loss\.heads: expected bbox_head for .*, got rpn_head, bbox_head"):
        check_fit(PRESETS["faster-rcnn"], "retinanet-tiny")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_form_that_compares_all_pairs_needs_a_limit_where_there_are_millions(profile: str) -> None:
    sigmoid = HandmadeAP(form="sigmoid")
    if profile.endswith("-r50"):
        with pytest.raises(
            ValueError, match=rf"loss\.top_k: expected for the form sigmoid and the profile '{profile}'"
        ):
            check_fit(sigmoid, profile)
    else:
        check_fit(sigmoid, profile)
    check_fit(sigmoid.model_copy(update={"top_k": 100_000}), profile)
    check_fit(HandmadeAP(form="linear"), profile)


@pytest.mark.parametrize("profile", [name for name, card in PROFILES.items() if card.detector])
def test_every_pair_of_loss_and_detector_fits_or_is_refused(profile: str) -> None:
    for name, loss in ONE_OF_EACH.items():
        if name == "parameterized_ap":
            check_fit(identity(PROFILES[profile].heads), profile)
        elif PROFILES[profile].detector in loss.rates:
            check_fit(loss, profile)
        else:
            with pytest.raises(ValueError, match=rf"expected one of parameterized_ap, .* '{profile}', got '{name}'"):
                check_fit(loss, profile)


def test_the_profile_without_a_detector_takes_any_loss() -> None:
    assert PROFILES["synthetic"].detector is None
    for loss in ONE_OF_EACH.values():
        check_fit(loss, "synthetic")


@pytest.mark.parametrize(
    ("loss", "label"),
    [(ALRP(), "aLRP"), (HandmadeAP(form="square"), "Hand-made AP, square")],
)
def test_a_label_tells_losses_apart(loss: Loss, label: str) -> None:
    assert loss.label == label


def test_a_head_without_extensions_is_written_as_before_there_were_any() -> None:
    head = PRESETS["retinanet"].heads["bbox_head"]
    assert set(head.model_dump(mode="json")) == {"control_points", "gradient_scale", "quality"}
    assert head.extensions == {}


def test_extensions_survive_json() -> None:
    extensions = {"l1_weight": 0.5, "giou_weight": 2.0, "error_driven": True}
    head = HeadLoss(control_points=(LINE,) * 5, **extensions)
    assert head.extensions == extensions
    assert HeadLoss.model_validate_json(head.model_dump_json()) == head


@pytest.mark.parametrize("field", ["l1_weight", "giou_weight"])
@pytest.mark.parametrize("value", [-0.1, 101, float("inf"), float("nan")])
def test_a_weight_that_is_negative_or_without_bound_is_refused(field: str, value: float) -> None:
    document = {"heads": {"bbox_head": {"control_points": (LINE,) * 5, field: value}}}
    with pytest.raises(ValueError, match=rf"loss\.heads\.bbox_head\.{field}: "):
        parse_loss(document, strict=True)


def test_error_driven_heads_have_no_top_k() -> None:
    heads = {"bbox_head": {"control_points": (LINE,) * 5, "error_driven": True}}
    with pytest.raises(ValueError, match=r"top_k: expected none with error_driven, .* got 100"):
        parse_loss({"heads": heads, "top_k": 100}, strict=True)
