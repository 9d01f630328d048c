"""From a theta to the loss that it stands for in its search."""

from collections.abc import Sequence

import numpy as np

from paploss.client.specs import ExperimentSpec, SearchSpec
from paploss.controller.search.space import HeadParameters, Space, Vector
from paploss.controller.store.documents import LOSS
from paploss.jobs.documents import JsonObject
from paploss.jobs.losses import HeadLoss, Loss, LossSpec, ParameterizedAP
from paploss.jobs.presets import as_parameterized
from paploss.jobs.profiles import PROFILES


def search_space(spec: SearchSpec) -> Space:
    """The space that a search moves in."""
    return Space(PROFILES[spec.profile].heads, spec.knots, spec.family, spec.searched_rate)


def decode_loss(spec: SearchSpec, theta: Sequence[float]) -> LossSpec:
    """The loss that a theta [D] in [0, 1] stands for in this search.

    Raises:
        ValueError: names the dimension that is outside.
    """
    return ParameterizedAP(
        heads={
            head: HeadLoss(
                control_points=parameters.control_points.tolist(),
                gradient_scale=parameters.gradient_scale,
                quality=spec.quality,
                l1_weight=parameters.l1_weight,
                giou_weight=parameters.giou_weight,
                error_driven=parameters.error_driven,
            )
            for head, parameters in search_space(spec).decode(theta).items()
        }
    )


def decode_rate(spec: SearchSpec, theta: Sequence[float]) -> float:
    """The factor on the learning rate that a theta stands for in this search; errors as of `decode_loss`."""
    return search_space(spec).decode_rate(theta)


def encode_loss(spec: SearchSpec, loss: Loss, rate: float = 1.0) -> Vector:
    """The theta [D] of a loss, trained with a factor on the learning rate, in this search: of a preset or of a rival.

    Raises:
        ValueError: the loss is no point of the search's space; says why.
    """
    point = as_parameterized(loss, PROFILES[spec.profile].heads, spec.knots)
    for head, parameters in point.heads.items():
        if not parameters.error_driven and parameters.quality != spec.quality:
            raise ValueError(f"{head}.quality: expected {spec.quality}, which the search has, got {parameters.quality}")
    heads = {
        head: HeadParameters(
            np.asarray(parameters.control_points),
            parameters.gradient_scale,
            parameters.l1_weight,
            parameters.giou_weight,
            parameters.error_driven,
        )
        for head, parameters in point.heads.items()
    }
    return search_space(spec).encode(heads, rate)


def forms(spec: SearchSpec, loss: Loss) -> tuple[Loss, ...]:
    """A loss, and as a trial of this search has it, where it is a point of the space.

    A trial's may differ from the loss that it was encoded from: by the last bit of a knot, or by its name.
    """
    try:
        return loss, decode_loss(spec, encode_loss(spec, loss).tolist())
    except ValueError:
        return (loss,)


def read_loss(spec: ExperimentSpec, stored: JsonObject | None, theta: Sequence[float] | None) -> LossSpec:
    """The loss that a trial trains with. `stored`: as its row has it; version 0.1.0 left it to theta.

    Raises:
        UnreadableError: this version of the program cannot read it.
        ValueError: there is neither.
    """
    if stored is not None:
        return LOSS.read(stored)
    if not isinstance(spec, SearchSpec) or theta is None:
        raise ValueError("a trial has neither a loss nor a theta")
    return decode_loss(spec, theta)
