"""Losses by name."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from paploss.client.loss_choice import LossChoice, LossEntry, every_loss
from paploss.jobs.losses import ALRP, LOSSES, HandmadeAP, check_fit
from paploss.jobs.presets import PRESETS, identity
from paploss.jobs.profiles import PROFILES

ENTRY: TypeAdapter[LossChoice] = TypeAdapter(LossEntry)


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ("published", "Parameterized AP, published"),
        ("identity", "Parameterized AP, identity"),
        ("focal_l1", "Focal + L1"),
        ("handmade_linear", "Hand-made AP, linear"),
        ({"search": "1m82"}, "search 1m82"),
        ({"loss": {"name": "rank_sort"}}, "Rank & Sort"),
        ({"loss": HandmadeAP(form="square")}, "Hand-made AP, square"),
        ({"preset": "retinanet"}, "Parameterized AP, retinanet"),
        ({"preset": "retinanet", "label": "mine"}, "mine"),
    ],
)
def test_a_loss_is_labelled_by_what_it_is(given: Any, label: str) -> None:
    assert ENTRY.validate_python(given).label == label


def test_names_stand_for_losses() -> None:
    assert ENTRY.validate_python("published").find_loss("faster-rcnn-tiny") == PRESETS["faster-rcnn"]
    assert ENTRY.validate_python("identity").find_loss("retinanet-tiny") == identity(("bbox_head",))
    assert ENTRY.validate_python("alrp").find_loss("retinanet-tiny") == ALRP()
    assert ENTRY.validate_python({"search": "1m82"}).find_loss("retinanet-tiny") is None


@pytest.mark.parametrize("given", ["focal", "parameterized_ap", "handmade_ap", ""])
def test_an_unknown_name_is_told_with_those_there_are(given: str) -> None:
    with pytest.raises(ValidationError, match=f"expected one of published, .*focal_l1.*, got '{given}'"):
        ENTRY.validate_python(given)


@pytest.mark.parametrize("given", [{"loss": {"name": ["x"]}}, {"loss": "x"}, {"preset": 3}, {"label": "x"}, 3, None])
def test_nonsense_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        ENTRY.validate_python(given)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_loss_fits_and_none_but_hand_made_ap_is_left_out(profile: str) -> None:
    losses = [choice.find_loss(profile) for choice in every_loss(profile)]
    names = [loss.name for loss in losses if loss is not None]
    assert len(names) == len(losses) == len(set(names))
    for loss in losses:
        assert loss is not None
        check_fit(loss, profile)
    card = PROFILES[profile]
    fitting = {name for name, one in LOSSES.items() if card.detector is None or card.detector in one.rates}
    assert fitting - set(names) == {"handmade_ap", *(() if card.preset else ("parameterized_ap",))}


def test_every_loss_comes_in_the_order_of_the_published_table() -> None:
    names = [choice.label for choice in every_loss("retinanet-tiny")]
    table = ["Focal + L1", "Focal + GIoU", "AP Loss + L1", "aLRP", "Parameterized AP, published"]
    assert names[:5] == table
    later = {"Rank & Sort", "CSE-AutoLoss-B", "QFL + GIoU", "Varifocal + GIoU", "IoU-aware BCE + GIoU"}
    assert set(names[5:]) == later
