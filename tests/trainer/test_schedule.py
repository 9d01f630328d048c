import dataclasses

import pytest
import torch

from paploss.jobs.losses import FocalL1
from paploss.jobs.spec import JobSpec, PrunePoint
from paploss.trainer.profiles.recipe import Schedule
from paploss.trainer.schedule import (
    build_optimizer,
    ends_epoch,
    evaluation_iterations,
    learning_rate,
    set_rate,
    stopping_iteration,
    total_iterations,
)

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


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_optimiser_takes_its_settings_from_the_schedule(name):
    schedule = dataclasses.replace(SCHEDULE, optimizer=name, momentum=0.8, weight_decay=0.05)
    (group,) = build_optimizer(torch.nn.Linear(3, 2), schedule).param_groups
    assert (group["lr"], group["weight_decay"], group.get("momentum", 0.8)) == (0.1, 0.05, 0.8)


@pytest.mark.parametrize(("length", "iteration"), [(1.0, 6), (0.5, 3), (0.7, 4), (0.01, 1)])
def test_a_length_is_a_share_of_the_steps_and_one_at_least(length, iteration):
    assert stopping_iteration(length, 6) == iteration


def test_slow_parts_learn_at_a_tenth_of_the_rate():
    model = torch.nn.ModuleDict({"backbone": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 1)})
    optimizer = build_optimizer(model, dataclasses.replace(SCHEDULE, slow_parts=("backbone",)))
    set_rate(optimizer, 0.02)
    rates = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    found = {name: rates[id(one)] for name, one in model.named_parameters()}
    slow, full = pytest.approx(0.002), 0.02
    assert found == {"backbone.weight": slow, "backbone.bias": slow, "head.weight": full, "head.bias": full}


@pytest.mark.parametrize(
    ("total", "ends"), [(100, list(range(9, 100, 10))), (25, [2, 4, 7, 9, 12, 14, 17, 19, 22, 24])]
)
def test_an_epoch_ends_with_the_step_that_completes_it(total, ends):
    assert [step for step in range(total) if ends_epoch(SCHEDULE, step, total)] == ends


@pytest.mark.parametrize(
    ("schedule", "epochs", "prune", "expected"),
    [
        ("proxy", 1, (), {50}),
        ("proxy", 40, (), {50}),
        ("proxy", 4, (0.34, 0.5), {34, 50}),
        ("final", 2, (), {50}),
        ("final", 100, (), {10, 20, 30, 40, 50, 60, 70, 80, 90}),
        ("final", 24, (0.9,), {42, 83, 90}),
    ],
)
def test_proxies_are_measured_half_way_and_finals_every_ten_epochs(schedule, epochs, prune, expected):
    points = [PrunePoint(fraction=fraction, min_ap=0.1) for fraction in prune]
    job = JobSpec(trial_id="t", profile="p", schedule=schedule, loss=FocalL1(), prune=points)
    assert evaluation_iterations(job, dataclasses.replace(SCHEDULE, epochs=epochs), 100) == expected


def test_nothing_is_measured_before_the_first_step():
    job = JobSpec(trial_id="t", profile="p", loss=FocalL1())
    assert evaluation_iterations(job, SCHEDULE, 1) == frozenset()
