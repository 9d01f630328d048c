"""The learning rate that suits a loss: before losses are judged, each is tried briefly at several factors on the rate.

One training at each factor does not tell: rates near each other differ by less than one training varies, and the best
of several noisy results may be a rate at which some seeds hardly learn. So a loss keeps its default factor (1, or the
one that it was found with) unless another is ahead of it with each of two seeds. The first seed tries every factor, the
second one the default and what was ahead of it; where nothing was, no further training is spent.
"""

import math
from collections.abc import Sequence

import numpy as np

from paploss.client.comparison import RateResult


def choose_rate(results: Sequence[RateResult], default: float) -> float:
    """The factor to train with; `default` where nothing was measured.

    Of several that are ahead of the default it is the one with the highest mean, in a tie the nearest to the default.
    Where the default has no result, the nearest factor that has stands in for it.
    """
    nearest, ahead = _find_ahead(results, default)
    if not ahead:
        return default if nearest is None else nearest
    return max(ahead, key=lambda factor: (_mean(results, factor), -_distance(factor, default)))


def next_checks(results: Sequence[RateResult], seeds: tuple[int, int], default: float) -> list[tuple[float, int]]:
    """Factors and seeds of the trainings that are still needed; none where the rate is known.

    Args:
        results: all trainings of one loss so far, also those without a reward; every factor with the first seed.
        seeds: of the check.
        default: the factor that the loss has unless another is ahead.
    """
    nearest, ahead = _find_ahead(results, default)
    if nearest is None or not ahead:
        return []
    tried = {(one.factor, one.seed) for one in results}
    return [(factor, seeds[1]) for factor in (nearest, *ahead) if (factor, seeds[1]) not in tried]


def first_reward(results: Sequence[RateResult], default: float) -> float | None:
    """The reward with the first seed at the factor that is chosen; None where nothing was measured."""
    chosen = choose_rate(results, default)
    return next((one.ap for one in results if one.factor == chosen and one.ap is not None), None)


def _find_ahead(results: Sequence[RateResult], default: float) -> tuple[float | None, list[float]]:
    """The factor nearest to the default that has a result, and those that are ahead of it with each seed.

    A training that ended without a reward is not ahead, and nothing is ahead of it.
    """
    rewards: dict[float, dict[int, float | None]] = {}
    for one in results:
        rewards.setdefault(one.factor, {})[one.seed] = one.ap
    measured = [factor for factor, by_seed in rewards.items() if any(ap is not None for ap in by_seed.values())]
    if not measured:
        return None, []
    nearest = min(measured, key=lambda factor: (_distance(factor, default), factor))

    def is_ahead(factor: float) -> bool:
        pairs = [(rewards[factor].get(seed), own) for seed, own in rewards[nearest].items()]
        return all(ap is not None and own is not None and ap > own for ap, own in pairs)

    return nearest, [factor for factor in measured if is_ahead(factor)]


def _distance(factor: float, default: float) -> float:
    return abs(math.log(factor / default))


def _mean(results: Sequence[RateResult], factor: float) -> float:
    return float(np.mean([one.ap for one in results if one.factor == factor and one.ap is not None]))
