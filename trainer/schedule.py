"""Optimiser and learning rate of a training. The rate is a function of the iteration: there is no state to keep."""

import math

from torch import nn, optim

from trainer.profiles.recipe import Schedule


def build_optimizer(model: nn.Module, schedule: Schedule) -> optim.Optimizer:
    """The optimiser of the parameters that learn."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if schedule.optimizer == "adamw":
        return optim.AdamW(parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    return optim.SGD(
        parameters, lr=schedule.learning_rate, momentum=schedule.momentum, weight_decay=schedule.weight_decay
    )


def total_iterations(schedule: Schedule, image_count: int) -> int:
    """Steps that show each of `image_count` images `schedule.epochs` times, rounded, at least 1."""
    return max(1, round(schedule.epochs * image_count / schedule.batch_size))


def ends_epoch(schedule: Schedule, iteration: int, total: int) -> bool:
    """Whether an epoch is over after step `iteration` (counted from 0) of `total`."""
    return (iteration + 1) * schedule.epochs // total > iteration * schedule.epochs // total


def learning_rate(schedule: Schedule, iteration: int, total: int) -> float:
    """Rate of step `iteration` (counted from 0) of `total`."""
    rate = schedule.learning_rate
    if schedule.decay == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * iteration / total))
    elif schedule.decay == "steps":
        rate *= 0.1 ** sum(iteration >= milestone * total for milestone in schedule.milestones)
    if iteration < schedule.warmup_iterations:
        progress = iteration / schedule.warmup_iterations
        rate *= schedule.warmup_factor + (1 - schedule.warmup_factor) * progress
    return rate
