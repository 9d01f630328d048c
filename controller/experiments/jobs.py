"""From a trial's row to the job that a worker runs. What it trains with was fixed when it was proposed."""

from typing import Final

from paploss.client.specs import ExperimentSpec
from paploss.controller.experiments.kinds import KINDS
from paploss.controller.experiments.losses import read_loss
from paploss.controller.search import pruning
from paploss.controller.store.database import Session
from paploss.controller.store.documents import LOSS, PLAN, SPEC, TrialPlan
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials.leases import fix_parameters
from paploss.controller.store.trials.neighbours import fix_prune_points, read_measurements
from paploss.controller.store.trials.steps import Grant
from paploss.jobs.losses import LossSpec
from paploss.jobs.spec import MOST_EVALUATIONS, JobSpec, PrunePoint

COMPARED_TRIALS: Final = 64
"""Number of trials before and after it that a trial is compared with: enough for a median, few enough to be quick."""


def build_job(session: Session, grant: Grant) -> JobSpec:
    """The job of a trial that has just been claimed; its first claim fixes its prune points.

    Raises:
        UnreadableError: this version of the program cannot read what the trial or its experiment has stored.
    """
    spec = SPEC.read(grant.spec)
    loss, plan = _parameters(session, grant, spec)
    points = [PrunePoint.model_validate(point) for point in grant.prune or ()]
    if plan.prune and grant.attempt == 1:
        points = _fix_prune_points(session, grant)
    return JobSpec(
        trial_id=grant.trial_id,
        kind=grant.kind,
        profile=spec.profile,
        schedule=plan.schedule,
        overrides=plan.overrides,
        learning_rate_factor=grant.learning_rate_factor,
        dataset=spec.dataset,
        evaluate_split=plan.evaluate_split,
        reward=spec.reward,
        loss=loss,
        seed=grant.seed,
        length=grant.length,
        continues=grant.derived_from,
        weights=spec.weights,
        prune=tuple(points),
        gpus=spec.trial_gpus,
        gather_scores=spec.gather_scores,
        timeout_seconds=plan.timeout_seconds,
        synthetic=spec.synthetic,
    )


def trial_loss(experiment: Experiment, trial: Trial) -> LossSpec:
    """The loss that a trial trains with.

    Raises:
        UnreadableError: this version of the program cannot read it.
    """
    return LOSS.read(trial.loss) if trial.loss else read_loss(SPEC.read(experiment.spec), None, trial.theta)


def _parameters(session: Session, grant: Grant, spec: ExperimentSpec) -> tuple[LossSpec, TrialPlan]:
    loss = read_loss(spec, grant.loss, grant.theta)
    if grant.plan is not None:
        return loss, PLAN.read(grant.plan)
    # Proposed by version 0.1.0, which left the plan to what a claim would make of the request: fixed now, for good.
    plan = KINDS[spec.kind].plan(spec, grant.kind)
    fix_parameters(session, grant.trial_id, loss, plan)
    return loss, plan


def _fix_prune_points(session: Session, grant: Grant) -> list[PrunePoint]:
    by_fraction: dict[float, list[float]] = {}
    for measured in read_measurements(session, grant.experiment_id, grant.number, COMPARED_TRIALS):
        by_fraction.setdefault(measured.iteration / measured.total_iterations, []).append(max(measured.reward, 0.0))
    thresholds = {
        fraction: pruning.threshold(rewards) for fraction, rewards in sorted(by_fraction.items()) if 0 < fraction < 1
    }
    points = [PrunePoint(fraction=fraction, min_ap=min_ap) for fraction, min_ap in thresholds.items() if min_ap]
    points = points[:MOST_EVALUATIONS]  # what a job may have, whatever others have measured
    if points:
        fix_prune_points(session, grant.trial_id, [point.model_dump(mode="json") for point in points])
    return points
