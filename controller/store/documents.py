"""The documents in the tables' JSON columns."""

from typing import Final, Literal

from pydantic import Field

from paploss.client.documents import SPEC
from paploss.jobs.documents import Schema
from paploss.jobs.losses import LossSpec
from paploss.jobs.spec import Count, JobResult, Message, Metrics, Overrides, Timeout


class TrialPlan(Message):
    """How a trial trains, fixed when it is proposed; its loss, seed and learning-rate factor are columns.

    What all trials of an experiment share (profile, data set, GPUs) is in the experiment's request.
    """

    schedule: Literal["proxy", "final"]
    overrides: Overrides = Overrides()
    evaluate_split: Literal["val", "test"] = "val"
    prune: bool = Field(False, description="stop it where it is hopeless beside the trials around it")
    timeout_seconds: Timeout | None = None
    max_failed_attempts: Count
    max_preemptions: Count


__all__ = ["LOSS", "METRICS", "PLAN", "RESULT", "SPEC", "TrialPlan"]

PLAN: Final[Schema[TrialPlan]] = Schema("the plan of the trial", TrialPlan)
LOSS: Final[Schema[LossSpec]] = Schema("the loss", LossSpec)
RESULT: Final[Schema[JobResult]] = Schema("the result", JobResult)
METRICS: Final[Schema[Metrics]] = Schema("the metrics", Metrics)
