"""From an algorithm's settings to the algorithm."""

from collections.abc import Sequence
from typing import Any, assert_never

from paploss.client.algorithms import (
    AlgorithmSettings,
    CmaSettings,
    GuidedSettings,
    PaperSettings,
    PpoSettings,
    RandomSettings,
)
from paploss.controller.search.algorithm import Algorithm, Sample
from paploss.controller.search.cma import Cma
from paploss.controller.search.guided import Guided
from paploss.controller.search.paper import Paper
from paploss.controller.search.ppo import Ppo
from paploss.controller.search.random_search import RandomSearch
from paploss.controller.search.space import Vector


def create(
    settings: AlgorithmSettings,
    rounds: int,
    *,
    starts: Sequence[Vector] = (),
    earlier: tuple[tuple[Sample[Any], ...], ...] = (),
) -> Algorithm[Any]:
    """The algorithm for a search of `rounds` updates.

    `starts`: thetas [D] to try among the first; `earlier`: finished trials of earlier searches. For algorithms
    that make use of them.
    """
    given = settings.model_dump(exclude={"name"})
    match settings:
        case GuidedSettings():
            points = tuple(tuple(theta.tolist()) for theta in starts)
            return Guided(rounds, **given, starts=points, earlier=earlier)
        case PpoSettings():
            return Ppo(rounds=rounds, **given)
        case CmaSettings():
            return Cma(**given)
        case PaperSettings():
            return Paper(rounds=rounds)
        case RandomSettings():
            return RandomSearch(**given)
        case _:
            assert_never(settings)
