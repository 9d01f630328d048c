import pytest
import torch

from jobs.presets import PRESETS
from trainer.heads.ranking import ranking_loss
from trainer.losses import handmade_ap_loss, parameterized_ap_loss

POINTS = PRESETS["retinanet"].heads["bbox_head"].control_points
LOGITS = torch.tensor([0.3, -0.2, 1.1, 0.4], dtype=torch.float64)
QUALITY = torch.tensor([0.8, 0.0, 0.0, 0.6], dtype=torch.float64)
TARGETS = torch.tensor([1.0, 0.0, -1.0, 1.0], dtype=torch.float64)


def test_names_lead_to_the_losses():
    found = ranking_loss(LOGITS, QUALITY, TARGETS, name="parameterized_ap", control_points=POINTS)
    torch.testing.assert_close(found, parameterized_ap_loss(LOGITS, QUALITY, TARGETS, torch.tensor(POINTS).double()))
    found = ranking_loss(LOGITS, QUALITY, TARGETS, name="handmade_ap", form="square")
    torch.testing.assert_close(found, handmade_ap_loss(LOGITS, QUALITY, TARGETS, "square"))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_input_that_is_not_finite_gives_nan_with_a_graph(bad):
    logits = LOGITS.clone()
    logits[1] = bad
    logits.requires_grad_()
    loss = ranking_loss(logits, QUALITY, TARGETS, name="parameterized_ap", control_points=POINTS)
    assert loss.isnan()
    loss.backward()
    quality = QUALITY.clone()
    quality[0] = torch.nan
    assert ranking_loss(LOGITS, quality, TARGETS, name="parameterized_ap", control_points=POINTS).isnan()


def test_a_missing_parameter_is_named():
    with pytest.raises(ValueError, match="control_points"):
        ranking_loss(LOGITS, QUALITY, TARGETS, name="parameterized_ap")
