"""What is compared as parts of AP Loss + L1 are points of the searched family, and the patch removes one part alone."""

from pathlib import Path

import pytest
import torch

from benchmarks.family import RIVAL, part_losses, search_spec, without_maximum
from paploss.controller.experiments.losses import decode_loss, encode_loss
from paploss.jobs.presets import as_parameterized
from paploss.losses.ap import ap_loss


def test_every_part_is_a_point_of_the_searched_family(tmp_path: Path) -> None:
    spec = search_spec(0, tmp_path)
    parts = {choice.label: choice.loss for choice in part_losses()}
    assert RIVAL in parts
    for loss in parts.values():
        assert loss is not None
        (asked,) = as_parameterized(loss, ["bbox_head"]).heads.values()
        (found,) = decode_loss(spec, encode_loss(spec, loss).tolist()).heads.values()
        assert found.gradient_scale == pytest.approx(asked.gradient_scale)
        assert found.extensions == pytest.approx(asked.extensions)


def test_without_the_running_maximum_each_positive_has_its_own_error() -> None:
    """Far from each other, positives at 40, 20 and 0 have 0, 1 and 1 negatives above: precisions 1, 2/3 and 3/4."""
    logits = torch.tensor([40.0, 30.0, 20.0, 0.0])
    targets = torch.tensor([1, 0, 1, 1])
    assert ap_loss(logits, targets).item() == pytest.approx((0 + 1 / 4 + 1 / 4) / 3)
    with without_maximum():
        assert ap_loss(logits, targets).item() == pytest.approx((0 + 1 / 3 + 1 / 4) / 3)
