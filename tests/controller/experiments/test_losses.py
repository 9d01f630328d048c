from typing import get_args

import numpy as np
import pytest
from scenarios import search_spec

from paploss.client.start import Family
from paploss.controller.experiments.losses import decode_loss, decode_rate, encode_loss, search_space
from paploss.controller.search.space import FAMILIES
from paploss.jobs.losses import ALRP, APL1, HandmadeAP, Loss, ParameterizedAP
from paploss.jobs.presets import PRESETS, identity

WIDE = {"family": "extended", "searched_rate": True}


@pytest.mark.parametrize("knots", [2, 4, 6])
def test_the_start_of_a_search_is_the_identity(knots: int) -> None:
    spec = search_spec(knots=knots)
    loss = decode_loss(spec, search_space(spec).start().tolist())
    expected = identity(("bbox_head",), knots)
    np.testing.assert_allclose(
        loss.heads["bbox_head"].control_points, expected.heads["bbox_head"].control_points, atol=1e-12
    )
    assert loss.heads["bbox_head"].gradient_scale == pytest.approx(1.0)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_corners_of_the_space_are_valid_losses(value: float) -> None:
    decode_loss(search_spec(), [value] * 41)


def test_random_points_are_valid_losses() -> None:
    for theta in np.random.default_rng(0).random((200, 41)):
        decode_loss(search_spec(), theta.tolist())


def test_a_theta_outside_the_space_is_refused_by_dimension() -> None:
    theta = [0.5] * 41
    theta[3] = 1.5
    with pytest.raises(ValueError, match=r"theta\[3\]"):
        decode_loss(search_spec(), theta)


def assert_same(found: Loss, expected: ParameterizedAP) -> None:
    """All parameters, to rounding."""
    assert isinstance(found, ParameterizedAP)
    assert set(found.heads) == set(expected.heads)
    for name, head in expected.heads.items():
        own = found.heads[name]
        np.testing.assert_allclose(own.control_points, head.control_points, atol=1e-12)
        assert own.gradient_scale == pytest.approx(head.gradient_scale, rel=1e-12)
        assert (own.extensions, own.quality) == (head.extensions, head.quality)


def test_the_families_are_those_that_a_search_may_ask_for() -> None:
    assert get_args(Family) == tuple(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("preset", PRESETS)
def test_published_sets_are_points_of_every_family(preset: str, family: str) -> None:
    spec = search_spec(profile=f"{preset}-tiny", family=family, searched_rate=True)
    theta = encode_loss(spec, PRESETS[preset], rate=2.0).tolist()
    assert_same(decode_loss(spec, theta), PRESETS[preset])
    assert decode_rate(spec, theta) == pytest.approx(2.0)


@pytest.mark.parametrize("profile", ["retinanet-tiny", "faster-rcnn-tiny"])
def test_ap_loss_with_l1_is_a_point_of_the_extended_family_alone(profile: str) -> None:
    spec = search_spec(profile=profile, family="extended")
    found = decode_loss(spec, encode_loss(spec, APL1()).tolist())
    for head in found.head_losses.values():
        assert head.extensions == {"l1_weight": 1.0, "error_driven": True}
        assert head.gradient_scale == 1.0
    with pytest.raises(ValueError, match=r"\.(l1_weight|error_driven): expected .* in the family functions"):
        encode_loss(search_spec(profile=profile), APL1())


def test_the_linear_hand_made_form_is_the_start_of_a_search() -> None:
    spec = search_spec(**WIDE)
    assert_same(decode_loss(spec, encode_loss(spec, HandmadeAP(form="linear")).tolist()), identity(("bbox_head",)))
    np.testing.assert_allclose(encode_loss(spec, HandmadeAP(form="linear")), search_space(spec).start(), atol=1e-12)


def test_what_is_no_point_of_a_search_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"loss: expected parameterized_ap, handmade_linear or ap_l1, got alrp"):
        encode_loss(search_spec(**WIDE), ALRP())
    with pytest.raises(ValueError, match=r"bbox_head\.quality: expected iou, .* got giou"):
        encode_loss(search_spec(quality="iou"), PRESETS["retinanet"])
    with pytest.raises(ValueError, match=r"loss\.top_k: expected none, .* handmade_ap"):
        encode_loss(search_spec(), HandmadeAP(form="linear", top_k=9))
    with pytest.raises(ValueError, match=r"heads: expected"):
        encode_loss(search_spec(), PRESETS["faster-rcnn"])
    with pytest.raises(ValueError, match=r"control_points: expected shape \(5, 4, 2\)"):
        encode_loss(search_spec(knots=2), PRESETS["retinanet"])
