"""The statements behind the lease protocol, built once: building one costs as much as running it.

They bypass the ORM, because its part in a statement costs more than the statement. Each UPDATE of a trial is
one state transition: its WHERE is the whole condition, so that the second of two callers changes nothing.
"""

from sqlalchemy import JSON, Boolean, Float, Integer, Text, bindparam, case, func, insert, or_, select, update

from paploss.client.states import OPEN_TRIAL_STATES
from paploss.controller.store.database import is_one_of, now, table_of
from paploss.controller.store.tables import Attempt, Experiment, Trial, Worker

_TRIALS, _EXPERIMENTS, _ATTEMPTS, _WORKERS = (table_of(model) for model in (Trial, Experiment, Attempt, Worker))
_ITS_EXPERIMENT = _EXPERIMENTS.c.id == _TRIALS.c.experiment_id
_ITS_ATTEMPT = (_ATTEMPTS.c.trial_id == _TRIALS.c.id) & (_ATTEMPTS.c.number == _TRIALS.c.attempt)
_IS_IT = _TRIALS.c.id == bindparam("trial_id")
_IS_FENCED = _TRIALS.c.token == bindparam("fence")
_UNSEEN_SECONDS = (
    now() - select(_WORKERS.c.last_seen_at).where(_WORKERS.c.name == _TRIALS.c.worker).scalar_subquery()
).label("worker_unseen_seconds")
_REACHED = bindparam("reached", type_=Integer)
_NEW_TAIL = bindparam("new_tail", type_=Text)  # None: nothing new
_ONE_ATTEMPT = (_ATTEMPTS.c.trial_id == bindparam("trial")) & (_ATTEMPTS.c.number == bindparam("its_number"))
_OBJECT = JSON(none_as_null=True)

GRANTED = (
    _TRIALS.c.id.label("trial_id"),
    _TRIALS.c.experiment_id.label("experiment_id"),
    _TRIALS.c.number,
    _TRIALS.c.kind,
    _TRIALS.c.theta,
    _TRIALS.c.loss,
    _TRIALS.c.seed,
    _TRIALS.c.learning_rate_factor,
    _TRIALS.c.plan,
    _TRIALS.c.length,
    _TRIALS.c.derived_from,
    _TRIALS.c.prune,
    _TRIALS.c.attempt,
    _TRIALS.c.token,
    select(_EXPERIMENTS.c.spec).where(_ITS_EXPERIMENT).scalar_subquery().label("spec"),
)
"""What a granted claim is told of its trial; `paploss.controller.store.trials.leases.Grant` has the same names."""

READ_GRANT = select(*GRANTED).where(_IS_IT)
"""The grant of a trial that was claimed before."""

GRANT = (
    update(_TRIALS)
    .where(
        _IS_IT,
        _TRIALS.c.state == "queued",
        select(_EXPERIMENTS.c.id)
        .where(
            _ITS_EXPERIMENT,
            _EXPERIMENTS.c.state == "running",
            or_(_EXPERIMENTS.c.max_running_trials.is_(None), bindparam("is_within_cap", type_=Boolean)),
        )
        .exists(),
        ~select(_ATTEMPTS.c.number).where(_ATTEMPTS.c.claim_id == bindparam("claim")).exists(),
    )
    .values(
        state="running",
        attempt=_TRIALS.c.attempt + 1,
        token=bindparam("new_token"),
        lease_until=now() + bindparam("lease_seconds", type_=Float),
        worker=bindparam("claimant"),
        started_at=None,
    )
    .returning(*GRANTED, _UNSEEN_SECONDS)
)
"""A claim: only of a queued trial of a running search, and only with a claim_id that has not been used."""

ADD_ATTEMPT = insert(_ATTEMPTS).inline()

RENEW = (
    update(_TRIALS)
    .where(_IS_IT, _IS_FENCED, _TRIALS.c.state == "running")
    .values(
        lease_until=now() + bindparam("lease_seconds", type_=Float),
        started_at=func.coalesce(_TRIALS.c.started_at, now()),
        iteration=func.coalesce(_REACHED, _TRIALS.c.iteration),
        total_iterations=func.coalesce(bindparam("total", type_=Integer), _TRIALS.c.total_iterations),
        progress_loss=func.coalesce(bindparam("its_loss", type_=Float), _TRIALS.c.progress_loss),
    )
    .returning(
        _TRIALS.c.attempt,
        _TRIALS.c.worker,
        select(_EXPERIMENTS.c.state).where(_ITS_EXPERIMENT).scalar_subquery().label("experiment_state"),
        select(_ATTEMPTS.c.started_at).where(_ITS_ATTEMPT).scalar_subquery().label("attempt_started_at"),
        _UNSEEN_SECONDS,
    )
)
"""A renewal: the first one sets when the trial started; fields that a renewal leaves out stay."""

NOTE_ATTEMPT = (
    update(_ATTEMPTS)
    .where(_ONE_ATTEMPT)
    .values(
        started_at=func.coalesce(_ATTEMPTS.c.started_at, now()),
        environment=func.coalesce(bindparam("its_environment", type_=_OBJECT), _ATTEMPTS.c.environment),
        warnings=func.coalesce(bindparam("its_warnings", type_=_OBJECT), _ATTEMPTS.c.warnings),
        resumed_iteration=func.coalesce(bindparam("resumed_at", type_=Integer), _ATTEMPTS.c.resumed_iteration),
        log_tail=func.coalesce(_NEW_TAIL, _ATTEMPTS.c.log_tail),
    )
)

REWARD = (
    update(_TRIALS)
    .where(_IS_IT, _IS_FENCED, is_one_of(_TRIALS.c.state, OPEN_TRIAL_STATES))
    .values(
        state=bindparam("outcome"),
        reward=bindparam("its_reward", type_=Float),
        diverged=bindparam("has_diverged", type_=Boolean),
        metrics=bindparam("its_metrics", type_=_OBJECT),
        checkpoint=bindparam("its_checkpoint"),
        seconds=bindparam("took_seconds", type_=Float),
        iteration=case((_TRIALS.c.iteration > _REACHED, _TRIALS.c.iteration), else_=_REACHED),
        error_kind=None,
        error=None,
        finished_at=now(),
    )
    .returning(_TRIALS.c.attempt, _TRIALS.c.worker, _TRIALS.c.experiment_id.label("experiment_id"))
)
"""A result with a reward; also of a trial whose lease has expired, while nobody else has claimed it."""

END_ATTEMPT = (
    update(_ATTEMPTS)
    .where(_ONE_ATTEMPT)
    .values(
        outcome=bindparam("its_outcome"),
        ended_at=now(),
        answer=bindparam("its_answer"),
        error_kind=bindparam("its_error_kind"),
        error=bindparam("its_error"),
        log_tail=func.coalesce(_NEW_TAIL, _ATTEMPTS.c.log_tail),
    )
)

FIX_PARAMETERS = (
    update(_TRIALS)
    .where(_IS_IT)
    .values(loss=bindparam("its_loss", type_=_OBJECT), plan=bindparam("its_plan", type_=_OBJECT))
)
"""What a trial trains with, where version 0.1.0 has proposed it."""
