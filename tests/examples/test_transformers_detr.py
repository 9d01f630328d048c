"""The loss in transformers, where that is installed."""

import runpy
from pathlib import Path

import pytest
import torch

from paploss.jobs.presets import identity
from paploss.losses import ParameterizedAPLoss, identity_control_points
from paploss.trainer.standalone import render_module

pytest.importorskip("transformers")
EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "transformers_detr.py"))


def loss_of(loss: torch.nn.Module) -> float:
    """Of a batch, with the model's first weights."""
    torch.manual_seed(0)
    model = EXAMPLE["small_model"]()
    model.loss_function = EXAMPLE["ranking_loss"](loss)
    images, labels = EXAMPLE["scenes"](4, seed=0)
    return model(pixel_values=images, labels=labels).loss.item()


def test_a_model_of_transformers_learns_with_it():
    losses = EXAMPLE["train"](60)
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])


def test_the_exported_module_gives_the_same_loss(tmp_path):
    file = tmp_path / "loss.py"
    file.write_text(render_module(identity(["bbox_head"]), ""))
    exported = runpy.run_path(str(file))["ParameterizedAPLoss"]("bbox_head")
    expected = loss_of(ParameterizedAPLoss(identity_control_points(knots=4)))
    assert loss_of(exported) == pytest.approx(expected, rel=1e-5)


def test_images_without_an_object_take_part():
    torch.manual_seed(0)
    model = EXAMPLE["small_model"]()
    model.loss_function = EXAMPLE["ranking_loss"](ParameterizedAPLoss(identity_control_points(knots=4)))
    images, labels = EXAMPLE["scenes"](2, seed=0)
    labels[0] = {"class_labels": torch.zeros(0, dtype=torch.int64), "boxes": torch.zeros(0, 4)}
    loss = model(pixel_values=images, labels=labels).loss
    loss.backward()
    assert loss.isfinite()
    assert loss > 0
