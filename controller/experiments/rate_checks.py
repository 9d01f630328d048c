"""The learning rate that suits a loss: before losses are judged, each is tried briefly at several factors on the rate.

One training at each factor does not tell: rates near each other differ by less than one training varies, and the best
of several noisy results may be a rate at which some seeds hardly learn. So the profile's own rate stays unless another
factor is ahead of it with each of two seeds. The first seed tries every factor, the second one the profile's rate and
what was ahead of it; where nothing was, no further training is spent.
"""

import math
from collections.abc import Sequence

import numpy as np

from paploss.client.comparison import RateResult


def choose_rate(results: Sequence[RateResult]) -> float:
    """The factor to train with; 1 where nothing was measured.

    Of several that are ahead of the profile's rate it is the one with the highest mean, in a tie the one nearest to 1.
    Where factor 1 has no result, the nearest one that has stands in for it.
    """
    default, ahead = _find_ahead(results)
    if not ahead:
        return 1.0 if default is None else default
    return max(ahead, key=lambda factor: (_mean(results, factor), -abs(math.log(factor))))


def next_checks(results: Sequence[RateResult], seeds: Sequence[int]) -> list[tuple[float, int]]:
    """Factors and seeds of the trainings that are still needed; none where the rate is known.

    Args:
        results: all trainings of one loss so far, also those without a reward; every factor with the first seed.
        seeds: of the check, in their order.
    """
    default, ahead = _find_ahead(results)
    if default is None or not ahead:
        return []
    tried = {(one.factor, one.seed) for one in results}
    for seed in seeds[1:]:
        if missing := [(factor, seed) for factor in (default, *ahead) if (factor, seed) not in tried]:
            return missing
    return []


def first_reward(results: Sequence[RateResult]) -> float | None:
    """The reward with the first seed at the factor that is chosen; None where nothing was measured."""
    chosen = choose_rate(results)
    return next((one.ap for one in results if one.factor == chosen and one.ap is not None), None)


def _find_ahead(results: Sequence[RateResult]) -> tuple[float | None, list[float]]:
    """The factor nearest to 1 that has a result, and those that are ahead of it with each seed that both have."""
    rewards: dict[float, dict[int, float]] = {}
    for one in results:
        if one.ap is not None:
            rewards.setdefault(one.factor, {})[one.seed] = one.ap
    if not rewards:
        return None, []
    default = min(rewards, key=lambda factor: (abs(math.log(factor)), factor))
    own = rewards[default]
    shared = {factor: own.keys() & of_factor.keys() for factor, of_factor in rewards.items()}
    ahead = [
        factor for factor, seeds in shared.items() if seeds and all(rewards[factor][seed] > own[seed] for seed in seeds)
    ]
    return default, ahead


def _mean(results: Sequence[RateResult], factor: float) -> float:
    return float(np.mean([one.ap for one in results if one.factor == factor and one.ap is not None]))
