"""Trials of a search with `lengths` that continue the best shorter ones: how many are due, and which.

Both follow from the rows alone, and a trial is promoted at most once (a unique index), so whoever leads after a crash
goes on where the last one stopped.
"""

from collections.abc import Mapping
from itertools import pairwise

from paploss.client.specs import SearchSpec
from paploss.controller.experiments.losses import read_loss
from paploss.controller.search.halving import Rung, count_due
from paploss.controller.store.database import Session
from paploss.controller.store.documents import TrialPlan
from paploss.controller.store.rounds import read_best_of_length, read_rungs
from paploss.controller.store.tables import Experiment, Round
from paploss.controller.store.trials.proposals import NewTrial


def find_rungs(session: Session, search: Experiment, spec: SearchSpec) -> Mapping[float, Rung]:
    """The proxies of a search by their length; empty where all have the whole one."""
    return {} if spec.lengths is None else read_rungs(session, search.id)


def find_due(spec: SearchSpec, rungs: Mapping[float, Rung]) -> Mapping[float, int]:
    """How many trials of each length are to be promoted now."""
    return {} if spec.lengths is None else count_due(rungs, spec.lengths.fractions, spec.lengths.keep)


def first_length(spec: SearchSpec) -> float:
    """Of a trial that continues no other."""
    return 1.0 if spec.lengths is None else spec.lengths.fractions[0]


def make_promotions(
    session: Session, search: Experiment, spec: SearchSpec, plan: TrialPlan, *, version: Round, count: int
) -> list[NewTrial]:
    """At most `count` of the trials that are due: each is the training of a shorter one, from where that has stopped.

    The caller holds the search's row lock.
    """
    fractions = () if spec.lengths is None else spec.lengths.fractions
    longer = dict(pairwise(fractions))
    trials: list[NewTrial] = []
    for length, due in find_due(spec, find_rungs(session, search, spec)).items():
        for shorter in read_best_of_length(session, search.id, length, min(due, count - len(trials))):
            trials.append(
                NewTrial(
                    kind="proxy",
                    loss=read_loss(spec, shorter.loss, shorter.theta),
                    seed=shorter.seed,
                    learning_rate_factor=shorter.learning_rate_factor,
                    plan=plan,
                    theta=shorter.theta,
                    round=version.number,
                    index=version.proposed + len(trials),
                    length=longer[length],
                    derived_from=shorter.id,
                )
            )
    return trials
