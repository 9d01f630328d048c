"""Texts that identify jobs and losses.

Checkpoints hold that of their job, and the noise of `synthetic` follows from that of the loss. So both stay as version
0.1.0 wrote them: with the parameters of every loss, empty where a loss has none.
"""

from typing import Any, Final

from pydantic_core import to_json

from paploss.jobs.losses import Loss
from paploss.jobs.spec import JobSpec

_LEFT_OUT: Final[dict[str, Any]] = {
    "trial_id": True,
    "timeout_seconds": True,
    "prune": True,
    "reward": True,
    "length": True,
    "continues": True,
    "dataset": {"check_files"},
}
"""What may differ between attempts at the same training, and between the trials that carry it on."""


def job_fingerprint(spec: JobSpec) -> str:
    """What must be equal for a checkpoint to be continued: the job without its name, length, limits and checks."""
    return to_json(spec.model_dump(exclude=_LEFT_OUT) | {"loss": _in_full(spec.loss)}).decode()


def loss_fingerprint(loss: Loss) -> str:
    """The loss with all its parameters."""
    return to_json(_in_full(loss)).decode()


def _in_full(loss: Loss) -> dict[str, Any]:
    return {"name": loss.name, "heads": {}, "form": None, "top_k": None} | loss.model_dump()
