"""From rows of the database to the models of the API."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from paploss.client import models, notifications
from paploss.client.states import FINAL_EXPERIMENT_STATES, OPEN_TRIAL_STATES, TrialState
from paploss.controller.api.problems import ProblemError
from paploss.controller.experiments.jobs import trial_loss
from paploss.controller.store.access.keys import limit_project
from paploss.controller.store.database import Session
from paploss.controller.store.documents import METRICS, NOTICE, OUTCOME, RESULT
from paploss.controller.store.reading import lists, overview
from paploss.controller.store.tables import (
    AccessToken,
    ApiKey,
    Attempt,
    Delivery,
    Evaluation,
    Event,
    Experiment,
    LateResult,
    Round,
    Subscription,
    Trial,
    Worker,
)
from paploss.controller.store.trials.spending import read_spent_seconds
from paploss.jobs.documents import UnreadableError
from paploss.jobs.lease import GpuUse
from paploss.jobs.losses import LossSpec
from paploss.jobs.metrics import Metrics, name_requested
from paploss.jobs.spec import EvaluationEvent


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def moment_or_none(seconds: float | None) -> datetime | None:
    """As `moment`, None for None."""
    return None if seconds is None else moment(seconds)


def experiment_summaries(session: Session, experiments: Sequence[Experiment]) -> list[models.ExperimentSummary]:
    """Experiments for a list, with a fixed number of queries."""
    facts = _facts(session, experiments)
    return [models.ExperimentSummary(**_experiment(each, facts[each.id])) for each in experiments]


def experiment_summary(session: Session, experiment: Experiment) -> models.ExperimentSummary:
    """One experiment without its request."""
    return experiment_summaries(session, [experiment])[0]


def experiment_detail(session: Session, experiment: Experiment) -> models.ExperimentDetail:
    """One experiment with its request and its results by loss."""
    facts = _facts(session, [experiment])[experiment.id]
    return models.ExperimentDetail(
        **_experiment(experiment, facts),
        spec=experiment.spec,
        note=experiment.note,
        worker_hours=read_spent_seconds(session, experiment.id) / 3600,
        results=label_results(session, experiment.id),
        lengths=_lengths(session, experiment),
    )


def _lengths(session: Session, experiment: Experiment) -> list[models.TrialsOfLength]:
    if not experiment.spec.get("lengths"):
        return []
    rows = overview.count_by_length(session, experiment.id)
    return [models.TrialsOfLength(length=row.length, trials=row.trials, succeeded=row.succeeded) for row in rows]


def label_results(session: Session, experiment_id: str) -> list[models.LabelResult]:
    """Confirmations or trainings by label, the best mean first."""
    return [
        models.LabelResult(
            label=row.label,
            rewards=list(row.rewards),
            planned=row.planned,
            mean=statistics.fmean(row.rewards) if row.rewards else None,
            spread=statistics.stdev(row.rewards) if len(row.rewards) > 1 else None,
        )
        for row in overview.read_label_rewards(session, experiment_id)
    ]


def best(session: Session, search: Experiment) -> models.Best:
    """The confirmed best loss, or that of the best trial so far.

    Raises:
        ProblemError: 404, no trial has a reward yet.
        UnreadableError: another version of the program has stored it, and this one cannot read it.
    """
    if search.best is not None:
        outcome = OUTCOME.read(search.best)
        return models.Best(
            experiment_id=search.id,
            confirmed=True,
            metric=name_requested(search.spec),
            ap=outcome.mean,
            source=outcome.label,
            loss=outcome.loss,
            learning_rate_factor=outcome.learning_rate_factor,
            report=search.best,
        )
    trial = lists.best_trial(session, search.id)
    if trial is None or trial.reward is None:
        raise ProblemError(404, f"search {search.id} has no trial with a reward yet")
    return models.Best(
        experiment_id=search.id,
        confirmed=False,
        metric=name_requested(search.spec),
        ap=trial.reward,
        source=trial.id,
        loss=trial_loss(search, trial),
        learning_rate_factor=trial.learning_rate_factor,
        report=None,
    )


def round_summary(row: Round) -> models.RoundSummary:
    """One version of a search's algorithm."""
    return models.RoundSummary(
        number=row.number,
        centre=row.centre,
        spread=row.spread,
        proposed=row.proposed,
        screened_out=row.screened_out,
        mean_reward=row.mean_reward,
        best_reward=row.best_reward,
        rewards=row.rewards,
        created_at=moment(row.created_at),
        closed_at=moment_or_none(row.closed_at),
    )


def trial_summary(trial: Trial) -> models.TrialSummary:
    """One trial for a list."""
    return models.TrialSummary(**_trial(trial))


def trial_detail(session: Session, trial: Trial) -> models.TrialDetail:
    """One trial with its loss, learning curve and attempts."""
    experiment = lists.get_experiment(session, trial.experiment_id)
    return models.TrialDetail(
        **_trial(trial),
        note=trial.note,
        theta=trial.theta,
        loss=_if_readable(lambda: trial_loss(experiment, trial)),
        metrics=None if trial.metrics is None else METRICS.read(trial.metrics),
        progress_loss=trial.progress_loss,
        checkpoint=trial.checkpoint,
        evaluations=[evaluation_summary(row) for row in lists.list_evaluations(session, trial.id)],
        attempt_list=[attempt_summary(row) for row in lists.list_attempts(session, trial.id)],
        late_results=[late_result_summary(row) for row in lists.list_late_results(session, trial.id)],
    )


def evaluation_events(session: Session, trial_id: str) -> list[EvaluationEvent]:
    """A trial's learning curve."""
    return [
        EvaluationEvent(
            iteration=row.iteration, total_iterations=row.total_iterations, metrics=row.metrics, reward=row.reward
        )
        for row in map(evaluation_summary, lists.list_evaluations(session, trial_id))
    ]


def last_metrics(trial: Trial, evaluations: Sequence[EvaluationEvent]) -> Metrics | None:
    """What a trial measured last: its result's, or the newest of its learning curve; None before the first."""
    if trial.metrics is not None:
        return METRICS.read(trial.metrics)
    return evaluations[-1].metrics if evaluations else None


def log_line(event: Event) -> models.LogLine:
    """One line of the event log."""
    return models.LogLine(
        id=event.id,
        experiment_id=event.experiment_id,
        trial_id=event.trial_id,
        kind=event.kind,
        level=event.level,
        message=event.message,
        at=moment(event.at),
    )


def worker_summary(
    worker: Worker, trial: lists.RunningTrial | None, seen_at: float, live: bool
) -> models.WorkerSummary:
    """A worker with the trial that it runs; `seen_at`: seconds since 1970."""
    return models.WorkerSummary(
        name=worker.name,
        host=worker.host,
        device=worker.device,
        gpus=worker.gpus,
        versions=worker.versions,
        live=live,
        trial_id=None if trial is None else trial.id,
        experiment_id=None if trial is None else trial.experiment_id,
        iteration=None if trial is None else trial.iteration,
        total_iterations=None if trial is None else trial.total_iterations,
        gpu_use=[] if trial is None else [GpuUse.model_validate(use) for use in worker.gpu_use or ()],
        first_seen_at=moment(worker.first_seen_at),
        last_seen_at=moment(seen_at),
    )


def key_summary(key: ApiKey) -> models.KeySummary:
    """An API key, without the key."""
    return models.KeySummary(
        name=key.name,
        role=key.role,
        project=limit_project(key.role, key.project),
        created_at=moment(key.created_at),
        revoked_at=moment_or_none(key.revoked_at),
    )


def subscription_summary(
    subscription: Subscription, last_delivery: Delivery | None = None
) -> notifications.SubscriptionSummary:
    """A subscription, without what must stay secret."""
    target = subscription.target
    if subscription.channel != "mail":
        parts = urlsplit(target)
        target = f"{parts.scheme}://{parts.hostname}/…"
    return notifications.SubscriptionSummary(
        id=subscription.id,
        owner=subscription.owner,
        channel=subscription.channel,
        target=target,
        experiment_id=subscription.experiment_id,
        occasions=subscription.occasions,
        created_at=moment(subscription.created_at),
        paused_at=moment_or_none(subscription.paused_at),
        last_delivery=None if last_delivery is None else delivery_summary(last_delivery),
    )


def delivery_summary(delivery: Delivery) -> notifications.DeliverySummary:
    """A delivery, and what came of it so far."""
    notice = NOTICE.read(delivery.notice)
    return notifications.DeliverySummary(
        id=delivery.id,
        occasion=delivery.occasion,
        experiment_id=notice.experiment_id,
        message=notice.message,
        state=delivery.state,
        attempts=delivery.attempts,
        error=delivery.error,
        created_at=moment(delivery.created_at),
        due_at=moment(delivery.due_at) if delivery.state == "waiting" else None,
        ended_at=moment_or_none(delivery.ended_at),
    )


def token_summary(token: AccessToken, now: float) -> models.TokenSummary:
    """A personal access token, without the token."""
    return models.TokenSummary(
        id=token.id,
        name=token.name,
        owner=token.key_name,
        role=token.role,
        created_at=moment(token.created_at),
        expires_at=moment(token.expires_at),
        expired=token.expires_at <= now,
    )


def _if_readable(read: Callable[[], LossSpec]) -> LossSpec | None:
    """A loss; None where another version of the program has stored it, and this one cannot read it."""
    try:
        return read()
    except UnreadableError:
        return None


@dataclass(frozen=True)
class _Facts:
    """What is counted about an experiment."""

    counts: dict[TrialState, int]
    best_ap: float | None
    seconds_per_trial: float | None


def _facts(session: Session, experiments: Sequence[Experiment]) -> dict[str, _Facts]:
    """Counts by the experiments' ids, with a fixed number of queries."""
    ids = [each.id for each in experiments]
    counts = lists.count_trials(session, ids)
    unconfirmed = [each.id for each in experiments if each.best is None and each.kind == "search"]
    best = overview.best_rewards(session, unconfirmed)
    best |= {each.id: mean for each in experiments if (mean := _confirmed_mean(each)) is not None}
    best |= overview.best_label_means(session, [each.id for each in experiments if each.kind != "search"])
    paces = overview.seconds_per_trial(session, [each.id for each in experiments if each.state == "running"])
    return {each: _Facts(counts[each], best.get(each), paces.get(each)) for each in ids}


def _confirmed_mean(experiment: Experiment) -> float | None:
    mean = None if experiment.best is None else experiment.best.get("mean")
    return mean if isinstance(mean, float) else None


def _experiment(row: Experiment, facts: _Facts) -> dict[str, Any]:
    total = sum(facts.counts.values())
    final = total - sum(count for state, count in facts.counts.items() if state in OPEN_TRIAL_STATES)
    planned = total if row.state in FINAL_EXPERIMENT_STATES else max(total, row.planned or 0)
    pace = facts.seconds_per_trial
    same = (
        "id",
        "kind",
        "name",
        "owner",
        "project",
        "state",
        "stage",
        "reason",
        "profile",
        "gpus",
        "priority",
        "round",
        "rounds",
    )
    return {name: getattr(row, name) for name in same} | {
        "trials": facts.counts,
        "trials_planned": planned,
        "trials_final": final,
        "metric": name_requested(row.spec),
        "dataset": row.dataset or "–",
        "best_ap": facts.best_ap,
        "confirmed": row.best is not None,
        "seconds_left": None if pace is None else pace * (planned - final),
        "created_at": moment(row.created_at),
        "finished_at": moment_or_none(row.finished_at),
        "tags": row.tags or [],
        "archived": row.archived_at is not None,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    same = (
        "id",
        "experiment_id",
        "number",
        "kind",
        "label",
        "round",
        "seed",
        "learning_rate_factor",
        "length",
        "state",
        "reward",
        "diverged",
        "worker",
        "failed_attempts",
        "preemptions",
        "iteration",
        "total_iterations",
        "seconds",
        "error_kind",
        "error",
    )
    return {name: getattr(trial, name) for name in same} | {
        "continues": trial.derived_from,
        "attempts": trial.attempt,
        "created_at": moment(trial.created_at),
        "started_at": moment_or_none(trial.started_at),
        "finished_at": moment_or_none(trial.finished_at),
        "tags": trial.tags or [],
    }


def evaluation_summary(row: Evaluation) -> models.EvaluationSummary:
    """One point of a learning curve."""
    return models.EvaluationSummary(
        iteration=row.iteration,
        total_iterations=row.total_iterations,
        metrics=METRICS.read(row.metrics),
        reward=max(row.ap, 0.0),
    )


def late_result_summary(row: LateResult) -> models.LateResultSummary:
    """One result that did not count."""
    result = RESULT.read(row.result)
    return models.LateResultSummary(
        attempt=row.attempt, outcome=result.outcome, reward=result.reward, error=result.error, at=moment(row.at)
    )


def attempt_summary(row: Attempt) -> models.AttemptSummary:
    """One try to run a trial."""
    return models.AttemptSummary(
        number=row.number,
        worker=row.worker,
        host=row.host,
        device=row.device,
        environment=row.environment,
        warnings=row.warnings or [],
        resumed_iteration=row.resumed_iteration,
        claimed_at=moment(row.claimed_at),
        started_at=moment_or_none(row.started_at),
        ended_at=moment_or_none(row.ended_at),
        outcome=row.outcome,
        error_kind=row.error_kind,
        error=row.error,
        log_tail=row.log_tail,
    )
