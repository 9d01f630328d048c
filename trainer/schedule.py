"""What happens when in a training: a function of the iteration, there is no state to keep but the optimiser's."""

import math

from torch import nn, optim

from paploss.jobs.spec import JobSpec
from paploss.trainer.profiles.recipe import Schedule

EVALUATED_EPOCHS = 10
"""Between two evaluations of a final training."""


def build_optimizer(model: nn.Module, schedule: Schedule) -> optim.Optimizer:
    """The optimiser of the parameters that learn."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if schedule.optimizer == "adamw":
        return optim.AdamW(parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    return optim.SGD(
        parameters,
        lr=schedule.learning_rate,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        fused=parameters[0].is_cuda,
    )


def total_iterations(schedule: Schedule, image_count: int) -> int:
    """Steps that show each of `image_count` images `schedule.epochs` times, rounded, at least 1."""
    return max(1, round(schedule.epochs * image_count / schedule.batch_size))


def evaluation_iterations(spec: JobSpec, schedule: Schedule, total: int) -> frozenset[int]:
    """Steps of `total` after which AP is measured, beside the last one.

    A final training is measured every EVALUATED_EPOCHS, for its curve; others half way, which is also where searches
    compare them, and at their prune points.
    """
    fractions = [point.fraction for point in spec.prune]
    if spec.schedule == "final" and schedule.epochs > EVALUATED_EPOCHS:
        fractions += [epoch / schedule.epochs for epoch in range(EVALUATED_EPOCHS, schedule.epochs, EVALUATED_EPOCHS)]
    else:
        fractions.append(0.5)
    return frozenset(round(fraction * total) for fraction in fractions) - {0}


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
