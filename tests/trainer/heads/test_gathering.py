"""What a ranking loss sees on two devices: its own entries, or those of both, in two processes over gloo."""

import pytest
import torch
from two_devices import NAMES, POSITIVES, Model, gradients, make_inputs

from paploss.jobs.losses import APL1
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.heads.objective import RankingObjective
from paploss.trainer.profiles import recipe_of


def alone(name, inputs):
    model = Model(name, gather_scores=False)
    value = model(*inputs)
    value.backward()
    return value.detach(), gradients(model)


@pytest.mark.parametrize("case", POSITIVES)
@pytest.mark.parametrize("name", NAMES)
def test_gathered_scores_give_the_gradient_of_one_device_with_all_images(on_two_devices, name, case):
    together = [torch.cat(parts) for parts in zip(*(make_inputs(case, device) for device in range(2)), strict=True)]
    value, gradient = alone(name, together)
    found_value, found_gradient = on_two_devices[name, case, True]
    torch.testing.assert_close(found_value, value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found_gradient, gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", POSITIVES)
@pytest.mark.parametrize("name", NAMES)
def test_otherwise_each_device_ranks_its_own_entries_and_gradients_are_averaged(on_two_devices, name, case):
    (value, first), (_, second) = (alone(name, make_inputs(case, device)) for device in range(2))
    found_value, found_gradient = on_two_devices[name, case, False]
    torch.testing.assert_close(found_value, value)
    torch.testing.assert_close(found_gradient, (first + second) / 2, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_two_are_not_the_same(on_two_devices, name):
    assert not torch.allclose(on_two_devices[name, "both", True][1], on_two_devices[name, "both", False][1], rtol=1e-2)


def test_all_devices_evaluate_with_the_running_statistics_of_the_first(on_two_devices):
    assert on_two_devices["means in evaluation"].tolist() == [[0], [0]]


def test_on_one_device_gathering_changes_nothing():
    values = [Model("parameterized_ap", gather)(*make_inputs("both", 0)) for gather in (True, False)]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("profile", "heads"),
    [("retinanet-tiny", 1), ("faster-rcnn-tiny", 2), ("atss-tiny", 1), ("deformable-detr-tiny", 1)],
)
def test_a_job_sets_it_in_every_ranking_head(make_job, tmp_path, profile, heads):
    spec = make_job(profile=profile, loss=APL1(), gpus=2, gather_scores=True)
    detector = build_detector(recipe_of(spec, read_job_data(spec, tmp_path).train).model, seed=0)
    found = [module.gather_scores for module in detector.modules() if isinstance(module, RankingObjective)]
    assert found == [True] * heads
