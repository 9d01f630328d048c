"""What tests of the store, the loop and the API share: short ways to ask, and a worker played by hand."""

import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from paploss.client.specs import ComparisonSpec, SearchSpec, TrainingSpec
from paploss.client.states import OPEN_TRIAL_STATES, REWARDED_STATES
from paploss.controller.experiments.creation import create
from paploss.controller.experiments.kinds import KINDS
from paploss.controller.experiments.losses import decode_loss
from paploss.controller.store.database import Database, now
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.tables import Attempt, Experiment, Leader, Round, Trial
from paploss.controller.store.trials import leases, transitions
from paploss.controller.store.trials.proposals import NewTrial
from paploss.jobs.lease import ClaimRequest, ReleaseRequest, RenewRequest, ResultRequest, WorkerInfo
from paploss.jobs.metrics import Metrics
from paploss.jobs.spec import EvaluationEvent, JobResult, ProgressEvent

LEASE_SECONDS = 60.0


def search_spec(**changes: Any) -> SearchSpec:
    """A search of policies, unless `changes` say otherwise."""
    given = {"profile": "synthetic", "algorithm": "ppo", "rounds": 3, "trials_per_round": 4, "screen": False}
    return SearchSpec.model_validate(given | changes)


def training_spec(kind: str = "training", **changes: Any) -> TrainingSpec | ComparisonSpec:
    losses = [{"label": "published", "preset": "retinanet"}, {"label": "start", "preset": "identity"}]
    model = ComparisonSpec if kind == "comparison" else TrainingSpec
    return model.model_validate({"profile": "synthetic", "losses": losses, **changes})


def add_training(database: Database, **changes: Any) -> Experiment:
    with database.write() as session:
        return create(session, training_spec(**changes), "ann")


def add_trial(database: Database, **changes: Any) -> str:
    """Id of the one trial of a new training request."""
    search = add_training(database, losses=[{"label": "start", "preset": "identity"}], **changes)
    return f"{search.id}-000000"


def add_search(database: Database, **changes: Any) -> Experiment:
    with database.write() as session:
        return create(session, search_spec(**changes), "ann")


def new_proxy(index: int, **changes: Any) -> NewTrial:
    """A proxy of the first version, as a search proposes it."""
    spec, theta = search_spec(), [0.5] * 41
    plan = KINDS["search"].plan(spec, "proxy")
    given = {"kind": "proxy", "loss": decode_loss(spec, theta), "seed": 0, "plan": plan, "theta": theta, "round": 0}
    return NewTrial(**given | {"index": index} | changes)


def claim(database: Database, trial_id: str, claim_id: uuid.UUID | None = None, worker: str = "w1") -> str:
    """The token of the granted lease."""
    request = ClaimRequest(claim_id=claim_id or uuid.uuid4(), trial_id=trial_id, worker=WorkerInfo(name=worker))
    with database.write() as session:
        return leases.claim(session, request, LEASE_SECONDS).token


def do_at_once(database: Database, do: Callable[[Session], object], times: int = 4) -> tuple[list[Any], list[str]]:
    """As many transactions as there are times, begun at the same moment: what they return, and the refusals."""
    done, refused = [], []
    barrier = threading.Barrier(times)

    def compete() -> None:
        with database.read() as session:  # connected before they begin
            session.execute(select(now()))
            barrier.wait()
        try:
            with database.write() as session:
                done.append(do(session))
        except ConflictError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=compete) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done, refused


def claim_at_once(database: Database, trial_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Claims by as many threads at the same moment: the tokens of what is granted, and the refusals."""
    granted, refused = [], []
    barrier = threading.Barrier(len(trial_ids))

    def compete(trial_id: str) -> None:
        barrier.wait()
        try:
            granted.append(claim(database, trial_id))
        except ConflictError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=compete, args=(trial_id,)) for trial_id in trial_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return granted, refused


def renew(database: Database, trial_id: str, token: str, iteration: int = 1, **more: Any) -> str:
    progress = ProgressEvent(iteration=iteration, total_iterations=20)
    request = RenewRequest(trial_id=trial_id, token=token, progress=progress, **more)
    with database.write() as session:
        return leases.renew(session, request, LEASE_SECONDS)


def finish(database: Database, trial_id: str, token: str, result: JobResult) -> str:
    with database.write() as session:
        return leases.finish(session, ResultRequest(trial_id=trial_id, token=token, result=result))


def release(database: Database, trial_id: str, token: str, reason: str) -> str:
    with database.write() as session:
        request = ReleaseRequest.model_validate({"trial_id": trial_id, "token": token, "reason": reason})
        return leases.release(session, request)


def expire(database: Database, trial_id: str) -> str | None:
    """Let the lease's time pass, and have it noticed."""
    pass_lease(database, trial_id)
    with database.write() as session:
        return transitions.expire(session, trial_id)


def pass_lease(database: Database, trial_id: str) -> None:
    with database.write() as session:
        session.execute(update(Trial).where(Trial.id == trial_id).values(lease_until=now() - 1))


def pass_grace(database: Database) -> None:
    """Let the time pass in which a new leader expires nothing."""
    with database.write() as session:
        session.execute(update(Leader).values(acquired_at=now() - 2 * LEASE_SECONDS))


def pass_term(database: Database) -> None:
    """Let the leader's term run out."""
    with database.write() as session:
        session.execute(update(Leader).values(expires_at=now() - 1))


def trial(database: Database, trial_id: str) -> Trial:
    with database.read() as session:
        return session.get_one(Trial, trial_id)


def search(database: Database, experiment_id: str) -> Experiment:
    with database.read() as session:
        return session.get_one(Experiment, experiment_id)


def attempts(database: Database, trial_id: str) -> list[Attempt]:
    with database.read() as session:
        return list(session.scalars(select(Attempt).where(Attempt.trial_id == trial_id).order_by(Attempt.number)))


def succeeded(reward: float = 0.25, **more: Any) -> JobResult:
    return JobResult(outcome="succeeded", reward=reward, metrics=metrics(reward), seconds=2.0, **more)


def failed(kind: str = "crash", error: str = "it broke") -> JobResult:
    return JobResult.model_validate({"outcome": "failed", "error_kind": kind, "error": error})


def metrics(ap: float) -> Metrics:
    return Metrics(ap=ap, ap50=ap, ap75=ap, ap_small=-1, ap_medium=ap, ap_large=ap, per_class={"dot": ap})


def evaluation(iteration: int, ap: float) -> EvaluationEvent:
    return EvaluationEvent(iteration=iteration, total_iterations=20, metrics=metrics(ap))


_AGREED_OF_TRIAL = [
    "number",
    "kind",
    "label",
    "round",
    "index",
    "consumed_round",
    "theta",
    "seed",
    "learning_rate_factor",
    "state",
    "reward",
    "diverged",
]
_AGREED_OF_ROUND = ["number", "state", "centre", "spread", "proposed", "mean_reward", "best_reward", "rewards"]


def outcome(database: Database, experiment_id: str) -> dict[str, Any]:
    """Everything about a search that two runs of the same request must agree in, row by row."""
    with database.read() as session:
        found = session.get_one(Experiment, experiment_id)
        trials = session.scalars(select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.number)).all()
        rounds = session.scalars(select(Round).where(Round.experiment_id == experiment_id).order_by(Round.number)).all()
    return {
        "state": found.state,
        "best": found.best,
        "trials": [{name: getattr(trial, name) for name in _AGREED_OF_TRIAL} for trial in trials],
        "rounds": [{name: getattr(row, name) for name in _AGREED_OF_ROUND} for row in rounds],
    }


def check_ended(database: Database, experiment_id: str) -> None:
    """Of a search that has ended: no trial was lost, none counted twice, and nothing is open."""
    with database.read() as session:
        found = session.get_one(Experiment, experiment_id)
        trials = session.scalars(select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.number)).all()
        rounds = session.scalars(select(Round).where(Round.experiment_id == experiment_id).order_by(Round.number)).all()
    assert [trial.number for trial in trials] == list(range(found.next_number))
    assert not [trial.id for trial in trials if trial.state in OPEN_TRIAL_STATES]
    for trial in trials:
        tries = attempts(database, trial.id)
        assert [one.number for one in tries] == list(range(1, trial.attempt + 1))
        outcomes = [one.outcome for one in tries]
        assert None not in outcomes, (trial.id, outcomes)
        counted = [one for one in outcomes if one in REWARDED_STATES]
        assert counted == ([trial.state] if trial.reward is not None else []), (trial.id, outcomes)
    for closed in (row for row in rounds if row.closed_at is not None):
        consumed = [t for t in trials if t.consumed_round == closed.number and t.reward is not None]
        assert len(consumed) == closed.rewards


def waits_for_a_lock(session: Session) -> bool:
    """Whether somebody waits for another transaction; PostgreSQL alone."""
    return bool(session.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())
