from typing import get_args

import pytest

from paploss.jobs.losses import LOSSES, PUBLISHED_RESULTS, check_fit
from paploss.jobs.presets import PRESETS
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import LossName, LossSpec


def test_every_loss_name_has_a_card() -> None:
    assert tuple(LOSSES) == get_args(LossName)


def test_every_published_row_can_be_trained_or_says_why_not() -> None:
    for row in PUBLISHED_RESULTS:
        if row.loss is None:
            assert row.remark
        else:
            assert row.detector in LOSSES[row.loss].detectors


def test_a_loss_for_another_detector_is_refused_with_those_that_fit() -> None:
    with pytest.raises(ValueError, match=r"loss\.name: expected one of .*focal_l1.*'retinanet-tiny', got 'ce_l1'"):
        check_fit(LossSpec(name="ce_l1"), "retinanet-tiny")


def test_parameters_for_other_heads_are_refused() -> None:
    with pytest.raises(ValueError, match=r"loss\.heads: expected bbox_head for .*, got rpn_head, bbox_head"):
        check_fit(PRESETS["faster-rcnn"], "retinanet-tiny")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_form_that_compares_all_pairs_needs_a_limit_where_there_are_millions(profile: str) -> None:
    sigmoid = LossSpec(name="handmade_ap", form="sigmoid")
    if profile.endswith("-r50"):
        with pytest.raises(
            ValueError, match=rf"loss\.top_k: expected for the form sigmoid and the profile '{profile}'"
        ):
            check_fit(sigmoid, profile)
    else:
        check_fit(sigmoid, profile)
    check_fit(sigmoid.model_copy(update={"top_k": 100_000}), profile)
    check_fit(LossSpec(name="handmade_ap", form="linear"), profile)


@pytest.mark.parametrize("profile", [name for name, card in PROFILES.items() if card.detector])
def test_every_pair_of_loss_and_detector_fits_or_is_refused(profile: str) -> None:
    for name, card in LOSSES.items():
        form = "linear" if name == "handmade_ap" else None
        loss = PRESETS[PROFILES[profile].preset or ""] if name == "parameterized_ap" else LossSpec(name=name, form=form)
        if PROFILES[profile].detector in card.detectors:
            check_fit(loss, profile)
        else:
            with pytest.raises(ValueError, match=rf"expected one of parameterized_ap, .* '{profile}', got '{name}'"):
                check_fit(loss, profile)


def test_the_profile_without_a_detector_takes_any_loss() -> None:
    assert PROFILES["synthetic"].detector is None
    for name in LOSSES:
        if name not in ("parameterized_ap", "handmade_ap"):
            check_fit(LossSpec(name=name), "synthetic")
