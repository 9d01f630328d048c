"""Layers in bfloat16, on the CPU: what is half, and what stays whole."""

import pytest
import torch

from paploss.jobs.presets import identity
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import Overrides
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.precision import compute_in
from paploss.trainer.profiles import recipe_of

PROFILE_NAMES = ("retinanet-tiny", "faster-rcnn-tiny", "atss-tiny", "deformable-detr-tiny")


@pytest.fixture
def build(make_job, tmp_path):
    def build_in(precision: str, profile: str = "retinanet-tiny"):
        overrides = Overrides(image_size_px=64, precision=precision)
        job = make_job(profile=profile, loss=identity(PROFILES[profile].heads), overrides=overrides)
        recipe = recipe_of(job, read_job_data(job, tmp_path).train)
        detector = build_detector(recipe.model, seed=0)
        compute_in(detector, recipe)
        return detector.eval()

    return build_in


def outputs_of_layers(detector, images):
    """The dtype of what each convolution and linear layer gives, by name."""
    found = {}
    for name, layer in detector.named_modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(lambda _, __, output, name=name: found.update({name: output.dtype}))
    with torch.no_grad():
        features = detector.extract_feat(images)
        heads = detector.bbox_head(features)
    return found, features, heads


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_layers_compute_in_what_was_asked_for_and_give_float32(build, precision, dtype):
    detector = build(precision)
    layers, features, (scores, boxes) = outputs_of_layers(detector, torch.randn(1, 3, 64, 64))
    assert set(layers.values()) == {dtype}
    assert {tensor.dtype for tensor in (*features, *scores, *boxes)} == {torch.float32}
    assert {weights.dtype for weights in detector.parameters()} == {torch.float32}


def test_the_outputs_are_those_of_float32_to_the_digits_of_bfloat16(build):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found, expected = (outputs_of_layers(build(precision), images)[2] for precision in ("bf16", "float32"))
    for half, single in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        assert not torch.equal(half, single)
        torch.testing.assert_close(half, single, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_weights_and_names_in_the_state_do_not_depend_on_it(build, profile):
    states = [build(precision, profile).state_dict() for precision in ("float32", "bf16")]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
