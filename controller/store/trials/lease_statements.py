"""The statements behind the lease protocol, built once: building one costs as much as running it.

They bypass the ORM, because its part in a statement costs more than the statement. Each UPDATE of a trial is
one state transition: its WHERE is the whole condition, so that the second of two callers changes nothing. A transition
is written once, over the fields of a message, and rendered twice: for one step, and for the steps of many workers.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Float,
    Integer,
    Text,
    Update,
    and_,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)

from paploss.client.states import OPEN_TRIAL_STATES
from paploss.controller.store.database import is_one_of, now, table_of
from paploss.controller.store.tables import Attempt, Experiment, Project, Trial, Worker
from paploss.controller.store.trials.fields import OBJECT, Fields

_TRIALS, _EXPERIMENTS, _ATTEMPTS, _WORKERS, _PROJECTS = (
    table_of(model) for model in (Trial, Experiment, Attempt, Worker, Project)
)
_ITS_EXPERIMENT = _EXPERIMENTS.c.id == _TRIALS.c.experiment_id
_ITS_PROJECT = _PROJECTS.c.name == _EXPERIMENTS.c.project
_ITS_ATTEMPT = (_ATTEMPTS.c.trial_id == _TRIALS.c.id) & (_ATTEMPTS.c.number == _TRIALS.c.attempt)
_UNSEEN_SECONDS = (
    now() - select(_WORKERS.c.last_seen_at).where(_WORKERS.c.name == _TRIALS.c.worker).scalar_subquery()
).label("worker_unseen_seconds")
_NEW_TAIL = bindparam("new_tail", type_=Text)  # None: nothing new
_ONE_ATTEMPT = (_ATTEMPTS.c.trial_id == bindparam("trial")) & (_ATTEMPTS.c.number == bindparam("its_number"))


class Transition:
    """A change of a trial that a worker asks for."""

    def __init__(
        self,
        fields: Fields,
        holds: Callable[[SimpleNamespace], ColumnElement[bool]],
        values: Callable[[SimpleNamespace], dict[str, Any]],
        *returned: Any,
    ) -> None:
        """`fields`: of the message, `trial_id` among them; `holds`: the condition; `values`: what is set."""
        self.fields = fields
        one = fields.parameters()
        self.one: Update = (
            update(_TRIALS).where(_TRIALS.c.id == one.trial_id, holds(one)).values(values(one)).returning(*returned)
        )
        """Of one trial, which it waits for where another transaction holds it."""
        table, each = fields.rows()
        is_it = _TRIALS.c.id == each.trial_id
        free = (
            select(_TRIALS.c.id)
            .join(table, is_it & holds(each))
            .with_for_update(key_share=True, skip_locked=True, of=_TRIALS)
            .cte()
        )
        self.many: Update = (
            update(_TRIALS)
            .where(is_it, _TRIALS.c.id.in_(select(free.c.id)))
            .values(values(each))
            .returning(_TRIALS.c.id, *returned)
        )
        """Of many trials, each of them once; one that another transaction holds is passed over and never waited for, so
        two such statements cannot block each other."""


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
"""What the answer to a granted claim is made from; `paploss.controller.store.trials.steps.Grant` has the same names."""

READ_GRANT = select(*GRANTED).where(_TRIALS.c.id == bindparam("trial_id"))
"""The grant of a trial that was claimed before."""


def _may_be_granted(step: SimpleNamespace) -> ColumnElement[bool]:
    is_running = select(_EXPERIMENTS.c.id).where(
        _ITS_EXPERIMENT,
        _EXPERIMENTS.c.state == "running",
        or_(
            and_(
                _EXPERIMENTS.c.max_running_trials.is_(None),
                select(_PROJECTS.c.max_running_trials).where(_ITS_PROJECT).scalar_subquery().is_(None),
            ),
            step.is_within_cap,
        ),
    )
    is_used = select(_ATTEMPTS.c.number).where(_ATTEMPTS.c.claim_id == step.claim)
    return (_TRIALS.c.state == "queued") & is_running.exists() & ~is_used.exists()


GRANT = Transition(
    Fields(trial_id=Text, claim=Text, claimant=Text, new_token=Text, lease_seconds=Float, is_within_cap=Boolean),
    _may_be_granted,
    lambda step: {
        "state": "running",
        "attempt": _TRIALS.c.attempt + 1,
        "token": step.new_token,
        "lease_until": now() + step.lease_seconds,
        "worker": step.claimant,
        "started_at": None,
    },
    *GRANTED,
    _UNSEEN_SECONDS,
)
"""A claim: only of a queued trial of a running experiment, and only with a claim_id that has not been used."""

ADD_ATTEMPT = insert(_ATTEMPTS).inline()

RENEW = Transition(
    Fields(trial_id=Text, fence=Text, lease_seconds=Float, reached=Integer, total=Integer, its_loss=Float),
    lambda step: (_TRIALS.c.token == step.fence) & (_TRIALS.c.state == "running"),
    lambda step: {
        "lease_until": now() + step.lease_seconds,
        "started_at": func.coalesce(_TRIALS.c.started_at, now()),
        "iteration": func.coalesce(step.reached, _TRIALS.c.iteration),
        "total_iterations": func.coalesce(step.total, _TRIALS.c.total_iterations),
        "progress_loss": func.coalesce(step.its_loss, _TRIALS.c.progress_loss),
    },
    _TRIALS.c.attempt,
    _TRIALS.c.worker,
    select(_EXPERIMENTS.c.state).where(_ITS_EXPERIMENT).scalar_subquery().label("experiment_state"),
    select(_ATTEMPTS.c.started_at).where(_ITS_ATTEMPT).scalar_subquery().label("attempt_started_at"),
    _UNSEEN_SECONDS,
)
"""A renewal: the first one sets when the trial started; fields that a renewal leaves out stay."""

NOTE_ATTEMPT = (
    update(_ATTEMPTS)
    .where(_ONE_ATTEMPT)
    .values(
        started_at=func.coalesce(_ATTEMPTS.c.started_at, now()),
        environment=func.coalesce(bindparam("its_environment", type_=OBJECT), _ATTEMPTS.c.environment),
        warnings=func.coalesce(bindparam("its_warnings", type_=OBJECT), _ATTEMPTS.c.warnings),
        resumed_iteration=func.coalesce(bindparam("resumed_at", type_=Integer), _ATTEMPTS.c.resumed_iteration),
        log_tail=func.coalesce(_NEW_TAIL, _ATTEMPTS.c.log_tail),
    )
)

REWARD = Transition(
    Fields(
        trial_id=Text,
        fence=Text,
        outcome=Text,
        its_reward=Float,
        has_diverged=Boolean,
        its_metrics=OBJECT,
        its_checkpoint=Text,
        took_seconds=Float,
        reached=Integer,
    ),
    lambda step: (_TRIALS.c.token == step.fence) & is_one_of(_TRIALS.c.state, OPEN_TRIAL_STATES),
    lambda step: {
        "state": step.outcome,
        "reward": step.its_reward,
        "diverged": step.has_diverged,
        "metrics": step.its_metrics,
        "checkpoint": step.its_checkpoint,
        "seconds": step.took_seconds,
        "iteration": case((_TRIALS.c.iteration > step.reached, _TRIALS.c.iteration), else_=step.reached),
        "error_kind": None,
        "error": None,
        "finished_at": now(),
    },
    _TRIALS.c.attempt,
    _TRIALS.c.worker,
    _TRIALS.c.experiment_id.label("experiment_id"),
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
    .where(_TRIALS.c.id == bindparam("trial_id"))
    .values(loss=bindparam("its_loss", type_=OBJECT), plan=bindparam("its_plan", type_=OBJECT))
)
"""What a trial trains with, where version 0.1.0 has proposed it."""
