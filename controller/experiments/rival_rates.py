"""The check of learning rates in a search: of the losses that the found one will have to beat."""

import itertools
from collections.abc import Callable, Mapping, Sequence

from paploss.client.comparison import RateResult
from paploss.client.specs import RATE_FACTORS, SearchSpec
from paploss.controller.experiments.rate_checks import next_checks
from paploss.controller.experiments.seeds import rate_check_seeds
from paploss.controller.store.database import Session
from paploss.controller.store.documents import TrialPlan
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials.proposals import NewTrial, add_trials, trials_by_label
from paploss.jobs.losses import LossSpec
from paploss.jobs.spec import JobKind

Plan = Callable[[SearchSpec, JobKind], TrialPlan]


def read_results(trials: Sequence[Trial], spec: SearchSpec) -> list[RateResult]:
    """What the check of one loss has measured. `trials`: the search's of the kind `rate_check`, of this loss."""
    seeds = rate_check_seeds(spec.seed)
    return [
        RateResult(factor=one.learning_rate_factor, ap=one.reward, seed=one.seed) for one in trials if one.seed in seeds
    ]


def propose_checks(
    session: Session, search: Experiment, spec: SearchSpec, losses: Mapping[str, LossSpec], plan: Plan
) -> bool:
    """Propose the next trainings of the losses' checks; False where every rate is known. No check may be open."""
    by_label, seeds = trials_by_label(session, search.id, "rate_check"), rate_check_seeds(spec.seed)
    check = plan(spec, "rate_check")
    first = list(itertools.product(RATE_FACTORS, seeds[:1]))
    trials = [
        NewTrial(kind="rate_check", loss=loss, seed=seed, plan=check, label=label, learning_rate_factor=factor)
        for label, loss in losses.items()
        for factor, seed in (next_checks(read_results(by_label[label], spec), seeds) if label in by_label else first)
    ]
    add_trials(session, search, trials)
    return bool(trials)
