"""What a step of the lease protocol writes, made from its message: the same for one step and for one among many."""

import secrets
from dataclasses import dataclass
from typing import Any

from paploss.client.numbers import percent
from paploss.client.states import Outcome, TrialState
from paploss.controller.store.events import Line
from paploss.jobs.documents import JsonObject
from paploss.jobs.lease import ClaimRequest, ReleaseRequest, RenewRequest, ResultRequest
from paploss.jobs.spec import JobKind, JobResult

_JUST_SECONDS = 1.0


@dataclass(frozen=True)
class Grant:
    """A claim that was granted, with what the job is made from: the columns `GRANTED` of the statements."""

    trial_id: str
    experiment_id: str
    number: int
    """The trial's, within its experiment."""
    kind: JobKind
    theta: list[float] | None
    loss: JsonObject | None
    seed: int
    learning_rate_factor: float
    plan: JsonObject | None
    length: float
    derived_from: str | None
    prune: list[Any] | None
    attempt: int
    token: str
    spec: JsonObject
    """The request that the experiment came from."""


def claim_values(request: ClaimRequest, lease_seconds: float) -> dict[str, Any]:
    """The fields of the transition `GRANT`, with a new token; the cap of running trials is not checked yet."""
    return {
        "trial_id": request.trial_id,
        "claim": str(request.claim_id),
        "claimant": request.worker.name,
        "new_token": secrets.token_hex(16),
        "lease_seconds": lease_seconds,
        "is_within_cap": False,
    }


def read_grant(row: Any) -> Grant:
    """The grant in a row of the columns `GRANTED`, and of others."""
    names = Grant.__dataclass_fields__
    return Grant(**{name: value for name, value in row._mapping.items() if name in names})


def describe_attempt(request: ClaimRequest, grant: Grant) -> dict[str, Any]:
    """The row of an attempt that begins."""
    worker = request.worker
    return {
        "trial_id": grant.trial_id,
        "number": grant.attempt,
        "claim_id": str(request.claim_id),
        "token": grant.token,
        "worker": worker.name,
        "host": worker.host,
        "device": worker.device,
        "environment": worker.versions,
    }


def renewal_values(request: RenewRequest, lease_seconds: float) -> dict[str, Any]:
    """The fields of the transition `RENEW`."""
    progress = request.progress
    return {
        "trial_id": request.trial_id,
        "fence": request.token,
        "lease_seconds": lease_seconds,
        "reached": progress and progress.iteration,
        "total": progress and progress.total_iterations,
        "its_loss": progress and progress.loss,
    }


def result_values(request: ResultRequest) -> dict[str, Any]:
    """The fields of the transition `REWARD`."""
    result = request.result
    return {
        "trial_id": request.trial_id,
        "fence": request.token,
        "outcome": result.outcome,
        "its_reward": result.reward,
        "has_diverged": result.diverged,
        "its_metrics": result.metrics and result.metrics.model_dump(mode="json"),
        "its_checkpoint": result.checkpoint,
        "took_seconds": result.seconds,
        "reached": result.iterations,
    }


def describe_end(request: ResultRequest, experiment_id: str, worker: str) -> Line:
    """The line of the event log for a result with a reward."""
    result = request.result
    how = " (diverged)" if result.diverged else ""
    return Line(
        "trial_succeeded" if result.outcome == "succeeded" else "trial_pruned",
        f"reward {percent(result.reward or 0)}{how}",
        experiment_id=experiment_id,
        trial_id=request.trial_id,
        worker=worker,
    )


def attempt_end_values(
    request: ResultRequest | ReleaseRequest,
    attempt: int,
    *,
    outcome: Outcome,
    answer: TrialState,
    failure: JobResult | None = None,
) -> dict[str, Any]:
    """The parameters of the statement `END_ATTEMPT`."""
    return {
        "trial": request.trial_id,
        "its_number": attempt,
        "its_outcome": outcome,
        "its_answer": answer,
        "its_error_kind": failure and failure.error_kind,
        "its_error": failure and failure.error,
        "new_tail": request.log_tail or None,
    }


def was_just_seen(unseen_seconds: float | None) -> bool:
    """Whether a worker was heard of a moment ago: to store it again would cost as much as the step itself."""
    # Not where the clock has gone backwards, after a failover to another server.
    return unseen_seconds is not None and 0 <= unseen_seconds < _JUST_SECONDS
