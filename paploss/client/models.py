"""What the API answers with. Imports no web framework: the client reads its replies with the same models.

Times are RFC 3339 in UTC. AP and rewards are fractions in [0, 1]; only people are shown percent.
"""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from paploss.client.specs import SearchSpec, TrainingSpec
from paploss.client.states import Outcome, Role, SearchState, Stage, TrialState
from paploss.jobs.lease import GpuUse
from paploss.jobs.losses import LossSpec
from paploss.jobs.spec import JobKind, Metrics

Item = TypeVar("Item")

SearchFigure = Literal["rewards", "functions", "policy", "importance", "gpus"]
TrialFigure = Literal["learning", "functions", "breakdown"]
Theme = Literal["light", "dark"]
Figure = dict[str, Any]
"""What plotly.js draws: {"data": [...], "layout": {...}}."""


class Page(BaseModel, Generic[Item]):
    """A part of a list. Ask again with `cursor=next_cursor` for the next one; null on the last."""

    items: list[Item]
    next_cursor: str | None = None


class Run(BaseModel):
    """What a search and a training request have in common."""

    id: str
    name: str
    owner: str = Field(description="name of the API key that asked")
    state: SearchState
    stage: Stage
    reason: str = Field(description="why it failed; empty otherwise")
    profile: str
    gpus: int = Field(description="GPUs of one trial")
    priority: int
    trials: dict[TrialState, int] = Field(description="how many trials are in each state")
    trials_planned: int = Field(description="how many there will be, as far as is known now")
    trials_final: int
    best_ap: float | None = Field(description="confirmed mean if there is one, else the best single reward")
    seconds_left: float | None = Field(description="estimate from the pace of the last trials; null if unknown")
    created_at: datetime
    finished_at: datetime | None


class SearchSummary(Run):
    """One search in the list."""

    round: int = Field(description="rounds closed so far")
    rounds: int = Field(description="rounds asked for")
    confirmed: bool = Field(description="whether best_ap was measured again with fresh seeds")


class SearchDetail(SearchSummary):
    """One search."""

    spec: SearchSpec


class TrainingSummary(Run):
    """One training request in the list."""

    kind: Literal["compare", "final"]


class LabelResult(BaseModel):
    """The rewards of one loss, or of one candidate of a search, over its seeds."""

    label: str
    rewards: list[float]
    planned: int
    mean: float | None
    spread: float | None = Field(description="standard deviation over the seeds; null below two")


class TrainingDetail(TrainingSummary):
    """One training request with its results by loss."""

    spec: TrainingSpec
    results: list[LabelResult]


class Best(BaseModel):
    """The best loss of a search. Until it is confirmed, that of its best single trial."""

    search_id: str
    confirmed: bool
    ap: float = Field(description="mean over the confirming seeds, or the reward of the one trial")
    source: str = Field(description="mean (of the last policy) or the trial's id")
    loss: LossSpec
    report: dict[str, Any] | None = Field(description="every candidate with its confirmations, once confirmed")


class RoundSummary(BaseModel):
    """A policy version: number 0 is the start; number t + 1 is what the update that closed round t made of it."""

    number: int
    mu: list[float]
    sigma: float
    proposed: int
    mean_reward: float | None
    best_reward: float | None
    rewards: int | None = Field(description="how many rewards the update consumed")
    created_at: datetime
    closed_at: datetime | None


class TrialSummary(BaseModel):
    """One trial in the list."""

    id: str
    search_id: str
    number: int
    kind: JobKind
    label: str = Field(description="which candidate or loss; empty for a proxy")
    round: int | None
    seed: int
    learning_rate_factor: float = Field(description="on the rate of the profile, or of the overrides")
    state: TrialState
    reward: float | None = Field(description="COCO AP; 0 if the training diverged")
    diverged: bool
    worker: str | None
    attempts: int
    failed_attempts: int
    preemptions: int
    iteration: int
    total_iterations: int | None
    seconds: float | None = Field(description="training and evaluation, over all attempts")
    error_kind: str | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class AttemptSummary(BaseModel):
    """One try to run a trial."""

    number: int
    worker: str
    host: str
    device: str
    environment: dict[str, str]
    resumed_iteration: int
    claimed_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    outcome: Outcome | None = Field(description="null while it runs")
    error_kind: str | None
    error: str | None
    log_tail: str


class EvaluationSummary(BaseModel):
    """An AP measured during a training."""

    iteration: int
    total_iterations: int
    metrics: Metrics


class LateResultSummary(BaseModel):
    """A result that came after another attempt had claimed the trial, or after its end. It does not count."""

    attempt: int
    outcome: Literal["succeeded", "pruned", "failed"]
    reward: float | None
    error: str | None
    at: datetime


class TrialDetail(TrialSummary):
    """One trial with its loss, its learning curve and its attempts."""

    theta: list[float] | None
    loss: LossSpec
    metrics: Metrics | None
    progress_loss: float | None = Field(description="training loss as last reported")
    checkpoint: str | None
    evaluations: list[EvaluationSummary]
    attempt_list: list[AttemptSummary]
    late_results: list[LateResultSummary]


class LogLine(BaseModel):
    """A line of the event log."""

    id: int
    search_id: str | None
    trial_id: str | None
    kind: str
    level: Literal["info", "warning", "error"]
    message: str
    at: datetime


class WorkerSummary(BaseModel):
    """A worker as it last introduced itself, and what it does."""

    name: str
    host: str
    device: str
    gpus: int
    versions: dict[str, str]
    live: bool = Field(description="seen within one lease time, at the queue or here")
    trial_id: str | None
    search_id: str | None
    iteration: int | None
    total_iterations: int | None
    gpu_use: list[GpuUse] = Field(description="of its GPUs, as of the last renewal; empty while it waits")
    first_seen_at: datetime | None = Field(description="its first claim; null before that")
    last_seen_at: datetime


class Check(BaseModel):
    """One condition for serving; `workers`, what keeps elastic ones from starting, decides nothing about readiness."""

    name: Literal["database", "redis", "leader", "workers"]
    ok: bool
    detail: str = Field(description="empty where anybody may ask")


class Readiness(BaseModel):
    """Whether the controller can do its work."""

    ready: bool
    checks: list[Check]


class Status(BaseModel):
    """The platform at a glance, for programs."""

    version: str
    readiness: Readiness
    searches: dict[SearchState, int] = Field(description="searches and training requests in each state")
    trials: dict[TrialState, int] = Field(description="trials of running and paused searches in each state")
    workers_live: int
    workers_busy: int


class KeyRequest(BaseModel):
    """Make an API key."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    role: Role


class KeySummary(BaseModel):
    """An API key, without the key."""

    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None


class NewKey(KeySummary):
    """A key just made: the only time it is shown."""

    key: str
