"""From an algorithm's settings to the algorithm."""

from typing import Any, assert_never

from paploss.client.algorithms import AlgorithmSettings, PaperSettings, PpoSettings, RandomSettings
from paploss.controller.search.algorithm import Algorithm
from paploss.controller.search.paper import Paper
from paploss.controller.search.ppo import Ppo
from paploss.controller.search.random_search import RandomSearch


def create(settings: AlgorithmSettings, rounds: int) -> Algorithm[Any]:
    """The algorithm for a search of `rounds` updates."""
    given = settings.model_dump(exclude={"name"})
    match settings:
        case PpoSettings():
            return Ppo(rounds=rounds, **given)
        case PaperSettings():
            return Paper(rounds=rounds)
        case RandomSettings():
            return RandomSearch(**given)
        case _:
            assert_never(settings)
