"""The trials of a check of learning rates: what is needed next follows from those that there are."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

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

LossAtRate = tuple[str, LossSpec, float]
"""Label, loss and learning-rate factor."""
ByLabel = Mapping[str, Sequence[Trial]]
Plan = Callable[[SearchSpec, JobKind], TrialPlan]


def read_results(trials: Sequence[Trial], seeds: Sequence[int]) -> list[RateResult]:
    """What the check of one loss has measured, of its trials of the kind `rate_check`; a pilot has further seeds."""
    return [
        RateResult(factor=one.learning_rate_factor, ap=one.reward, seed=one.seed) for one in trials if one.seed in seeds
    ]


def propose_checks(
    session: Session,
    experiment: Experiment,
    losses: Sequence[LossAtRate],
    known: ByLabel,
    *,
    factors: Sequence[float],
    seeds: tuple[int, int],
    plan: TrialPlan,
) -> bool:
    """Propose the next trainings of the losses' checks; False where every rate is known.

    Args:
        session: of the caller, who holds the experiment's row lock, or has just created it.
        experiment: whose trials they are.
        losses: with the rates that they have by default.
        known: the experiment's trials of the kind `rate_check`, all ended.
        factors: to be tried, on the rates that the losses have by default.
        seeds: of the check.
        plan: of its trainings.
    """
    trials = [
        NewTrial(kind="rate_check", loss=loss, seed=seed, plan=plan, label=label, learning_rate_factor=factor)
        for label, loss, default in losses
        for factor, seed in (
            next_checks(read_results(known[label], seeds), seeds, default)
            if label in known
            else product([default * factor for factor in factors], seeds[:1])
        )
    ]
    add_trials(session, experiment, trials)
    session.flush()
    return bool(trials)


def read_rival_rates(trials: Sequence[Trial], spec: SearchSpec) -> list[RateResult]:
    """`read_results` in a search, of one of the losses that the found one will have to beat."""
    return read_results(trials, rate_check_seeds(spec.seed))


def check_rival_rates(
    session: Session, search: Experiment, spec: SearchSpec, losses: Mapping[str, LossSpec], plan: Plan
) -> bool:
    """`propose_checks` in a search, of losses that the found one will have to beat. No check may be open."""
    return propose_checks(
        session,
        search,
        [(label, loss, spec.default_rate(label)) for label, loss in losses.items()],
        trials_by_label(session, search.id, "rate_check"),
        factors=RATE_FACTORS,
        seeds=rate_check_seeds(spec.seed),
        plan=plan(spec, "rate_check"),
    )
