"""The exported module in each framework: the examples train with it, where the framework is installed."""

import runpy
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from paploss.jobs.presets import PRESETS, identity
from paploss.losses import ParameterizedAPLoss, identity_control_points
from paploss.trainer.errors import UserError
from paploss.trainer.standalone import write_module

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def exported(tmp_path):
    def export(framework: str) -> Path:
        file = tmp_path / f"loss_for_{framework}.py"
        write_module(identity(["bbox_head"]), "from a test", file, framework)
        return file

    return export


def example(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / name))


def assert_learns(losses: list[float]) -> None:
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])


@pytest.mark.parametrize("kind", ["deformable_detr", "rt_detr", "d_fine"])
def test_a_detector_of_transformers_learns_with_it(exported, kind):
    pytest.importorskip("transformers", reason="transformers is not installed")
    assert_learns(example("transformers_detr.py")["train"](exported("transformers"), kind, 60))


def test_in_transformers_its_value_is_that_of_each_layers_matched_queries(exported):
    pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    bridge = runpy.run_path(str(exported("transformers")))
    model = example("transformers_detr.py")["small_model"]("deformable_detr")
    layers, images, queries = 2, 2, 5
    logits = torch.randn(layers, images, queries, 2)
    boxes = torch.rand(layers, images, queries, 4) * 0.4 + 0.3
    # The first query is far the best for the one object of the first image; the second image has none.
    boxes[:, 0, 0], logits[:, 0, 0] = torch.tensor([0.2, 0.2, 0.1, 0.1]), torch.tensor([-5.0, 5.0])
    labels = [
        {"class_labels": torch.tensor([1]), "boxes": torch.tensor([[0.2, 0.2, 0.1, 0.05]])},
        {"class_labels": torch.zeros(0, dtype=torch.int64), "boxes": torch.zeros(0, 4)},
    ]
    value, _, _ = bridge["ranking_loss"]()(logits[-1], labels, None, boxes[-1], model.config, logits, boxes)
    loss = ParameterizedAPLoss(identity_control_points(knots=4))
    targets, quality = torch.zeros(images, queries, 2), torch.zeros(images, queries, 2)
    targets[0, 0, 1], quality[0, 0, 1] = 1, 0.75  # GIoU 1/2: the hull is the box itself
    expected = sum(loss(layer.flatten(), quality.flatten(), targets.flatten()) for layer in logits)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)


def test_a_retinanet_of_torchvision_learns_with_it(exported):
    pytest.importorskip("torchvision", reason="torchvision does not import here", exc_type=Exception)
    assert_learns(example("torchvision_retinanet.py")["train"](exported("torchvision"), 60))


def test_a_retinanet_of_mmdet_learns_with_it_and_refuses_what_does_not_fit(exported):
    program = example("mmdet_retinanet.py")
    assert_learns(program["train"](exported("mmdet"), 40))  # registers the head, which mmdet does once in a process
    for wrong in ({"reg_decoded_bbox": True}, {"loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False}}):
        head = ConfigDict({**program["MODEL"]["bbox_head"], **wrong})
        with pytest.raises(ValueError, match="expected reg_decoded_bbox=False and a loss_cls with use_sigmoid=True"):
            MODELS.build(head)


def test_parameters_of_two_heads_are_for_torch_alone(tmp_path):
    for framework in ("transformers", "torchvision", "mmdet"):
        with pytest.raises(UserError, match=f"expected bbox_head alone for {framework}, got rpn_head, bbox_head"):
            write_module(PRESETS["faster-rcnn"], "", tmp_path / "loss.py", framework)
    write_module(PRESETS["faster-rcnn"], "", tmp_path / "loss.py", "torch")
