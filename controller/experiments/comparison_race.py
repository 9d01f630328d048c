"""A comparison as a race: which seeds it may have, and which losses train with the next of them.

Every loss trains with the seeds that the request names. Where it allows more (`most_seeds`), those losses that are not
decided yet have further seeds, until the best loss is decided or no seed is left. What comes next follows from the rows
of the trainings alone, as in a search's race (`paploss.controller.search.race`).
"""

import itertools
from collections.abc import Collection, Sequence

from paploss.client.specs import ComparisonSpec, TrainingSpec
from paploss.controller.search.race import Rewards, Standing, judge, plan_looks, plan_next


def unused_seeds(seeds: Sequence[int]) -> tuple[int, int]:
    """Two seeds for the check of learning rates: none of the request's, with which the chosen rate is evaluated.

    The second one is far from those that a race may take next.
    """
    upwards, downwards = itertools.count(), itertools.count(2**31 - 1, -1)
    first, second = (next(seed for seed in candidates if seed not in seeds) for candidates in (upwards, downwards))
    return first, second


def race_seeds(spec: ComparisonSpec | TrainingSpec) -> tuple[int, ...]:
    """All seeds that it may have, in their order: the request's, then the smallest that nothing else has used."""
    taken = {*spec.seeds, *unused_seeds(spec.seeds)}
    others = (seed for seed in itertools.count() if seed not in taken)
    return (*spec.seeds, *itertools.islice(others, _most_seeds(spec) - len(spec.seeds)))


def judge_trainings(spec: ComparisonSpec | TrainingSpec, rewards: Rewards, used: int) -> Standing | None:
    """The race after the first `used` seeds; None where no loss has a reward."""
    return judge(rewards, race_seeds(spec)[:used], plan_looks(len(spec.seeds), _most_seeds(spec)))


def next_trainings(
    spec: ComparisonSpec | TrainingSpec, rewards: Rewards, proposed: Collection[tuple[str, int]]
) -> list[tuple[str, int]]:
    """Labels and seeds of the trainings to add when all that were proposed have ended; none when the race is over.

    `proposed`: label and seed of every training that there is.
    """
    return plan_next(rewards, race_seeds(spec), plan_looks(len(spec.seeds), _most_seeds(spec)), proposed)


def _most_seeds(spec: ComparisonSpec | TrainingSpec) -> int:
    named = spec.most_seeds if isinstance(spec, ComparisonSpec) else None
    return named or len(spec.seeds)
