"""From rows of the database to what the API answers with."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from paploss.client import models
from paploss.client.specs import TrainingSpec
from paploss.client.states import FINAL_SEARCH_STATES, OPEN_TRIAL_STATES, TrialState
from paploss.controller.api.problems import ProblemError
from paploss.controller.loop.confirmation import Report
from paploss.controller.loop.jobs import decode_loss, parse_search, trial_loss
from paploss.controller.store import overview, queries
from paploss.controller.store.models import ApiKey, Attempt, Evaluation, Event, LateResult, Round, Search, Trial, Worker
from paploss.jobs.lease import GpuUse
from paploss.jobs.spec import EvaluationEvent, JobResult, Metrics


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def moment_or_none(seconds: float | None) -> datetime | None:
    """As `moment`, where there may be none."""
    return None if seconds is None else moment(seconds)


def run(session: Session, search: Search) -> models.Run:
    """What a search and a training request have in common."""
    return models.Run.model_validate(_run(search, _facts(session, [search])[search.id]))


def search_summaries(session: Session, searches: Sequence[Search]) -> list[models.SearchSummary]:
    """Searches for a list, with the same few queries for any number of them."""
    facts = _facts(session, searches)
    return [models.SearchSummary.model_validate(_search(search, facts[search.id])) for search in searches]


def search_detail(session: Session, search: Search) -> models.SearchDetail:
    """One search with its spec."""
    return search_details(session, [search])[0]


def search_details(session: Session, searches: Sequence[Search]) -> list[models.SearchDetail]:
    """Searches with their specs."""
    facts = _facts(session, searches)
    return [
        models.SearchDetail.model_validate(_search(search, facts[search.id]) | {"spec": search.spec})
        for search in searches
    ]


def training_summaries(session: Session, trainings: Sequence[Search]) -> list[models.TrainingSummary]:
    """Training requests for a list, with the same few queries for any number of them."""
    facts = _facts(session, trainings)
    return [
        models.TrainingSummary.model_validate(_run(row, facts[row.id]) | {"kind": row.spec["kind"]})
        for row in trainings
    ]


def training_detail(session: Session, training: Search) -> models.TrainingDetail:
    """One training request with its spec and its results by loss."""
    facts = _facts(session, [training])[training.id]
    extra = {
        "kind": training.spec["kind"],
        "spec": training.spec,
        "results": label_results(session, training.id),
    }
    return models.TrainingDetail.model_validate(_run(training, facts) | extra)


def label_results(session: Session, search_id: str) -> list[models.LabelResult]:
    """Confirmations or trainings by label, the best mean first."""
    return [
        models.LabelResult(
            label=row.label,
            rewards=list(row.rewards),
            planned=row.planned,
            mean=statistics.fmean(row.rewards) if row.rewards else None,
            spread=statistics.stdev(row.rewards) if len(row.rewards) > 1 else None,
        )
        for row in overview.read_label_rewards(session, search_id)
    ]


def best(session: Session, search: Search) -> models.Best:
    """The confirmed best loss, or that of the best trial so far.

    Raises:
        ProblemError: 404, no trial has a reward yet.
    """
    if search.best is not None:
        report = Report.model_validate(search.best)
        return models.Best(
            search_id=search.id,
            confirmed=True,
            ap=report.mean,
            source=report.label,
            loss=report.loss,
            report=search.best,
        )
    trial = queries.best_trial(session, search.id)
    if trial is None or trial.reward is None or trial.theta is None:
        raise ProblemError(404, f"search {search.id} has no trial with a reward yet")
    loss = decode_loss(parse_search(search), trial.theta)
    return models.Best(search_id=search.id, confirmed=False, ap=trial.reward, source=trial.id, loss=loss, report=None)


def round_summary(row: Round) -> models.RoundSummary:
    """One policy version."""
    return models.RoundSummary(
        number=row.number,
        mu=row.mu,
        sigma=row.sigma,
        proposed=row.proposed,
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
    search = queries.get_search(session, trial.search_id)
    return models.TrialDetail(
        **_trial(trial),
        theta=trial.theta,
        loss=trial_loss(search, trial),
        metrics=None if trial.metrics is None else Metrics.model_validate(trial.metrics),
        progress_loss=trial.progress_loss,
        checkpoint=trial.checkpoint,
        evaluations=[_evaluation(row) for row in queries.list_evaluations(session, trial.id)],
        attempt_list=[_attempt(row) for row in queries.list_attempts(session, trial.id)],
        late_results=[_late_result(row) for row in queries.list_late_results(session, trial.id)],
    )


def evaluation_events(session: Session, trial_id: str) -> list[EvaluationEvent]:
    """A trial's learning curve."""
    return [
        EvaluationEvent(iteration=row.iteration, total_iterations=row.total_iterations, metrics=row.metrics)
        for row in map(_evaluation, queries.list_evaluations(session, trial_id))
    ]


def last_metrics(trial: Trial, evaluations: Sequence[EvaluationEvent]) -> Metrics | None:
    """What a trial measured last: its result's, or the newest of its learning curve; none before the first."""
    if trial.metrics is not None:
        return Metrics.model_validate(trial.metrics)
    return evaluations[-1].metrics if evaluations else None


def log_line(event: Event) -> models.LogLine:
    """One line of the event log."""
    return models.LogLine(
        id=event.id,
        search_id=event.search_id,
        trial_id=event.trial_id,
        kind=event.kind,
        level=event.level,
        message=event.message,
        at=moment(event.at),
    )


def worker_summary(
    worker: Worker, trial: queries.RunningTrial | None, seen_at: float, live: bool
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
        search_id=None if trial is None else trial.search_id,
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
        created_at=moment(key.created_at),
        revoked_at=moment_or_none(key.revoked_at),
    )


@dataclass(frozen=True)
class _Facts:
    """What is counted about a search."""

    counts: dict[TrialState, int]
    best_ap: float | None
    seconds_per_trial: float | None


def _facts(session: Session, searches: Sequence[Search]) -> dict[str, _Facts]:
    """By the searches' ids, with a fixed number of queries."""
    ids = [search.id for search in searches]
    counts = queries.count_trials(session, ids)
    best = {search.id: float(search.best["mean"]) for search in searches if search.best is not None}
    unconfirmed = [search.id for search in searches if search.best is None and search.kind == "search"]
    best |= overview.best_rewards(session, unconfirmed)
    best |= overview.best_label_means(session, [row.id for row in searches if row.kind == "training"])
    paces = overview.seconds_per_trial(session, [row.id for row in searches if row.state == "running"])
    return {row: _Facts(counts[row], best.get(row), paces.get(row)) for row in ids}


def _run(search: Search, facts: _Facts) -> dict[str, Any]:
    total = sum(facts.counts.values())
    final = total - sum(count for state, count in facts.counts.items() if state in OPEN_TRIAL_STATES)
    planned = total if search.state in FINAL_SEARCH_STATES else max(total, _planned(search))
    pace = facts.seconds_per_trial
    return {
        "id": search.id,
        "name": search.name,
        "owner": search.owner,
        "state": search.state,
        "stage": search.stage,
        "reason": search.reason,
        "profile": search.profile,
        "gpus": search.gpus,
        "priority": search.priority,
        "trials": facts.counts,
        "trials_planned": planned,
        "trials_final": final,
        "best_ap": facts.best_ap,
        "seconds_left": None if pace is None else pace * (planned - final),
        "created_at": moment(search.created_at),
        "finished_at": moment_or_none(search.finished_at),
    }


def _search(search: Search, facts: _Facts) -> dict[str, Any]:
    extra = {"round": search.round, "rounds": search.spec["rounds"], "confirmed": search.best is not None}
    return _run(search, facts) | extra


def _planned(search: Search) -> int:
    if search.kind == "training":
        spec = TrainingSpec.model_validate(search.spec)
        return len(spec.losses) * (len(spec.seeds) + len(spec.learning_rates))
    asked = parse_search(search)
    confirmed = asked.confirm.candidates + 1 + asked.confirm.published  # and the identity
    return asked.rounds * asked.trials_per_round + confirmed * asked.confirm.seeds


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "id": trial.id,
        "search_id": trial.search_id,
        "number": trial.number,
        "kind": trial.kind,
        "label": trial.label,
        "round": trial.round,
        "seed": trial.seed,
        "learning_rate_factor": trial.learning_rate_factor,
        "state": trial.state,
        "reward": trial.reward,
        "diverged": trial.diverged,
        "worker": trial.worker,
        "attempts": trial.attempt,
        "failed_attempts": trial.failed_attempts,
        "preemptions": trial.preemptions,
        "iteration": trial.iteration,
        "total_iterations": trial.total_iterations,
        "seconds": trial.seconds,
        "error_kind": trial.error_kind,
        "error": trial.error,
        "created_at": moment(trial.created_at),
        "started_at": moment_or_none(trial.started_at),
        "finished_at": moment_or_none(trial.finished_at),
    }


def _evaluation(row: Evaluation) -> models.EvaluationSummary:
    return models.EvaluationSummary(
        iteration=row.iteration,
        total_iterations=row.total_iterations,
        metrics=Metrics.model_validate(row.metrics),
    )


def _late_result(row: LateResult) -> models.LateResultSummary:
    result = JobResult.model_validate(row.result)
    return models.LateResultSummary(
        attempt=row.attempt, outcome=result.outcome, reward=result.reward, error=result.error, at=moment(row.at)
    )


def _attempt(row: Attempt) -> models.AttemptSummary:
    return models.AttemptSummary(
        number=row.number,
        worker=row.worker,
        host=row.host,
        device=row.device,
        environment=row.environment,
        resumed_iteration=row.resumed_iteration,
        claimed_at=moment(row.claimed_at),
        started_at=moment_or_none(row.started_at),
        ended_at=moment_or_none(row.ended_at),
        outcome=row.outcome,
        error_kind=row.error_kind,
        error=row.error,
        log_tail=row.log_tail,
    )
