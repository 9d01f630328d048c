"""What happens when in a training: a function of the iteration, there is no state to keep but the optimiser's."""

import math

from torch import nn, optim

from paploss.jobs.spec import JobSpec
from paploss.trainer.profiles.recipe import SLOW_RATE, Schedule

RATE_FACTOR = "rate_factor"
"""In a group of parameters: its rate, in parts of the schedule's."""

EVALUATED_EPOCHS = 10
"""Between two evaluations of a final training."""


def build_optimizer(model: nn.Module, schedule: Schedule) -> optim.Optimizer:
    """The optimiser of the parameters that learn, in a group for each rate."""
    learning = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    by_factor: dict[float, list[nn.Parameter]] = {}
    for name, parameter in learning:
        factor = SLOW_RATE if any(part in name for part in schedule.slow_parts) else 1.0
        by_factor.setdefault(factor, []).append(parameter)
    groups = [{"params": parameters, RATE_FACTOR: factor} for factor, parameters in by_factor.items()]
    if schedule.optimizer == "adamw":
        return optim.AdamW(groups, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    return optim.SGD(
        groups,
        lr=schedule.learning_rate,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        fused=learning[0][1].is_cuda,
    )


def set_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Give each group of `build_optimizer` its part of the schedule's rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)  # a checkpoint of before has one group, without a factor


def total_iterations(schedule: Schedule, image_count: int) -> int:
    """Steps that show each of `image_count` images `schedule.epochs` times, rounded, at least 1."""
    return max(1, round(schedule.epochs * image_count / schedule.batch_size))


def stopping_iteration(length: float, total: int) -> int:
    """The step of `total` after which a training of that length, a share in (0, 1], stops; at least 1."""
    return max(1, round(length * total))


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
