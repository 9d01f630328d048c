"""The check of learning rates in a search: of the losses that the found one will have to beat."""

from collections.abc import Callable, Mapping, Sequence

from paploss.client.comparison import RateResult
from paploss.client.specs import RATE_FACTORS, SearchSpec
from paploss.controller.experiments.rate_trials import propose_checks, read_results
from paploss.controller.experiments.seeds import rate_check_seeds
from paploss.controller.store.database import Session
from paploss.controller.store.documents import TrialPlan
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials.proposals import trials_by_label
from paploss.jobs.losses import LossSpec
from paploss.jobs.spec import JobKind

Plan = Callable[[SearchSpec, JobKind], TrialPlan]


def read_rates(trials: Sequence[Trial], spec: SearchSpec) -> list[RateResult]:
    """What the check of one loss has measured. `trials`: the search's of the kind `rate_check`, of this loss."""
    return read_results(trials, rate_check_seeds(spec.seed))


def check_rates(
    session: Session, search: Experiment, spec: SearchSpec, losses: Mapping[str, LossSpec], plan: Plan
) -> bool:
    """Propose the next trainings of the losses' checks; False where every rate is known. No check may be open."""
    return propose_checks(
        session,
        search,
        [(label, loss, spec.default_rate(label)) for label, loss in losses.items()],
        trials_by_label(session, search.id, "rate_check"),
        factors=RATE_FACTORS,
        seeds=rate_check_seeds(spec.seed),
        plan=plan(spec, "rate_check"),
    )
