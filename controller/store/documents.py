"""The documents in the tables' JSON columns."""

from typing import Final, Literal

from pydantic import Field

from paploss.client.documents import SPEC
from paploss.client.notifications import Occasion
from paploss.client.start import EarlierSearch
from paploss.client.states import ExperimentKind, ExperimentState
from paploss.client.verdict import Verdict
from paploss.jobs.analysis import MOST_PICTURES, AnalysisSummary, KeptPicture
from paploss.jobs.documents import Schema
from paploss.jobs.losses import LossSpec
from paploss.jobs.messages import Message
from paploss.jobs.metrics import Metrics
from paploss.jobs.spec import Count, JobResult, Overrides, Timeout


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


class ConfirmedLoss(Message):
    """A loss that a search has confirmed: its rewards over the same fresh seeds as the others'."""

    label: str
    rewards: dict[int, float]  # by seed
    mean: float | None
    standard_error: float | None
    learning_rate_factor: float = 1.0


class Outcome(Message):
    """The result of a search, stored as `Experiment.best`: the best of what it found, and the verdict on it."""

    label: str  # the chosen candidate: `mean`, the algorithm's best guess, or `trial N`, the sample of that number
    loss: LossSpec
    theta: tuple[float, ...]
    learning_rate_factor: float = 1.0  # on the rate of the request, which the search may have searched
    mean: float
    standard_error: float | None
    interval: tuple[float, float] | None  # 95 % of the mean
    count: int
    schedule: str  # what the confirmations were trained with: proxy or final
    candidates: tuple[ConfirmedLoss, ...]
    identity: ConfirmedLoss
    published: ConfirmedLoss | None
    rivals: tuple[ConfirmedLoss, ...] = ()
    verdict: Verdict | None = None  # which loss to use, a rival where it wins; none before version 0.2.0


class Notice(Message):
    """What happened to an experiment, as subscribers are told it: enough to be sent when the experiment is gone."""

    occasion: Occasion | Literal["test"]
    at: float
    message: str
    experiment_id: str | None = None
    kind: ExperimentKind | None = None
    name: str = ""
    state: ExperimentState | None = None


class KeptPictures(Message):
    """The pictures of a trial."""

    pictures: tuple[KeptPicture, ...] = Field(max_length=MOST_PICTURES)


__all__ = [
    "EARLIER",
    "LOSS",
    "METRICS",
    "NOTICE",
    "OUTCOME",
    "PICTURES",
    "PLAN",
    "RESULT",
    "SPEC",
    "SUMMARY",
    "ConfirmedLoss",
    "KeptPictures",
    "Notice",
    "Outcome",
    "TrialPlan",
]

PLAN: Final[Schema[TrialPlan]] = Schema("the plan of the trial", TrialPlan)
LOSS: Final[Schema[LossSpec]] = Schema("the loss", LossSpec)
RESULT: Final[Schema[JobResult]] = Schema("the result", JobResult)
METRICS: Final[Schema[Metrics]] = Schema("the metrics", Metrics)
OUTCOME: Final[Schema[Outcome]] = Schema("the outcome of the search", Outcome)
NOTICE: Final[Schema[Notice]] = Schema("the notice", Notice)
EARLIER: Final[Schema[EarlierSearch]] = Schema("what is taken from an earlier search", EarlierSearch)
SUMMARY: Final[Schema[AnalysisSummary]] = Schema("the analysis", AnalysisSummary)
PICTURES: Final[Schema[KeptPictures]] = Schema("the pictures", KeptPictures)
