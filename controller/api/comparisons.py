"""From the trials of a comparison, or of trainings, to the table of losses."""

from collections.abc import Sequence

from paploss.client.comparison import Comparison, RateResult
from paploss.client.specs import ComparisonSpec, SearchSpec
from paploss.client.states import OPEN_TRIAL_STATES
from paploss.controller.experiments.comparison import Measured, compare
from paploss.controller.experiments.comparison_race import judge_trainings, race_seeds
from paploss.controller.experiments.verdict import deliver
from paploss.controller.store.database import Session
from paploss.controller.store.documents import LOSS, SPEC
from paploss.controller.store.errors import NotFoundError
from paploss.controller.store.reading import comparisons as store
from paploss.controller.store.reading import lists
from paploss.jobs.losses import LossSpec
from paploss.jobs.metrics import name_reward


def read_comparison(session: Session, experiment_id: str) -> Comparison:
    """The table of an experiment's losses, as far as they are measured.

    Raises:
        NotFoundError: there is no such experiment, or it is a search.
        UnreadableError: another version of the program has stored it, and this one cannot read it.
    """
    experiment = lists.get_experiment(session, experiment_id)
    if experiment.kind == "search":
        raise NotFoundError(f"experiment {experiment_id} is a search and compares no losses")
    spec = SPEC.read(experiment.spec)
    assert not isinstance(spec, SearchSpec)  # noqa: S101 - its kind was looked at above
    trials = store.read_compared_trials(session, experiment_id)
    losses = {label: LOSS.read(loss) for label, loss in store.read_losses(session, experiment_id).items()}
    labels = [choice.label for choice in spec.losses]
    reference = spec.reference_label if isinstance(spec, ComparisonSpec) else labels[0]
    measured = [_measure(label, losses[label], trials[label]) for label in labels]
    seeds = race_seeds(spec)[: max(len(spec.seeds), *(_count_seeds(trials[label]) for label in labels))]
    verdict = None
    if experiment.state == "succeeded":
        standing = judge_trainings(spec, {one.label: one.rewards for one in measured}, len(seeds))
        verdict = None if standing is None else deliver(standing, len(seeds), name_reward(spec.reward))
    return Comparison(
        profile=spec.profile,
        dataset=spec.dataset.name,
        split=spec.evaluate_split,
        schedule=spec.schedule,
        seeds=seeds,
        reference=reference,
        metric=name_reward(spec.reward),
        rows=compare(measured, reference, spec.profile, name_reward(spec.reward)),
        verdict=verdict,
        environments=tuple(store.read_environments(session, experiment_id)),
    )


def _count_seeds(trials: Sequence[store.ComparedTrial]) -> int:
    return sum(trial.kind != "rate_check" for trial in trials)


def _measure(label: str, loss: LossSpec, trials: Sequence[store.ComparedTrial]) -> Measured:
    checks = [trial for trial in trials if trial.kind == "rate_check"]
    trainings = [trial for trial in trials if trial.kind != "rate_check"]
    return Measured(
        label=label,
        loss=loss,
        rewards={trial.seed: trial.reward for trial in trainings if trial.reward is not None},
        failed=[trial.seed for trial in trainings if trial.reward is None and trial.state not in OPEN_TRIAL_STATES],
        diverged=[trial.seed for trial in trainings if trial.diverged],
        learning_rate_factor=trainings[0].learning_rate_factor if trainings else None,
        rate_check=[
            RateResult(factor=trial.learning_rate_factor, ap=trial.reward, seed=trial.seed) for trial in checks
        ],
        is_checked_briefly=_longest(checks) < _longest(trainings),
    )


def _longest(trials: Sequence[store.ComparedTrial]) -> int:
    return max((trial.total_iterations or 0 for trial in trials), default=0)
