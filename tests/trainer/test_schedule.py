import dataclasses

import pytest
import torch

from trainer.profiles.recipe import Schedule
from trainer.schedule import build_optimizer, ends_epoch, learning_rate, total_iterations

SCHEDULE = Schedule(
    epochs=10,
    batch_size=8,
    learning_rate=0.1,
    optimizer="sgd",
    weight_decay=1e-4,
    warmup_iterations=10,
    warmup_factor=0.001,
    decay="constant",
)


def test_warm_up_is_linear_from_the_factor_to_the_peak():
    rates = [learning_rate(SCHEDULE, iteration, 100) for iteration in (0, 5, 10, 99)]
    assert rates == pytest.approx([0.0001, 0.05005, 0.1, 0.1])


def test_cosine_falls_to_zero():
    schedule = dataclasses.replace(SCHEDULE, decay="cosine")
    rates = [learning_rate(schedule, iteration, 100) for iteration in (10, 50, 99)]
    assert rates == pytest.approx([0.0975528, 0.05, 2.467e-5], rel=1e-3)


def test_steps_fall_to_a_tenth_at_each_milestone():
    schedule = dataclasses.replace(SCHEDULE, decay="steps", milestones=(0.6, 0.8))
    rates = [learning_rate(schedule, iteration, 100) for iteration in (59, 60, 79, 80)]
    assert rates == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_iterations_show_each_image_once_per_epoch():
    assert total_iterations(SCHEDULE, 205) == 256
    assert total_iterations(dataclasses.replace(SCHEDULE, epochs=1), 2) == 1


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_frozen_parameters_are_not_optimised(name, kind):
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad = False
    optimizer = build_optimizer(model, dataclasses.replace(SCHEDULE, optimizer=name))
    assert isinstance(optimizer, kind)
    assert [parameter.shape for parameter in optimizer.param_groups[0]["params"]] == [(2, 3)]


@pytest.mark.parametrize(
    ("total", "ends"), [(100, list(range(9, 100, 10))), (25, [2, 4, 7, 9, 12, 14, 17, 19, 22, 24])]
)
def test_an_epoch_ends_with_the_step_that_completes_it(total, ends):
    assert [step for step in range(total) if ends_epoch(SCHEDULE, step, total)] == ends
