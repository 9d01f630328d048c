"""What workers ask of a trial: claim, renew, finish, release. Each function is the whole of one transaction.

An ordinary step is one conditional UPDATE (`paploss.controller.store.trials.lease_statements`), which decides and takes
effect at once. Only where it changes nothing does the program find out why, and then refuses, repeats the earlier
answer, or corrects the row. Ordinary steps of many workers are one transaction in `claims`, `renewals` and `results`
beside this module, which leave everything else to it.

`Trial.token` names the one attempt that may still answer, and is the only fence. It stays after the lease expired (the
training may go on behind a cut network) and goes with the next claim, a release, or a failure. So a result or a renewal
that comes late still counts as long as nobody else has claimed.

Every function takes a session of `Database.write()`; on an exception nothing is changed.
"""

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from paploss.client.states import OPEN_TRIAL_STATES, TrialState
from paploss.controller.store.documents import LOSS, PLAN, TrialPlan
from paploss.controller.store.errors import ConflictError, GoneError, LateResultError, NotFoundError
from paploss.controller.store.events import EventKind, record, record_many
from paploss.controller.store.tables import Attempt, Experiment, LateResult, Trial
from paploss.controller.store.trials.analyses import keep_analysis
from paploss.controller.store.trials.lease_statements import (
    ADD_ATTEMPT,
    END_ATTEMPT,
    FIX_PARAMETERS,
    GRANT,
    NOTE_ATTEMPT,
    READ_GRANT,
    RENEW,
    REWARD,
)
from paploss.controller.store.trials.quotas import check_caps
from paploss.controller.store.trials.steps import (
    Grant,
    attempt_end_values,
    claim_values,
    describe_attempt,
    describe_end,
    read_grant,
    renewal_values,
    result_values,
    was_just_seen,
)
from paploss.controller.store.trials.telemetry import keep_evaluations, remember_workers, see_worker
from paploss.controller.store.trials.transitions import charge_preemption, give_up, read_budgets, update_attempt
from paploss.jobs.lease import ClaimRequest, Command, ReleaseRequest, RenewRequest, ResultRequest
from paploss.jobs.losses import LossSpec
from paploss.jobs.spec import JobResult

_CLAIMED = (
    select(Trial, Experiment, Attempt)
    .join(Experiment)
    .outerjoin(Attempt, Attempt.claim_id == bindparam("claim_id"))
    .where(Trial.id == bindparam("trial_id"))
    .execution_options(populate_existing=True)
)
_LOCKED = select(Trial).where(Trial.id == bindparam("trial_id")).with_for_update(key_share=True)


def claim(session: Session, request: ClaimRequest, lease_seconds: float) -> Grant:
    """Grant the trial to a worker, once. The same claim_id gets the same attempt again while that attempt lasts.

    Raises:
        NotFoundError: no such trial.
        GoneError: the trial is final.
        ConflictError: another attempt runs, the experiment is paused, it or its project is at its cap of running
            trials, or the lease that this claim_id once got has ended.
    """
    asked = claim_values(request, lease_seconds)
    row = session.execute(GRANT.one, GRANT.fields.one(**asked)).one_or_none()
    if row is None:
        trial, experiment, repeated = _find_claimed(session, request)
        if repeated is None and trial.state == "queued" and check_caps(session, experiment):
            row = session.execute(GRANT.one, GRANT.fields.one(**asked | {"is_within_cap": True})).one_or_none()
            if row is None:  # something has changed while this waited for the lock
                trial, experiment, repeated = _find_claimed(session, request)
        if repeated is not None:
            return _repeat_claim(session, request, trial, repeated)
    if row is None:
        raise _refusal(trial, experiment)
    grant = read_grant(row)
    if not was_just_seen(row.worker_unseen_seconds):
        remember_workers(session, [request.worker])
    session.execute(ADD_ATTEMPT, describe_attempt(request, grant))
    return grant


def renew(session: Session, request: RenewRequest, lease_seconds: float) -> Command:
    """Renew a lease and store progress; returns what the worker is to do.

    An attempt whose lease has expired gets it back if nobody has claimed since, and the charge is reverted.

    Raises:
        ConflictError: the token is not the one that may answer.
        GoneError: the trial has ended in another way than by cancellation, or was deleted.
    """
    start = request.start
    given = RENEW.fields.one(**renewal_values(request, lease_seconds))
    row = session.execute(RENEW.one, given).one_or_none()
    if row is None:
        if not _revive(session, request):
            return "cancel"
        row = session.execute(RENEW.one, given).one()
    if row.attempt_started_at is None or start is not None or request.log_tail:
        session.execute(
            NOTE_ATTEMPT,
            {
                "trial": request.trial_id,
                "its_number": row.attempt,
                "its_environment": start and start.environment,
                "its_warnings": (start and list(start.warnings)) or None,
                "resumed_at": start and start.resumed_iteration,
                "new_tail": request.log_tail or None,
            },
        )
    keep_evaluations(session, {request.trial_id: request.evaluations})
    if request.gpu_use or not was_just_seen(row.worker_unseen_seconds):
        see_worker(session, row.worker, request.gpu_use)
    return "pause" if row.experiment_state == "paused" else "continue"


def finish(session: Session, request: ResultRequest) -> TrialState:
    """Store a trial's result, once. Idempotent for the same token. Returns the trial's new state.

    Raises:
        NotFoundError: no such trial, or no attempt of it with this token.
        LateResultError: another attempt has claimed since, or the trial has ended; `keep_late_result` is to follow,
            in a transaction of its own.
    """
    result = request.result
    if result.outcome == "failed":
        return _fail(session, request)
    row = session.execute(REWARD.one, REWARD.fields.one(**result_values(request))).one_or_none()
    if row is None:
        return _answer_again(*_find_attempt(session, request.trial_id, request.token))
    keep_evaluations(session, {request.trial_id: request.evaluations})
    if request.analysis is not None:
        keep_analysis(session, row.experiment_id, request.trial_id, request.analysis)
    record_many(session, [describe_end(request, row.experiment_id, row.worker)])
    session.execute(
        END_ATTEMPT, attempt_end_values(request, row.attempt, outcome=result.outcome, answer=result.outcome)
    )
    return result.outcome


def release(session: Session, request: ReleaseRequest) -> TrialState:
    """Release the lease of a worker that stops. Idempotent. Returns the trial's new state.

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
        charge_preemption(session, trial)
    else:  # what never started and what pauses is charged to no budget, and what had expired was charged then
        trial.state = "queued"
    trial.token = None
    trial.lease_until = None
    kind: EventKind = "trial_preempted" if request.reason == "preempted" else "trial_paused"
    record(
        session,
        kind,
        f"released by {trial.worker} at iteration {trial.iteration}",
        experiment_id=trial.experiment_id,
        trial_id=trial.id,
        worker=trial.worker,
    )
    session.execute(END_ATTEMPT, attempt_end_values(request, trial.attempt, outcome=request.reason, answer=trial.state))
    return trial.state


def fix_parameters(session: Session, trial_id: str, loss: LossSpec, plan: TrialPlan) -> None:
    """Fix what a trial trains with, where version 0.1.0 has proposed it."""
    given = {"trial_id": trial_id, "its_loss": LOSS.write(loss), "its_plan": PLAN.write(plan)}
    session.execute(FIX_PARAMETERS, given)


def keep_late_result(session: Session, request: ResultRequest, attempt: int, reason: str) -> None:
    """Keep a result that does not count, for audit: the first of its attempt, if others follow."""
    is_kept = select(LateResult.id).where(LateResult.trial_id == request.trial_id, LateResult.attempt == attempt)
    if session.scalar(is_kept.limit(1)) is not None:
        return
    session.add(LateResult(trial_id=request.trial_id, attempt=attempt, result=request.result.model_dump(mode="json")))
    experiment_id = session.scalar(select(Trial.experiment_id).where(Trial.id == request.trial_id))
    record(
        session,
        "late_result",
        f"not counted: {reason}",
        experiment_id=experiment_id,
        trial_id=request.trial_id,
        level="warning",
    )


def _find_claimed(session: Session, request: ClaimRequest) -> tuple[Trial, Experiment, Attempt | None]:
    """The trial and its experiment as they are now, and the attempt that this claim_id created, of whichever trial."""
    asked = {"trial_id": request.trial_id, "claim_id": str(request.claim_id)}
    found = session.execute(_CLAIMED, asked).one_or_none()
    if found is None:
        raise NotFoundError(f"no trial {request.trial_id}")
    return found.Trial, found.Experiment, found.Attempt


def _repeat_claim(session: Session, request: ClaimRequest, trial: Trial, attempt: Attempt) -> Grant:
    if attempt.trial_id != trial.id:
        raise ConflictError(f"claim_id {request.claim_id} was used for trial {attempt.trial_id}")
    if trial.state != "running" or trial.token != attempt.token:
        raise ConflictError(f"trial {trial.id}: the lease of this claim has ended")
    return read_grant(session.execute(READ_GRANT, {"trial_id": trial.id}).one())


def _refusal(trial: Trial, experiment: Experiment) -> ConflictError | GoneError:
    if trial.state not in OPEN_TRIAL_STATES:
        return GoneError(f"trial {trial.id} is {trial.state}")
    if trial.state == "running":
        return ConflictError(f"trial {trial.id} is running as attempt {trial.attempt}")
    return ConflictError(f"experiment {experiment.id} is {experiment.state}")


def _revive(session: Session, request: RenewRequest) -> bool:
    """Set a trial whose lease had expired to running again; False where it was cancelled. Raises as `renew`."""
    trial = session.scalar(_LOCKED, {"trial_id": request.trial_id})
    if trial is None:
        raise GoneError(f"trial {request.trial_id} is not there; its experiment was deleted, if it ever was")
    if trial.token != request.token:
        raise ConflictError(f"trial {trial.id}: this lease has ended")
    if trial.state == "cancelled":
        return False
    if trial.state not in OPEN_TRIAL_STATES:
        raise GoneError(f"trial {trial.id} is {trial.state}")
    if trial.state == "running":  # the same renewal, twice at once
        return True
    if trial.started_at is not None:
        trial.preemptions -= 1
    trial.state = "running"
    update_attempt(session, trial, {"outcome": None, "ended_at": None})
    record(
        session,
        "lease_revived",
        f"{trial.worker} is back",
        experiment_id=trial.experiment_id,
        trial_id=trial.id,
        worker=trial.worker,
    )
    session.flush()
    return True


def _find_attempt(session: Session, trial_id: str, token: str) -> tuple[Trial, Attempt]:
    """The trial, locked, and its attempt with this token.

    Read one after the other: in one statement PostgreSQL would show the attempt as it was before the wait for the lock,
    not yet answered where the same result is delivered twice at once.
    """
    trial = session.scalar(_LOCKED, {"trial_id": trial_id})
    attempt = session.scalar(select(Attempt).where(Attempt.trial_id == trial_id, Attempt.token == token))
    if trial is None or attempt is None:
        raise NotFoundError(f"trial {trial_id} is unknown, or has no attempt with this token")
    return trial, attempt


def _answer_again(trial: Trial, attempt: Attempt) -> TrialState:
    """The answer to a result that had been delivered before.

    Raises:
        LateResultError: it had not, and it is too late to count.
    """
    if attempt.answer is not None:
        return attempt.answer
    if trial.token != attempt.token:
        raise LateResultError(f"trial {trial.id}: attempt {trial.attempt} has claimed it since", attempt.number)
    raise LateResultError(f"trial {trial.id} is already {trial.state}", attempt.number)


def _fail(session: Session, request: ResultRequest) -> TrialState:
    trial, attempt = _find_attempt(session, request.trial_id, request.token)
    if attempt.answer is not None or trial.token != attempt.token or trial.state not in OPEN_TRIAL_STATES:
        return _answer_again(trial, attempt)
    result = request.result
    keep_evaluations(session, {trial.id: request.evaluations})
    if trial.state == "queued" and trial.started_at is not None:  # it had expired: one attempt is charged once
        trial.preemptions -= 1
    trial.seconds = result.seconds
    trial.iteration = max(trial.iteration, result.iterations)
    trial.error_kind = result.error_kind
    trial.error = result.error
    trial.failed_attempts += 1
    trial.token = None
    trial.lease_until = None
    _retry_or_give_up(session, trial, result)
    ended = attempt_end_values(request, trial.attempt, outcome="failed", answer=trial.state, failure=result)
    session.execute(END_ATTEMPT, ended)
    return trial.state


def _retry_or_give_up(session: Session, trial: Trial, result: JobResult) -> None:
    budget = read_budgets(session, trial).max_failed_attempts
    if result.error_kind == "user":
        give_up(session, trial, f"{result.error}")
    elif trial.failed_attempts >= budget:
        give_up(session, trial, f"{trial.failed_attempts} failed attempts, the last one: {result.error}")
    else:
        trial.state = "queued"
        record(
            session,
            "trial_retried",
            f"attempt {trial.attempt} failed ({result.error_kind}), will be retried: {result.error}",
            experiment_id=trial.experiment_id,
            trial_id=trial.id,
            worker=trial.worker,
            level="warning",
        )
