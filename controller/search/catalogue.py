"""The search algorithms by name."""

from paploss.controller.search.algorithm import Algorithm
from paploss.controller.search.ppo import Ppo
from paploss.controller.search.random_search import RandomSearch
from paploss.controller.search.released import Released

NAMES = (Ppo.name, Released.name, RandomSearch.name)


def create(name: str, rounds: int) -> Algorithm:
    """The algorithm of that name with its default settings, for a search of `rounds` updates.

    Raises ValueError where there is none.
    """
    match name:
        case Ppo.name:
            return Ppo(rounds=rounds)
        case Released.name:
            return Released(rounds=rounds)
        case RandomSearch.name:
            return RandomSearch(rounds=rounds)
        case _:
            raise ValueError(f"algorithm: expected one of {', '.join(NAMES)}, got {name!r}")
