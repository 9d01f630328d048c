"""State transitions of a trial that its worker has no part in: the lease expires, it is cancelled, it fails for good.

    queued     -> running (claim), cancelled; after its lease expired also what its worker still makes of it
    running    -> succeeded, pruned, failed, cancelled, queued (released, expired, or failed with attempts left)

The other changes are a worker's (`paploss.controller.store.trials.leases`), where it also says how the token fences.

Every function takes a session of `Database.write()`; on an exception nothing is changed.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from paploss.client.specs import Budgets
from paploss.client.states import OPEN_TRIAL_STATES, TrialState
from paploss.controller.store.database import now, read_clock, table_of
from paploss.controller.store.documents import PLAN, SPEC
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.events import record
from paploss.controller.store.tables import Attempt, Experiment, Trial


def expire(session: Session, trial_id: str) -> TrialState | None:
    """Requeue a trial whose lease has expired; None if the lease was renewed meanwhile.

    Charged as a preemption if the attempt had started. The attempt keeps its token until the next claim.
    """
    trial = session.scalar(
        select(Trial)
        .where(Trial.id == trial_id, Trial.state == "running", Trial.lease_until < now())
        .with_for_update(key_share=True)
    )
    if trial is None:
        return None
    if trial.started_at is not None:
        charge_preemption(session, trial)
    else:
        trial.state = "queued"
    # Not now: while no controller ran, a dead worker spent nothing of what caps the experiment.
    update_attempt(session, trial, {"outcome": "expired", "ended_at": trial.lease_until})
    record(
        session,
        "lease_expired",
        f"no heartbeat from {trial.worker}",
        experiment_id=trial.experiment_id,
        trial_id=trial.id,
        worker=trial.worker,
        level="warning",
    )
    return trial.state


def find_expired(session: Session) -> Sequence[str]:
    """Ids of running trials whose lease has expired."""
    return session.scalars(
        select(Trial.id).where(Trial.state == "running", Trial.lease_until < now()).order_by(Trial.id)
    ).all()


def restart_leases(session: Session, lease_seconds: float) -> None:
    """Give every running trial its full time from now, because the clock was set."""
    session.execute(update(table_of(Trial)).where(Trial.state == "running").values(lease_until=now() + lease_seconds))


def cancel_trial(session: Session, trial_id: str) -> Trial:
    """End a trial without a reward; a worker that trains it learns of it at its next renewal. Idempotent.

    Raises:
        NotFoundError: no such trial.
        ConflictError: it is already final, and not cancelled.
    """
    trial = session.scalar(select(Trial).where(Trial.id == trial_id).with_for_update(key_share=True))
    if trial is None:
        raise NotFoundError(f"no trial {trial_id}")
    if trial.state == "cancelled":
        return trial
    if trial.state not in OPEN_TRIAL_STATES:
        raise ConflictError(f"trial {trial_id} has ended already: {trial.state}")
    if trial.state == "running":
        update_attempt(session, trial, {"outcome": "cancelled", "ended_at": now()})
    trial.state = "cancelled"
    trial.finished_at = read_clock(session)
    record(
        session,
        "trial_cancelled",
        "cancelled",
        experiment_id=trial.experiment_id,
        trial_id=trial.id,
        worker=trial.worker,
    )
    return trial


def cancel_open_trials(session: Session, experiment_id: str) -> None:
    """End every open trial of an experiment, as `cancel_trial` does; the caller holds its row."""
    is_open = (Trial.experiment_id == experiment_id, Trial.state.in_(OPEN_TRIAL_STATES))
    locked = select(Trial.id).where(*is_open).order_by(Trial.id).with_for_update(key_share=True).cte()
    session.execute(select(func.count()).select_from(locked))  # in order, as others do; no id is sent
    session.execute(
        update(Attempt)
        .where(Attempt.trial_id.in_(select(Trial.id).where(*is_open)), Attempt.outcome.is_(None))
        .values(outcome="cancelled", ended_at=now())
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(Trial)
        .where(*is_open)
        .values(state="cancelled", finished_at=now())
        .execution_options(synchronize_session=False)
    )


def charge_preemption(session: Session, trial: Trial) -> None:
    """Requeue a locked trial that was preempted, or fail it where its budget is exhausted."""
    trial.preemptions += 1
    budget = read_budgets(session, trial).max_preemptions
    if trial.preemptions > budget:
        trial.error_kind = trial.error = None  # of an attempt that failed earlier
        give_up(session, trial, f"preempted {trial.preemptions} times, more than max_preemptions ({budget}) allows")
    else:
        trial.state = "queued"


def read_budgets(session: Session, trial: Trial) -> Budgets:
    """The failure budgets of a trial."""
    if trial.plan is not None:
        plan = PLAN.read(trial.plan)
        return Budgets(max_failed_attempts=plan.max_failed_attempts, max_preemptions=plan.max_preemptions)
    return SPEC.read(session.get_one(Experiment, trial.experiment_id).spec).budgets  # proposed by version 0.1.0


def give_up(session: Session, trial: Trial, reason: str) -> None:
    """Fail a locked trial for good."""
    trial.state = "failed"
    trial.error = trial.error or reason
    trial.finished_at = read_clock(session)
    record(
        session,
        "trial_failed",
        reason,
        experiment_id=trial.experiment_id,
        trial_id=trial.id,
        worker=trial.worker,
        level="error",
    )


def update_attempt(session: Session, trial: Trial, values: dict[str, Any]) -> None:
    """Set columns of a trial's newest attempt."""
    session.execute(
        update(table_of(Attempt))
        .where(Attempt.trial_id == trial.id, Attempt.number == trial.attempt)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
