"""What a pilot has found, and the sentence that tells it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from paploss.client.comparison import RateResult
from paploss.client.estimates import count_raced
from paploss.client.loss_choice import IDENTITY, PUBLISHED
from paploss.client.numbers import difference, percent
from paploss.client.specs import RATE_FACTORS, SearchSpec
from paploss.controller.experiments.comparison import paired_difference
from paploss.controller.experiments.rate_checks import choose_rate, first_reward
from paploss.controller.search.pilot import LEAST_REWARD, Outlook, judge
from paploss.controller.search.race import plan_looks
from paploss.jobs.metrics import name_reward
from paploss.jobs.wording import counted

_NAMES: Final = {IDENTITY: "the identity", PUBLISHED: "the published set"}
_DOUBT: Final = 2.0
"""Standard errors of a lead over the default learning rate, from which on it is no noise."""
_ENDS: Final = {min(RATE_FACTORS): "smallest", max(RATE_FACTORS): "largest"}


@dataclass(frozen=True)
class Findings:
    """The results of a pilot's trainings."""

    start: str
    """Label of the loss where the search starts."""
    trainings: int
    rates: Mapping[str, Sequence[RateResult]]
    """By label: each loss at several learning rates, as far as its check went."""
    default_rates: Mapping[str, float]
    """By label: the factor that the loss keeps unless another is ahead."""
    repeated: Mapping[str, Mapping[int, float]]
    """Some of the losses with further seeds, at their best rates: reward by label, then by seed."""
    best: Mapping[str, float] = field(init=False)
    """Reward of each loss at its best learning rate, all with one seed."""

    def __post_init__(self) -> None:
        """Find the best results."""
        known = {label: first_reward(results, self.default_rates[label]) for label, results in self.rates.items()}
        object.__setattr__(self, "best", {label: reward for label, reward in known.items() if reward is not None})

    def choose_rate(self, label: str) -> float:
        """The factor on the learning rate that suits a loss."""
        return choose_rate(self.rates[label], self.default_rates[label])


def describe(spec: SearchSpec, found: Findings) -> str:
    """What the search may gain, what it could detect, and whether to go on."""
    looks = plan_looks(spec.confirm.seeds, spec.most_seeds)
    trainings = spec.rounds * spec.trials_per_round
    best = [reward for label, reward in found.best.items() if label != IDENTITY]
    outlook = judge(best, found.repeated, trainings, count_raced(spec), looks)
    metric = name_reward(spec.reward)
    obstacles = _find_obstacles(found, outlook)
    parts = (
        _describe_start(found, metric),
        _describe_lead(found),
        _describe_outlook(outlook, trainings, looks[-1], metric),
    )
    ending = f"Look first: {'; and '.join(obstacles)}." if obstacles else "Worth going on."
    return f"Pilot of {found.trainings} trainings: {'; '.join(filter(None, parts))}. {ending}"


def _describe_start(found: Findings, metric: str) -> str:
    name = _NAMES[found.start]
    if found.start not in found.best:
        return f"{name} has no result"
    factor = found.choose_rate(found.start)
    reached = f"{name} reaches {metric} {percent(found.best[found.start])}"
    return f"{reached} and trains at {factor:g} times the profile's learning rate"


def _describe_lead(found: Findings) -> str:
    """The best of the other losses, over the further seeds."""
    start = found.repeated.get(found.start, {})
    leads = {
        label: paired_difference(rewards, start) for label, rewards in found.repeated.items() if label != found.start
    }
    measured = {label: lead for label, lead in leads.items() if lead is not None}
    if not measured:
        return ""
    label, lead = max(measured.items(), key=lambda each: each[1].mean)
    return f"{label} differs from it by {difference(lead.mean, lead.interval)} over {counted(lead.seeds, 'seed')}"


def _describe_outlook(outlook: Outlook, trainings: int, seeds: int, metric: str) -> str:
    if outlook.noise is None:
        return "the noise of a training is not known"
    noise = f"one training varies by ± {percent(outlook.noise)} (standard deviation)"
    detectable = "nothing" if outlook.detectable is None else percent(outlook.detectable)
    race = f"its race of up to {counted(seeds, 'seed')} can detect {detectable}"
    if outlook.gain is None:
        return f"{noise}; {race}"
    gain = f"{percent(outlook.gain)} {metric} over the best of the losses tried"
    return f"{noise}; a search of {trainings} trainings may gain about {gain}, and {race}"


def _find_obstacles(found: Findings, outlook: Outlook) -> list[str]:
    """What the user had better change first; empty where there is nothing."""
    if max(found.best.values()) < LEAST_REWARD:
        return ["too little is learned for losses to be ranked; make the proxies longer (overrides.epochs)"]
    return list(filter(None, (_doubt_rate(found, outlook.noise), _doubt_gain(outlook))))


def _doubt_rate(found: Findings, noise: float | None) -> str:
    """Where the start is better at an end of the rates that were tried, by more than noise explains."""
    default, factor = found.default_rates[found.start], found.choose_rate(found.start)
    if factor / default not in _ENDS or noise is None:
        return ""
    usual, chosen = (
        {one.seed: one.ap for one in found.rates[found.start] if one.factor == each and one.ap is not None}
        for each in (default, factor)
    )
    lead = paired_difference(chosen, usual)  # None where the default rate has no result: it may be far off
    if lead is not None and lead.mean <= _DOUBT * noise * math.sqrt(2 / lead.seeds):
        return ""
    end = f"the {_ENDS[factor / default]} that was tried"
    return f"the best learning rate of {_NAMES[found.start]} is {end}; set overrides.learning_rate near it"


def _doubt_gain(outlook: Outlook) -> str:
    if outlook.is_promising:
        return ""
    if outlook.noise is None:
        return (
            "the noise could not be measured, because no two losses have results with two seeds in common; see the "
            "trials' errors"
        )
    if outlook.gain is None:
        return (
            "what it may gain could not be measured, which takes two losses beside the identity; name more in "
            "confirm.rivals"
        )
    return (
        "what it may gain is less than it can detect; longer proxies or more images make less noise, and "
        "confirm.most_seeds allows a longer race"
    )
