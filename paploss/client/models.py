"""What the API answers with. Imports no web framework: the client reads its replies with the same models.

Times are RFC 3339 in UTC. APs and rewards are fractions in [0, 1]; only people are shown percent.
"""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from paploss.client.projects import DEFAULT_PROJECT, ProjectName
from paploss.client.states import ExperimentKind, ExperimentState, Outcome, Role, Stage, TokenRole, TrialState
from paploss.jobs.lease import GpuUse
from paploss.jobs.losses import LossSpec
from paploss.jobs.metrics import Metrics
from paploss.jobs.spec import JobKind

Item = TypeVar("Item")

ExperimentFigure = Literal[
    "rewards",
    "functions",
    "policy",
    "importance",
    "gpus",
    "parallel",
    "scatter",
    "comparison",
    "precision_recall",
    "error_costs",
]
ComparedFigure = Literal["best_so_far", "functions"]
Spent = Literal["trainings", "hours", "gpu_hours"]
TrialFigure = Literal["learning", "functions", "breakdown", "precision_recall", "error_costs"]
Theme = Literal["light", "dark"]
Figure = dict[str, Any]
"""What plotly.js draws: {"data": [...], "layout": {...}}."""


class Page(BaseModel, Generic[Item]):
    """A part of a list. Ask again with `cursor=next_cursor` for the next one; null on the last."""

    items: list[Item]
    next_cursor: str | None = None


class ExperimentSummary(BaseModel):
    """One experiment in the list."""

    id: str
    kind: ExperimentKind
    name: str
    owner: str = Field(description="name of the API key that asked")
    state: ExperimentState
    stage: Stage
    reason: str = Field(description="why it failed; empty otherwise")
    profile: str
    dataset: str = Field("", description="its name")
    gpus: int = Field(description="GPUs of one trial")
    priority: int
    round: int = Field(description="search: rounds closed so far")
    rounds: int | None = Field(description="search: rounds asked for; null for the other kinds")
    trials: dict[TrialState, int] = Field(description="how many trials are in each state")
    trials_planned: int = Field(description="how many there will be, as far as is known now")
    trials_final: int
    metric: str = Field("AP", description="name of what is maximised or compared; rewards and best_ap are of it")
    best_ap: float | None = Field(description="confirmed mean or mean of a loss if there is one, else the best reward")
    confirmed: bool = Field(description="search: whether best_ap was measured again with fresh seeds")
    seconds_left: float | None = Field(description="estimate from the pace of the last trials; null if unknown")
    created_at: datetime
    finished_at: datetime | None
    tags: list[str] = []
    archived: bool = Field(False, description="hidden from lists")
    project: str = DEFAULT_PROJECT


class LabelResult(BaseModel):
    """The rewards of one loss, or of one candidate of a search, over its seeds."""

    label: str
    rewards: list[float]
    planned: int = Field(description="trials that have been proposed so far")
    mean: float | None
    spread: float | None = Field(description="standard deviation over the seeds; null below two")


class TrialsOfLength(BaseModel):
    """Proxies of one length."""

    length: float = Field(description="share of their schedule that they train")
    trials: int = Field(description="proposed so far")
    succeeded: int


class ExperimentDetail(ExperimentSummary):
    """One experiment."""

    spec: dict[str, Any] = Field(
        description="the request; one of another version may have fields that this one has not"
    )
    note: str = Field("", description="Markdown, by people")
    worker_hours: float = Field(0.0, description="of all its trials so far, ended in any way; times gpus: GPU-hours")
    results: list[LabelResult] = Field(description="by loss, or by candidate of a search; the best mean first")
    lengths: list[TrialsOfLength] = Field([], description="search: its proxies by length; empty where all are whole")


class Best(BaseModel):
    """The best loss of a search. Until it is confirmed, that of its best single trial."""

    experiment_id: str
    confirmed: bool
    metric: str = Field("AP", description="name of what the search maximises")
    ap: float = Field(description="of that metric: mean over the confirming seeds, or the reward of the one trial")
    source: str = Field(description="mean (the algorithm's best guess) or the trial's id")
    loss: LossSpec
    learning_rate_factor: float = Field(1.0, description="on the rate of the profile, or of the overrides")
    report: dict[str, Any] | None = Field(description="every candidate with its confirmations, once confirmed")


class RoundSummary(BaseModel):
    """A version of the algorithm: number 0 is the start; number t + 1 is what the update that closed round t made."""

    number: int
    centre: list[float] | None = Field(description="where it proposes from; null where it has no such thing")
    spread: float | None = Field(description="scale around the centre")
    proposed: int
    screened_out: int = Field(0, description="losses left out as hopeless before these trials")
    mean_reward: float | None
    best_reward: float | None
    rewards: int | None = Field(description="how many rewards the update consumed")
    created_at: datetime
    closed_at: datetime | None


class TrialSummary(BaseModel):
    """One trial in the list."""

    id: str
    experiment_id: str
    number: int
    kind: JobKind
    label: str = Field(description="which candidate or loss; empty for a proxy")
    round: int | None
    seed: int
    learning_rate_factor: float = Field(description="on the rate of the profile, or of the overrides")
    length: float = Field(1.0, description="share of its schedule that it trains")
    continues: str | None = Field(None, description="id of the shorter trial that it carries on")
    state: TrialState
    reward: float | None = Field(description="of the experiment's metric; 0 if the training diverged")
    diverged: bool
    worker: str | None
    attempts: int
    failed_attempts: int
    preemptions: int
    iteration: int
    total_iterations: int | None
    seconds: float | None = Field(
        description="training and evaluation, over all attempts, and of the trial that it carries on"
    )
    error_kind: str | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    tags: list[str] = []


class AttemptSummary(BaseModel):
    """One try to run a trial."""

    number: int
    worker: str
    host: str
    device: str
    environment: dict[str, str]
    warnings: list[str] = Field([], description="what is doubtful in the data set")
    resumed_iteration: int
    claimed_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    outcome: Outcome | None = Field(description="null while it runs")
    error_kind: str | None
    error: str | None
    log_tail: str


class EvaluationSummary(BaseModel):
    """What was measured during a training."""

    iteration: int
    total_iterations: int
    metrics: Metrics
    reward: float | None = Field(None, description="of the experiment's metric")


class LateResultSummary(BaseModel):
    """A result that came after another attempt had claimed the trial, or after its end. It does not count."""

    attempt: int
    outcome: Literal["succeeded", "pruned", "failed"]
    reward: float | None
    error: str | None
    at: datetime


class TrialDetail(TrialSummary):
    """One trial with its loss, its learning curve and its attempts."""

    note: str = Field("", description="Markdown, by people")
    theta: list[float] | None
    loss: LossSpec | None = Field(description="null where the controller is of another version and cannot read it")
    metrics: Metrics | None
    progress_loss: float | None = Field(description="training loss as last reported")
    checkpoint: str | None
    evaluations: list[EvaluationSummary]
    attempt_list: list[AttemptSummary] = Field(description="the newest 100")
    late_results: list[LateResultSummary] = Field(description="the newest 100")


class LogLine(BaseModel):
    """A line of the event log."""

    id: int
    experiment_id: str | None
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
    experiment_id: str | None
    iteration: int | None
    total_iterations: int | None
    gpu_use: list[GpuUse] = Field(description="of its GPUs, as of the last renewal; empty while it waits")
    first_seen_at: datetime | None = Field(description="its first claim; null before that")
    last_seen_at: datetime


class Check(BaseModel):
    """One part; `redis`, and `workers`, what keeps elastic ones from starting, decide nothing about readiness."""

    name: Literal["database", "redis", "leader", "workers"]
    ok: bool
    detail: str = Field(description="empty where anybody may ask")


class Readiness(BaseModel):
    """Whether the controller can serve, and what works."""

    ready: bool
    checks: list[Check]


class Status(BaseModel):
    """The platform at a glance, for programs."""

    version: str
    readiness: Readiness
    experiments: dict[ExperimentState, int] = Field(description="experiments in each state")
    trials: dict[TrialState, int] = Field(description="trials of running and paused experiments in each state")
    workers_live: int
    workers_busy: int


class KeyRequest(BaseModel):
    """Make an API key."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    role: Role
    project: ProjectName | None = Field(
        DEFAULT_PROJECT, description="whose experiments it is for; null: all, as always for administrators and workers"
    )


class KeySummary(BaseModel):
    """An API key, without the key."""

    name: str
    role: Role
    project: str | None = Field(None, description="null: all")
    created_at: datetime
    revoked_at: datetime | None


class TokenRequest(BaseModel):
    """Make a personal access token."""

    name: str = Field(
        min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="what it is for"
    )
    role: TokenRole = Field("viewer", description="what it may do; at most the role of whoever makes it")
    days: int = Field(30, ge=1, le=366, description="how long it is valid")


class TokenSummary(BaseModel):
    """A personal access token, without the token."""

    id: str
    name: str
    owner: str = Field(description="name of the API key, or the person, for whom it stands")
    role: TokenRole
    created_at: datetime
    expires_at: datetime
    expired: bool


class NewToken(TokenSummary):
    """A token just made: the only time it is shown."""

    token: str


class NewKey(KeySummary):
    """A key just made: the only time it is shown."""

    key: str
