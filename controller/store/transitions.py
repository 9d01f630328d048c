"""Every change of a trial's state. Each function is the whole of one transaction, and the token is the only fence.

    queued     -> running (claim), cancelled
    running    -> succeeded, pruned, failed, cancelled, queued (released, expired, or failed with attempts left)

`Trial.token` names the one attempt that may still answer: it stays after the lease expired (the training may go on
behind a cut network) and goes with the next claim, a release, or a failure. So a result or a renewal that comes late
still counts as long as nobody else has claimed.

Every function takes a session of `Database.write()`; on an exception nothing is changed.
"""

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from controller.store.database import now, read_clock, table_of
from controller.store.errors import ConflictError, GoneError, LateResultError, NotFoundError
from controller.store.events import EventKind, record
from controller.store.models import (
    OPEN_TRIAL_STATES,
    Attempt,
    LateResult,
    Outcome,
    Search,
    Trial,
    TrialState,
    Worker,
)
from controller.store.reports import keep_evaluations, remember_worker
from jobs.lease import ClaimRequest, Command, ReleaseRequest, RenewRequest, ResultRequest
from jobs.spec import JobResult

# What every claim, renewal and answer begins with. Made once: building a statement costs as much as running it.
_CLAIMED = (
    select(Trial, Search, Attempt)
    .join(Search)
    .outerjoin(Attempt, Attempt.claim_id == bindparam("claim_id"))
    .where(Trial.id == bindparam("trial_id"))
)
_RENEWED = (
    select(Trial, Search.state)
    .join(Search)
    .where(Trial.id == bindparam("trial_id"))
    .with_for_update(of=Trial, key_share=True)
)
_ANSWERED = (
    select(Trial, Attempt)
    .join(Attempt, Attempt.trial_id == Trial.id)
    .where(Trial.id == bindparam("trial_id"), Attempt.token == bindparam("token"))
    .with_for_update(of=Trial, key_share=True)
)


def claim(session: Session, request: ClaimRequest, lease_seconds: float) -> tuple[Search, Trial, Attempt]:
    """Give the trial to a worker, once. The same claim_id gets the same attempt again while that attempt lasts.

    Raises:
        NotFoundError: no such trial.
        GoneError: the trial is final.
        ConflictError: another attempt runs, the search is paused or at its cap of running trials, or the lease that
            this claim_id once got has ended.
    """
    asked = {"trial_id": request.trial_id, "claim_id": str(request.claim_id)}
    found = session.execute(_CLAIMED, asked).one_or_none()
    if found is None:
        raise NotFoundError(f"no trial {request.trial_id}")
    trial, search = found.Trial, found.Search
    repeated: Attempt | None = found.Attempt
    if repeated is not None:
        return _repeat_claim(request, search, trial, repeated)
    if search.max_running_trials is not None:
        _check_cap(session, search.id, search.max_running_trials)
    token = secrets.token_hex(16)
    granted = session.scalar(
        update(Trial)
        .where(Trial.id == request.trial_id, Trial.state == "queued")
        .where(select(Search.id).where(Search.id == Trial.search_id, Search.state == "running").exists())
        .values(
            state="running",
            attempt=Trial.attempt + 1,
            token=token,
            lease_until=now() + lease_seconds,
            worker=request.worker.name,
            started_at=None,
        )
        .returning(Trial)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    if granted is None:
        session.refresh(trial)
        repeated = session.scalar(select(Attempt).where(Attempt.claim_id == str(request.claim_id)))
        if repeated is not None:  # the same request, twice at once
            return _repeat_claim(request, search, trial, repeated)
        raise _refusal(session, trial, search)
    remember_worker(session, request.worker)
    attempt = Attempt(
        trial_id=trial.id,
        number=trial.attempt,
        claim_id=str(request.claim_id),
        token=token,
        worker=request.worker.name,
        host=request.worker.host,
        device=request.worker.device,
        environment=request.worker.versions,
    )
    session.add(attempt)
    session.flush()
    return search, trial, attempt


def renew(session: Session, request: RenewRequest, lease_seconds: float) -> Command:
    """Prolong a lease and note progress; says what the worker is to do.

    An attempt whose lease has expired gets it back if nobody has claimed since, and the charge is taken back.

    Raises:
        NotFoundError: no such trial.
        ConflictError: the token is not the one that may answer.
        GoneError: the trial has ended otherwise than by being cancelled.
    """
    found = session.execute(_RENEWED, {"trial_id": request.trial_id}).one_or_none()
    if found is None:
        raise NotFoundError(f"no trial {request.trial_id}")
    trial, search_state = found
    if trial.token != request.token:
        raise ConflictError(f"trial {trial.id}: this lease has ended")
    if trial.state == "cancelled":
        return "cancel"
    if trial.state not in OPEN_TRIAL_STATES:
        raise GoneError(f"trial {trial.id} is {trial.state}")
    if trial.state == "queued":
        _revive(session, trial)
    trial.lease_until = _later(lease_seconds)
    if request.progress is not None:
        trial.iteration = request.progress.iteration
        trial.total_iterations = request.progress.total_iterations
        trial.progress_loss = request.progress.loss
    noted: dict[str, Any] = {}
    if trial.started_at is None:
        trial.started_at = noted["started_at"] = _later(0)
    if request.start is not None:
        noted["environment"] = request.start.environment
        noted["resumed_iteration"] = request.start.resumed_iteration
    if request.log_tail:
        noted["log_tail"] = request.log_tail
    if noted:
        _update_attempt(session, trial, noted)
    keep_evaluations(session, trial.id, request.evaluations)
    if trial.worker is not None:
        seen: dict[str, Any] = {"last_seen_at": now()}
        if request.gpu_use:
            seen["gpu_use"] = [gpu.model_dump(mode="json") for gpu in request.gpu_use]
        session.execute(update(table_of(Worker)).where(Worker.name == trial.worker).values(**seen))
    return "pause" if search_state == "paused" else "continue"


def finish(session: Session, request: ResultRequest) -> TrialState:
    """Take a trial's result, once; the same token repeating it gets the same answer. Returns the trial's new state.

    Raises:
        NotFoundError: no such trial, or no attempt of it with this token.
        LateResultError: another attempt has claimed since, or the trial has ended; `keep_late_result` is to follow,
            in a transaction of its own.
    """
    trial, attempt = _find_attempt(session, request.trial_id, request.token)
    if attempt.answer is not None:
        return attempt.answer
    if trial.token != request.token:
        raise LateResultError(f"trial {trial.id}: attempt {trial.attempt} has claimed it since", attempt.number)
    if trial.state not in OPEN_TRIAL_STATES:
        raise LateResultError(f"trial {trial.id} is already {trial.state}", attempt.number)
    keep_evaluations(session, trial.id, request.evaluations)
    result = request.result
    trial.seconds = result.seconds
    trial.iteration = max(trial.iteration, result.iterations)
    if result.outcome == "failed":
        _fail_attempt(session, trial, result)
    else:
        trial.state = result.outcome
        trial.reward = result.reward
        trial.diverged = result.diverged
        trial.metrics = result.metrics.model_dump(mode="json") if result.metrics else None
        trial.checkpoint = result.checkpoint
        trial.error_kind = trial.error = None
        trial.finished_at = _later(0)
        how = " (diverged)" if result.diverged else ""
        kind: EventKind = "trial_succeeded" if result.outcome == "succeeded" else "trial_pruned"
        record(
            session,
            kind,
            f"AP {100 * (result.reward or 0):.1f}{how}",
            search_id=trial.search_id,
            trial_id=trial.id,
            worker=trial.worker,
        )
    _end_attempt(session, trial, result.outcome, request.log_tail, result)
    return trial.state


def release(session: Session, request: ReleaseRequest) -> TrialState:
    """Take a lease back from a worker that stops. Returns the trial's new state; repeating it gets the same answer.

    Raises:
        NotFoundError: no such trial, or no attempt of it with this token.
        ConflictError: another attempt has claimed since.
        GoneError: the trial has ended.
    """
    trial, attempt = _find_attempt(session, request.trial_id, request.token)
    if attempt.answer is not None:
        return attempt.answer
    if trial.token != request.token:
        raise ConflictError(f"trial {trial.id}: attempt {trial.attempt} has claimed it since")
    if trial.state not in OPEN_TRIAL_STATES:
        raise GoneError(f"trial {trial.id} is {trial.state}")
    if trial.state == "running" and request.reason == "preempted" and trial.started_at is not None:
        _charge_preemption(session, trial)
    else:  # what never started and what pauses is charged to no budget, and what had expired was charged then
        trial.state = "queued"
    trial.token = None
    trial.lease_until = None
    kind: EventKind = "trial_preempted" if request.reason == "preempted" else "trial_paused"
    record(
        session,
        kind,
        f"handed back by {trial.worker} at iteration {trial.iteration}",
        search_id=trial.search_id,
        trial_id=trial.id,
        worker=trial.worker,
    )
    _end_attempt(session, trial, request.reason, request.log_tail)
    return trial.state


def expire(session: Session, trial_id: str) -> TrialState | None:
    """Put a trial whose lease has run out back into the queue; none if its lease is good after all.

    Charged as a preemption if the attempt had started. The attempt keeps its token until somebody else claims.
    """
    trial = session.scalar(
        select(Trial)
        .where(Trial.id == trial_id, Trial.state == "running", Trial.lease_until < now())
        .with_for_update(key_share=True)
    )
    if trial is None:
        return None
    if trial.started_at is not None:
        _charge_preemption(session, trial)
    else:
        trial.state = "queued"
    _update_attempt(session, trial, {"outcome": "expired", "ended_at": now()})
    record(
        session,
        "lease_expired",
        f"{trial.worker} fell silent",
        search_id=trial.search_id,
        trial_id=trial.id,
        worker=trial.worker,
        level="warning",
    )
    return trial.state


def find_expired(session: Session) -> Sequence[str]:
    """Ids of running trials whose lease has run out."""
    return session.scalars(
        select(Trial.id).where(Trial.state == "running", Trial.lease_until < now()).order_by(Trial.id)
    ).all()


def cancel_trial(session: Session, trial_id: str) -> Trial:
    """End a trial without a reward; a worker that trains it is told with its next renewal. Idempotent.

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
        raise ConflictError(f"trial {trial_id} is already {trial.state}")
    if trial.state == "running":
        _update_attempt(session, trial, {"outcome": "cancelled", "ended_at": now()})
    trial.state = "cancelled"
    trial.finished_at = read_clock(session)
    record(session, "trial_cancelled", "cancelled", search_id=trial.search_id, trial_id=trial.id, worker=trial.worker)
    return trial


def cancel_open_trials(session: Session, search_id: str) -> int:
    """End every open trial of a search, as `cancel_trial` does; the caller holds the search's row. Returns how many."""
    is_open = (Trial.search_id == search_id, Trial.state.in_(OPEN_TRIAL_STATES))
    live = session.scalars(select(Trial.id).where(*is_open).order_by(Trial.id).with_for_update(key_share=True)).all()
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
    return len(live)


def keep_late_result(session: Session, request: ResultRequest, attempt: int, reason: str) -> None:
    """Keep a result that does not count, for audit."""
    session.add(LateResult(trial_id=request.trial_id, attempt=attempt, result=request.result.model_dump(mode="json")))
    search_id = session.scalar(select(Trial.search_id).where(Trial.id == request.trial_id))
    record(
        session,
        "late_result",
        f"not counted: {reason}",
        search_id=search_id,
        trial_id=request.trial_id,
        level="warning",
    )


def _later(seconds: float) -> Any:
    """The database's time in `seconds`, to be assigned to a mapped attribute that is not read again."""
    return now() + seconds


def _repeat_claim(
    request: ClaimRequest, search: Search, trial: Trial, attempt: Attempt
) -> tuple[Search, Trial, Attempt]:
    if attempt.trial_id != trial.id:
        raise ConflictError(f"claim_id {request.claim_id} was used for trial {attempt.trial_id}")
    if trial.state != "running" or trial.token != attempt.token:
        raise ConflictError(f"trial {trial.id}: the lease of this claim has ended")
    return search, trial, attempt


def _check_cap(session: Session, search_id: str, cap: int) -> None:
    # The row lock makes concurrent claims of this search count one after the other.
    session.execute(select(Search.id).where(Search.id == search_id).with_for_update(key_share=True))
    running = session.scalar(
        select(func.count()).select_from(Trial).where(Trial.search_id == search_id, Trial.state == "running")
    )
    if running is not None and running >= cap:
        raise ConflictError(f"search {search_id} has its {cap} running trials")


def _refusal(session: Session, trial: Trial, search: Search) -> ConflictError | GoneError:
    if trial.state not in OPEN_TRIAL_STATES:
        return GoneError(f"trial {trial.id} is {trial.state}")
    if trial.state == "running":
        return ConflictError(f"trial {trial.id} is running as attempt {trial.attempt}")
    session.refresh(search)
    return ConflictError(f"search {search.id} is {search.state}")


def _revive(session: Session, trial: Trial) -> None:
    if trial.started_at is not None:
        trial.preemptions -= 1
    trial.state = "running"
    _update_attempt(session, trial, {"outcome": None, "ended_at": None})
    record(
        session,
        "lease_revived",
        f"{trial.worker} is back",
        search_id=trial.search_id,
        trial_id=trial.id,
        worker=trial.worker,
    )


def _find_attempt(session: Session, trial_id: str, token: str) -> tuple[Trial, Attempt]:
    found = session.execute(_ANSWERED, {"trial_id": trial_id, "token": token}).one_or_none()
    if found is None:
        raise NotFoundError(f"trial {trial_id} is unknown, or has no attempt with this token")
    return found.Trial, found.Attempt


def _fail_attempt(session: Session, trial: Trial, result: JobResult) -> None:
    trial.error_kind = result.error_kind
    trial.error = result.error
    trial.failed_attempts += 1
    trial.token = None
    trial.lease_until = None
    budget = session.get_one(Search, trial.search_id).budgets.max_failed_attempts
    if result.error_kind == "user":
        _give_up(session, trial, f"{result.error}")
    elif trial.failed_attempts >= budget:
        _give_up(session, trial, f"{trial.failed_attempts} failed attempts, the last one: {result.error}")
    else:
        trial.state = "queued"
        message = f"attempt {trial.attempt} failed ({result.error_kind}), will be retried: {result.error}"
        record(
            session,
            "trial_retried",
            message,
            search_id=trial.search_id,
            trial_id=trial.id,
            worker=trial.worker,
            level="warning",
        )


def _charge_preemption(session: Session, trial: Trial) -> None:
    trial.preemptions += 1
    budget = session.get_one(Search, trial.search_id).budgets.max_preemptions
    if trial.preemptions > budget:
        trial.error_kind = trial.error = None  # of an attempt that failed earlier
        _give_up(session, trial, f"taken away {trial.preemptions} times, more than max_preemptions ({budget}) allows")
    else:
        trial.state = "queued"


def _give_up(session: Session, trial: Trial, reason: str) -> None:
    trial.state = "failed"
    trial.error = trial.error or reason
    trial.finished_at = _later(0)
    record(
        session,
        "trial_failed",
        reason,
        search_id=trial.search_id,
        trial_id=trial.id,
        worker=trial.worker,
        level="error",
    )


def _end_attempt(
    session: Session, trial: Trial, outcome: Outcome, log_tail: str, result: JobResult | None = None
) -> None:
    values: dict[str, Any] = {"outcome": outcome, "ended_at": now(), "answer": trial.state}
    if log_tail:
        values["log_tail"] = log_tail
    if result is not None:
        values |= {"error_kind": result.error_kind, "error": result.error}
    _update_attempt(session, trial, values)


def _update_attempt(session: Session, trial: Trial, values: dict[str, Any]) -> None:
    session.execute(
        update(table_of(Attempt))
        .where(Attempt.trial_id == trial.id, Attempt.number == trial.attempt)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
