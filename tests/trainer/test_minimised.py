"""What training minimises of a detector's outputs."""

import pytest
import torch

from paploss.trainer.minimised import head_loss, minimised_loss
from paploss.trainer.profiles.recipe import Head

RPN, RCNN = Head("rpn_head", "rpn", ("loss_rpn_cls",)), Head("bbox_head", "bbox", ("loss_cls", "fit"))


@pytest.fixture
def outputs():
    ones = torch.ones(4, requires_grad=True)
    return {
        "loss_rpn_cls": [ones.sum(), 2 * ones.sum()],
        "loss_cls": ones.mean(),
        "fit": 3 * ones,
        "acc": torch.ones(1),
    }


def test_it_is_the_sum_of_what_the_heads_declare_whatever_the_names(outputs):
    assert minimised_loss(outputs, (RPN, RCNN)) == 12 + 1 + 3
    assert [head_loss(outputs, head) for head in (RPN, RCNN)] == [12, 4]


def test_outputs_that_only_inform_may_have_any_name(outputs):
    assert minimised_loss({**outputs, "loss_before": torch.ones(1)}, (RPN, RCNN)) == 16


def test_an_output_with_a_gradient_that_no_head_declares_is_named(outputs):
    with pytest.raises(ValueError, match="fit: an output with a gradient"):
        minimised_loss(outputs, (RPN, Head("bbox_head", "bbox", ("loss_cls",))))


def test_a_declared_loss_that_is_missing_is_named(outputs):
    del outputs["loss_cls"]
    with pytest.raises(KeyError, match="expected the outputs loss_cls, got loss_rpn_cls, fit, acc"):
        minimised_loss(outputs, (RPN, RCNN))
