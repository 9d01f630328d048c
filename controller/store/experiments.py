"""The rows of experiments, and every state change of an experiment by request. All are idempotent.

    running -> paused, cancelled, succeeded, failed        paused -> running, cancelled

The leader's own transitions (a round closed, confirmed, too many failures) are in `controller/experiments/`. Both take
the experiment's row lock first, so they never interleave.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from paploss.client.specs import ExperimentSpec
from paploss.client.states import FINAL_EXPERIMENT_STATES, ExperimentState, Stage
from paploss.controller.store.database import Database, read_clock
from paploss.controller.store.documents import SPEC
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.events import EventKind, record
from paploss.controller.store.tables import DeletedExperiment, Event, Experiment, IdempotencyKey, Trial
from paploss.controller.store.trials.transitions import cancel_open_trials
from paploss.controller.store.visibility import project_of

_DELETED_AT_ONCE = 200
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True)
class Idempotency:
    """An Idempotency-Key with the SHA-256 (hexadecimal) of the request that it came with."""

    key: str
    fingerprint: str


def add_experiment(
    session: Session, spec: ExperimentSpec, owner: str, *, stage: Stage, planned: int, rounds: int | None
) -> Experiment:
    """Store an experiment of the session's project, running, without a trial yet."""
    experiment = Experiment(
        id=new_experiment_id(),
        kind=spec.kind,
        name=spec.name,
        owner=owner,
        state="running",
        stage=stage,
        spec=SPEC.write(spec),
        profile=spec.profile,
        dataset=spec.dataset.name,
        gpus=spec.trial_gpus,
        priority=spec.priority,
        max_running_trials=spec.max_running_trials,
        rounds=rounds,
        planned=planned,
        next_number=0,
        round=0,
        project=project_of(session),
    )
    session.add(experiment)
    session.flush()
    return experiment


def list_running(session: Session) -> Sequence[Experiment]:
    """Running experiments, the oldest first."""
    return session.scalars(select(Experiment).where(Experiment.state == "running").order_by(Experiment.id)).all()


def list_waiting_for(session: Session, gpus: int) -> set[str]:
    """Ids of the running experiments of a resource class."""
    return set(session.scalars(select(Experiment.id).where(Experiment.state == "running", Experiment.gpus == gpus)))


def find_experiment(session: Session, experiment_id: str) -> Experiment | None:
    """The experiment, or None."""
    return session.get(Experiment, experiment_id)


def lock_experiment(session: Session, experiment_id: str) -> Experiment:
    """The experiment as it is now, its row locked until the end of the transaction.

    Raises:
        NotFoundError: no such experiment.
    """
    experiment = session.scalar(
        select(Experiment)
        .where(Experiment.id == experiment_id)
        .with_for_update(key_share=True)  # trials may still be inserted and events written meanwhile
        .execution_options(populate_existing=True)
    )
    if experiment is None:
        raise NotFoundError(f"there is no experiment {experiment_id}")
    return experiment


def pause_experiment(session: Session, experiment_id: str) -> Experiment:
    """Stop claims; running trials are released with a checkpoint and charged to no budget.

    Raises:
        NotFoundError: no such experiment.
        ConflictError: it is final.
    """
    return _switch(session, experiment_id, "running", "paused", "experiment_paused")


def resume_experiment(session: Session, experiment_id: str) -> Experiment:
    """Resume after a pause.

    Raises:
        NotFoundError: no such experiment.
        ConflictError: it is final.
    """
    return _switch(session, experiment_id, "paused", "running", "experiment_resumed")


def _switch(
    session: Session, experiment_id: str, before: ExperimentState, after: ExperimentState, kind: EventKind
) -> Experiment:
    experiment = lock_experiment(session, experiment_id)
    if experiment.state == before:
        experiment.state, experiment.reason = after, ""
        record(session, kind, kind.removeprefix("experiment_"), experiment_id=experiment.id)
    elif experiment.state != after:
        raise ConflictError(f"experiment {experiment_id} has ended already: {experiment.state}")
    return experiment


def cancel_experiment(session: Session, experiment_id: str) -> Experiment:
    """Cancel it and its open trials; workers learn of it at their next renewal.

    Raises:
        NotFoundError: no such experiment.
        ConflictError: it has succeeded or failed already.
    """
    experiment = lock_experiment(session, experiment_id)
    if experiment.state in ("running", "paused"):
        _end(session, experiment, "cancelled")
        record(session, "experiment_cancelled", "cancelled", experiment_id=experiment.id)
    elif experiment.state != "cancelled":
        raise ConflictError(f"experiment {experiment_id} has ended already: {experiment.state}")
    return experiment


def succeed_experiment(session: Session, experiment: Experiment, message: str) -> None:
    """End an experiment whose row is locked with what its log says of the result."""
    _end(session, experiment, "succeeded")
    record(session, "experiment_succeeded", message, experiment_id=experiment.id)


def fail_experiment(session: Session, experiment: Experiment, reason: str) -> None:
    """End an experiment whose row is locked with the reason why it failed."""
    _end(session, experiment, "failed", reason)
    record(session, "experiment_failed", reason, experiment_id=experiment.id, level="error")


def pause_to_ask(session: Session, experiment: Experiment, question: str) -> None:
    """Pause an experiment whose row is locked until its user has decided."""
    experiment.state, experiment.reason = "paused", question
    record(session, "experiment_paused", "paused until its user decides", experiment_id=experiment.id)


def _end(session: Session, experiment: Experiment, state: ExperimentState, reason: str = "") -> None:
    """Set a final state, and cancel what is still open."""
    experiment.state = state
    experiment.reason = reason
    experiment.finished_at = read_clock(session)
    session.flush()
    cancel_open_trials(session, experiment.id)


def delete_part(session: Session, experiment_id: str) -> bool:
    """Delete some trials of a final experiment with all that belongs to them, or, where none is left, the experiment.

    Its id is kept, so that its files can be removed. Returns whether there is more to delete.

    Raises:
        NotFoundError: no such experiment.
        ConflictError: it is not final.
    """
    experiment = lock_experiment(session, experiment_id)
    if experiment.state not in FINAL_EXPERIMENT_STATES:
        raise ConflictError(f"experiment {experiment_id} is {experiment.state}; cancel it first")
    some = session.scalars(select(Trial.id).where(Trial.experiment_id == experiment_id).limit(_DELETED_AT_ONCE)).all()
    if some:
        session.execute(delete(Event).where(Event.trial_id.in_(some)))
        session.execute(delete(Trial).where(Trial.id.in_(some)))
        return True
    session.execute(delete(Experiment).where(Experiment.id == experiment_id))
    session.add(DeletedExperiment(id=experiment_id))
    return False


def delete_experiment(database: Database, experiment_id: str) -> None:
    """Delete a final experiment, in many transactions with pauses between them: leases must not wait for it.

    Raises as `delete_part`. Where it was interrupted, it is repeated.
    """
    is_more = True
    while is_more:
        began_at = time.monotonic()
        with database.write() as session:
            is_more = delete_part(session, experiment_id)
        if is_more:
            time.sleep(time.monotonic() - began_at)


def new_experiment_id() -> str:
    """An id of 13 characters that sorts by time: 45 bits of milliseconds, then 20 random bits."""
    number = (time.time_ns() // 1_000_000 << 20) | secrets.randbits(20)
    return "".join(_ID_ALPHABET[number >> shift & 31] for shift in range(60, -5, -5))


def find_known(session: Session, owner: str, idempotency: Idempotency | None) -> Experiment | None:
    """What an earlier request with this key created, or None.

    Raises:
        ConflictError: the key was used for another request, or in another project.
    """
    if idempotency is None or (known := find_creation(session, owner, idempotency.key)) is None:
        return None
    if known.fingerprint != idempotency.fingerprint:
        raise ConflictError(f"Idempotency-Key {idempotency.key!r} was used for another request")
    found = find_experiment(session, known.experiment_id)
    if found is None:
        raise ConflictError(f"Idempotency-Key {idempotency.key!r} was used for an experiment of another project")
    return found


def find_creation(session: Session, owner: str, key: str) -> IdempotencyKey | None:
    """What an earlier request with this key created, whatever it asked for; forgotten after some days."""
    return session.get(IdempotencyKey, (owner, key))


def remember(session: Session, experiment: Experiment, idempotency: Idempotency | None) -> None:
    """Store what a request created, for `find_known`.

    Raises:
        ConflictError: the key is being used by another request at this moment.
    """
    if idempotency is None:
        return
    session.add(
        IdempotencyKey(
            owner=experiment.owner,
            key=idempotency.key,
            fingerprint=idempotency.fingerprint,
            experiment_id=experiment.id,
        )
    )
    try:
        session.flush()
    except IntegrityError:
        raise ConflictError(
            f"Idempotency-Key {idempotency.key!r} is being used by another request at this moment; repeat this one"
        ) from None
