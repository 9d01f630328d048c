"""The reward of an evaluation, where what cannot be measured is the user's error."""

from paploss.jobs.metrics import Metrics, Reward, UndefinedMetricError, measure
from paploss.trainer.errors import UserError


def measure_reward(reward: Reward, metrics: Metrics) -> float:
    """The reward, in [0, 1].

    Raises:
        UserError: there is nothing to measure; it says what could be measured instead.
    """
    try:
        return measure(reward, metrics)
    except UndefinedMetricError as error:
        raise UserError(f"reward: {error}") from error
