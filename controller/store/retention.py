"""Retention: what is deleted after a number of days. The settings give the days; times are the database's.

Experiments, rounds, trials and attempts stay, and the numbers of analyses: they are the results, and small. Deleted are
log lines, log tails, learning curves, pictures and late results of experiments that ended long ago.
"""

from collections.abc import Sequence

from sqlalchemy import case, delete, exists, select, update
from sqlalchemy.orm import Session

from paploss.client.states import FINAL_EXPERIMENT_STATES, OPEN_TRIAL_STATES
from paploss.controller.store.database import now
from paploss.controller.store.events import OBSTACLE_KINDS, record
from paploss.controller.store.notifications.deliveries import clear_deliveries
from paploss.controller.store.tables import (
    Analysis,
    Attempt,
    DeletedExperiment,
    Evaluation,
    Event,
    Experiment,
    IdempotencyKey,
    LateResult,
    Thumbnail,
    Trial,
    Worker,
)
from paploss.jobs.ids import experiment_of

DAY_SECONDS = 86_400.0
_WORKER_DAYS = 7.0
"""A worker without a heartbeat for this long does not come back: each pod has a new name. Its attempts name it."""
_IDEMPOTENCY_DAYS = 2.0
"""A request whose reply was lost is not repeated later than this."""


def find_removable_files(session: Session, trial_ids: Sequence[str], days: float) -> Sequence[str]:
    """Those of the trials that ended, or whose experiment was deleted, more than `days` ago.

    The weights of a final training stay until its experiment is deleted. The checkpoint of a short trial stays while
    the search may promote that, and goes once the search has left its rounds. Nothing is removed of a trial that is
    unknown to this database.
    """
    limit = now() - days * DAY_SECONDS
    is_product = (Trial.kind == "final") & (Trial.state == "succeeded")
    is_short = (Trial.length < 1) & (Trial.state == "succeeded")
    in_rounds = Experiment.state.not_in(FINAL_EXPERIMENT_STATES) & Experiment.stage.in_(("rounds", "closing"))
    ended = session.scalars(
        select(Trial.id)
        .join(Experiment)
        .where(Trial.id.in_(trial_ids), Trial.state.not_in(OPEN_TRIAL_STATES), ~is_product)
        .where(case((is_short, ~in_rounds), else_=Trial.finished_at < limit))
    )
    experiments = {trial_id: experiment_of(trial_id) for trial_id in trial_ids}
    deleted = session.scalars(
        select(DeletedExperiment.id).where(
            DeletedExperiment.id.in_(set(experiments.values())), DeletedExperiment.deleted_at < limit
        )
    ).all()
    return sorted({*ended, *(trial_id for trial_id, experiment_id in experiments.items() if experiment_id in deleted)})


def clear_details(session: Session, days: float) -> str | None:
    """Clear the details of one experiment that ended more than `days` ago; returns its id, or None if none is left."""
    experiment_id = session.scalar(
        select(Experiment.id)
        .where(Experiment.state.in_(FINAL_EXPERIMENT_STATES), Experiment.finished_at < now() - days * DAY_SECONDS)
        .where(exists().where(Event.experiment_id == Experiment.id, Event.kind != "details_cleared"))
        .order_by(Experiment.id)
        .limit(1)
    )
    if experiment_id is None:
        return None
    its_trials = select(Trial.id).where(Trial.experiment_id == experiment_id)
    session.execute(delete(Evaluation).where(Evaluation.trial_id.in_(its_trials)))
    session.execute(delete(LateResult).where(LateResult.trial_id.in_(its_trials)))
    session.execute(update(Analysis).where(Analysis.trial_id.in_(its_trials)).values(pictures=None))
    session.execute(delete(Thumbnail).where(Thumbnail.experiment_id == experiment_id))
    session.execute(delete(Event).where(Event.experiment_id == experiment_id))
    session.execute(update(Attempt).where(Attempt.trial_id.in_(its_trials), Attempt.log_tail != "").values(log_tail=""))
    record(
        session,
        "details_cleared",
        f"log, log tails, learning curves and pictures cleared {days:g} days after the end",
        experiment_id=experiment_id,
    )
    return experiment_id


def clear_platform(session: Session, days: float) -> None:
    """Clear what belongs to no experiment: old log lines, old deliveries, old workers, idempotency keys."""
    is_old = Event.at < now() - days * DAY_SECONDS
    # What keeps workers from starting stands until there is another line about it.
    session.execute(delete(Event).where(Event.experiment_id.is_(None), is_old, Event.kind.not_in(OBSTACLE_KINDS)))
    clear_deliveries(session, days * DAY_SECONDS)
    session.execute(delete(Worker).where(Worker.last_seen_at < now() - _WORKER_DAYS * DAY_SECONDS))
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < now() - _IDEMPOTENCY_DAYS * DAY_SECONDS))
