"""From a theta to the loss that it stands for in its search."""

from collections.abc import Sequence

import numpy as np

from paploss.client.specs import ExperimentSpec, SearchSpec
from paploss.controller.search.space import HeadParameters, Space, Vector
from paploss.controller.store.documents import LOSS
from paploss.jobs.documents import JsonObject
from paploss.jobs.losses import HeadLoss, LossSpec, ParameterizedAP
from paploss.jobs.presets import PRESETS
from paploss.jobs.profiles import PROFILES


def search_space(spec: SearchSpec) -> Space:
    """The space that a search moves in."""
    return Space(PROFILES[spec.profile].heads, spec.knots)


def starting_points(spec: SearchSpec) -> list[Vector]:
    """Known losses among a search's first trials: the profile's published set, where the space has room for it."""
    preset = PROFILES[spec.profile].preset
    if preset is None:
        return []
    heads = {
        head: HeadParameters(np.array(loss.control_points), loss.gradient_scale)
        for head, loss in PRESETS[preset].heads.items()
    }
    try:
        return [search_space(spec).encode(heads)]
    except ValueError:  # another number of knots
        return []


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
            )
            for head, parameters in search_space(spec).decode(theta).items()
        }
    )


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
