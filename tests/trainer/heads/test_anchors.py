"""The anchors against mmdet's own, and that they are made once."""

import copy

import pytest
import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator

from paploss.trainer.heads.anchors import CachedAnchorGenerator

OPTIONS = {"scales": [8], "ratios": [0.5, 1.0, 2.0], "strides": [8, 16]}
SIZES = [torch.Size([6, 8]), torch.Size([3, 4])]


@pytest.mark.parametrize("pad_shape", [(48, 64), (40, 50, 3), (8, 8)])
def test_anchors_and_flags_are_mmdets_each_time(pad_shape):
    ours, theirs = CachedAnchorGenerator(**OPTIONS), AnchorGenerator(**OPTIONS)
    for _ in range(2):
        for found, expected in (
            (ours.grid_priors(SIZES, device="cpu"), theirs.grid_priors(SIZES, device="cpu")),
            (ours.valid_flags(SIZES, pad_shape, "cpu"), theirs.valid_flags(SIZES, pad_shape, "cpu")),
        ):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_each_size_is_made_once():
    anchors = CachedAnchorGenerator(**OPTIONS)
    first, again = (anchors.grid_priors(SIZES, device="cpu") for _ in range(2))
    assert all(one is other for one, other in zip(first, again, strict=True))
    first.clear()  # the list is the caller's
    assert len(anchors.grid_priors(SIZES, device="cpu")) == 2
    assert anchors.valid_flags(SIZES, (48, 64), "cpu")[0] is anchors.valid_flags(SIZES, (48, 64), "cpu")[0]
    assert anchors.grid_priors(SIZES, torch.float64, "cpu")[0].dtype == torch.float64


def test_what_an_evaluation_made_is_not_part_of_a_graph():
    anchors = copy.deepcopy(CachedAnchorGenerator(**OPTIONS))
    with torch.inference_mode():
        assert anchors.grid_priors(SIZES, device="cpu")[0].is_inference()
        assert anchors.valid_flags(SIZES, (48, 64), "cpu")[0].is_inference()
    assert not anchors.grid_priors(SIZES, device="cpu")[0].is_inference()
    assert not anchors.valid_flags(SIZES, (48, 64), "cpu")[0].is_inference()
