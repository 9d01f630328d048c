"""The tables.

An experiment owns trials; a trial is tried in attempts. Tables and columns keep the names that they had in version
0.1.0, where an experiment of any kind was called a search, so that a replica of that version works on them during an
upgrade. All times are seconds since 1970 by the database's clock; AP and rewards are fractions in [0, 1].
"""

from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from paploss.client.notifications import Channel, DeliveryState, Occasion
from paploss.client.projects import DEFAULT_PROJECT
from paploss.client.states import ExperimentKind, ExperimentState, Outcome, Role, Stage, TokenRole, TrialState
from paploss.controller.store.database import now
from paploss.jobs.documents import JsonObject
from paploss.jobs.spec import JobKind
from paploss.jobs.thumbnails import LONGEST_TEXT

RowId = BigInteger().with_variant(Integer, "sqlite")  # only an INTEGER key counts up by itself in SQLite

_PROJECT_OR_ALL = String(63).evaluates_none()  # None is stored as such, and is not the server's default


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {JsonObject: JSON, list[float]: JSON, list[str]: JSON, float: Float, str: Text}  # noqa: RUF012


class Project(Base):
    """Whose experiments are seen together, and what they may use. There is always one of the name DEFAULT_PROJECT."""

    __tablename__ = "projects"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    data_roots: Mapped[list[Any]] = mapped_column(JSON)  # texts: folders within the operator's; none: all of those
    max_running_trials: Mapped[int | None]  # at once; None: no limit
    gpu_hours: Mapped[float | None]  # in all; None: no limit
    created_at: Mapped[float] = mapped_column(default=now())


class Experiment(Base):
    """A search, a comparison or trainings: see `paploss.controller.experiments`."""

    __tablename__ = "searches"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # sorts by time of creation
    kind: Mapped[ExperimentKind] = mapped_column(String(16))
    name: Mapped[str]
    owner: Mapped[str]  # name of the API key that created it
    state: Mapped[ExperimentState] = mapped_column(String(16), default="running")
    stage: Mapped[Stage] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(default="")  # why it failed or paused, for people
    spec: Mapped[JsonObject]  # paploss.client.specs.ExperimentSpec, versioned
    profile: Mapped[str]
    dataset: Mapped[str | None]  # its name; None where version 0.1.0 has stored it
    gpus: Mapped[int]  # of one trial: the resource class
    priority: Mapped[int]
    max_running_trials: Mapped[int | None]
    rounds: Mapped[int | None]  # search: how many were asked for
    planned: Mapped[int | None]  # total number of trials; None where version 0.1.0 has stored it
    round: Mapped[int] = mapped_column(default=0)  # search: updates done, the number of the newest version
    next_number: Mapped[int] = mapped_column(default=0)  # number of the next trial
    # search: what it takes from earlier ones, paploss.client.start.EarlierSearch, fixed when it is created
    earlier: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), deferred=True)
    best: Mapped[JsonObject | None] = mapped_column(JSON(none_as_null=True))  # documents.Outcome, once confirmed
    created_at: Mapped[float] = mapped_column(default=now())
    finished_at: Mapped[float | None]
    note: Mapped[str] = mapped_column(default="", server_default=text("''"))  # Markdown, by people
    tags: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))  # sorted
    archived_at: Mapped[float | None]  # hidden from lists since; only what has ended is
    project: Mapped[str] = mapped_column(String(63), default=DEFAULT_PROJECT, server_default=text("'default'"))

    __table_args__ = (
        Index("ix_searches_state", "state"),
        Index("ix_searches_kind", "kind", "id"),
        Index("ix_searches_project", "project", "id"),
    )


class Round(Base):
    """A version of a search's algorithm: 0 is the start; t + 1 is the result of the update that closed round t."""

    __tablename__ = "rounds"

    experiment_id: Mapped[str] = mapped_column(
        "search_id", ForeignKey("searches.id", ondelete="CASCADE"), key="experiment_id", primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[JsonObject | None] = mapped_column(JSON(none_as_null=True))  # the algorithm's own, with its name
    centre: Mapped[list[float] | None] = mapped_column("mu", JSON(none_as_null=True), key="centre")  # [D], for drawing
    spread: Mapped[float | None] = mapped_column("sigma", key="spread")
    proposed: Mapped[int] = mapped_column(default=0)  # trials that this version proposed, replacements included
    screened_out: Mapped[int] = mapped_column(default=0, server_default=text("0"))  # losses left out before them
    mean_reward: Mapped[float | None]  # of the trials that the update closing this round consumed
    best_reward: Mapped[float | None]
    rewards: Mapped[int | None]  # how many those were
    created_at: Mapped[float] = mapped_column(default=now())
    closed_at: Mapped[float | None]


class Trial(Base):
    """One theta, or one given loss, with one seed: one training. See the state table in ARCHITECTURE.md."""

    __tablename__ = "trials"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # the experiment's id and a number
    experiment_id: Mapped[str] = mapped_column(
        "search_id", ForeignKey("searches.id", ondelete="CASCADE"), key="experiment_id"
    )
    number: Mapped[int]  # counts up within the experiment, over all kinds
    kind: Mapped[JobKind] = mapped_column(String(16))
    label: Mapped[str] = mapped_column(default="")  # confirm and trainings: which candidate or loss
    round: Mapped[int | None]  # proxy: the version of the algorithm that proposed it
    index: Mapped[int | None]  # proxy: which of that version's samples
    consumed_round: Mapped[int | None]  # proxy: the version whose update made use of its reward
    theta: Mapped[list[float] | None] = mapped_column(JSON(none_as_null=True))  # [D] in [0, 1]
    # What it trains with, fixed when it is proposed. Version 0.1.0 left the loss to theta and the plan to the request.
    loss: Mapped[JsonObject | None] = mapped_column(JSON(none_as_null=True))  # paploss.jobs.losses.LossSpec
    seed: Mapped[int]
    plan: Mapped[JsonObject | None] = mapped_column(JSON(none_as_null=True))  # documents.TrialPlan
    length: Mapped[float] = mapped_column(default=1.0, server_default=text("1.0"))  # share of its schedule
    derived_from: Mapped[str | None] = mapped_column(String(64))  # the shorter trial that it continues
    learning_rate_factor: Mapped[float] = mapped_column(default=1.0, server_default=text("1.0"))
    prune: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # PrunePoints, fixed by the first claim

    state: Mapped[TrialState] = mapped_column(String(16), default="queued")
    attempt: Mapped[int] = mapped_column(default=0)  # how many there were; the newest one's number
    token: Mapped[str | None] = mapped_column(String(32))  # fencing token: of the one attempt that may still answer
    lease_until: Mapped[float | None]
    worker: Mapped[str | None]
    started_at: Mapped[float | None]  # first renewal of the newest attempt
    failed_attempts: Mapped[int] = mapped_column(default=0)
    preemptions: Mapped[int] = mapped_column(default=0)
    iteration: Mapped[int] = mapped_column(default=0)
    total_iterations: Mapped[int | None]
    progress_loss: Mapped[float | None]

    reward: Mapped[float | None]
    diverged: Mapped[bool] = mapped_column(default=False)
    metrics: Mapped[JsonObject | None] = mapped_column(JSON(none_as_null=True))  # paploss.jobs.metrics.Metrics
    error_kind: Mapped[str | None] = mapped_column(String(16))
    error: Mapped[str | None]
    seconds: Mapped[float | None]  # training and evaluation, over all attempts
    checkpoint: Mapped[str | None]
    created_at: Mapped[float] = mapped_column(default=now())
    finished_at: Mapped[float | None]
    note: Mapped[str] = mapped_column(default="", server_default=text("''"))  # Markdown, by people
    tags: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))  # sorted

    # Nothing that a renewal writes is in an index, so that PostgreSQL updates a leased row in place.
    __table_args__ = (
        UniqueConstraint("experiment_id", "number"),
        UniqueConstraint("experiment_id", "round", "index"),
        Index(
            "ix_trials_derived",  # a trial is promoted once
            "experiment_id",
            "derived_from",
            unique=True,
            postgresql_where=text("derived_from IS NOT NULL"),
            sqlite_where=text("derived_from IS NOT NULL"),
        ),
        Index("ix_trials_state", "experiment_id", "state"),
        Index("ix_trials_round", "experiment_id", "round", "state"),
        Index("ix_trials_reward", "experiment_id", "kind", "reward"),
        Index(
            "ix_trials_queued",
            "experiment_id",
            "number",
            postgresql_where=text("state = 'queued'"),
            sqlite_where=text("state = 'queued'"),
        ),
        Index(
            "ix_trials_running",
            "experiment_id",
            postgresql_where=text("state = 'running'"),
            sqlite_where=text("state = 'running'"),
        ),
        Index(
            "ix_trials_unconsumed",
            "experiment_id",
            "finished_at",
            postgresql_where=text("kind = 'proxy' AND consumed_round IS NULL AND finished_at IS NOT NULL"),
            sqlite_where=text("kind = 'proxy' AND consumed_round IS NULL AND finished_at IS NOT NULL"),
        ),
    )


class Tally(Base):
    """Sums over an experiment's first trials, all of them final; follows from other rows, and is in no dump."""

    __tablename__ = "tallies"

    experiment_id: Mapped[str] = mapped_column(
        "search_id", ForeignKey("searches.id", ondelete="CASCADE"), key="experiment_id", primary_key=True
    )
    until: Mapped[int]  # of the trials with smaller numbers
    sums: Mapped[JsonObject]  # by name; see paploss.controller.store.trials.tallies


class Attempt(Base):
    """One attempt to run a trial, with its fencing token."""

    __tablename__ = "attempts"

    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    claim_id: Mapped[str] = mapped_column(String(36), unique=True)
    token: Mapped[str] = mapped_column(String(32), unique=True)
    worker: Mapped[str]
    host: Mapped[str]
    device: Mapped[str]
    environment: Mapped[JsonObject] = mapped_column(default=dict)  # versions, commit, device of the trainer
    warnings: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # texts: warnings about the data
    resumed_iteration: Mapped[int] = mapped_column(default=0)
    claimed_at: Mapped[float] = mapped_column(default=now())
    started_at: Mapped[float | None]  # its first renewal; without one it is charged to no budget
    ended_at: Mapped[float | None]
    outcome: Mapped[Outcome | None] = mapped_column(String(16))  # None while it runs
    answer: Mapped[TrialState | None] = mapped_column(String(16))  # what its result or release was answered
    error_kind: Mapped[str | None] = mapped_column(String(16))
    error: Mapped[str | None]
    log_tail: Mapped[str] = mapped_column(default="")

    __table_args__ = (Index("ix_attempts_worker", "worker", "claimed_at"),)


class Evaluation(Base):
    """What was measured during a training."""

    __tablename__ = "evaluations"
    __table_args__ = (
        # What a claim queries to set the prune points of its trial: most evaluations are not in it.
        Index(
            "ix_evaluations_midway",
            "trial_id",
            postgresql_where=text("iteration < total_iterations"),
            sqlite_where=text("iteration < total_iterations"),
        ),
    )

    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True)
    iteration: Mapped[int] = mapped_column(primary_key=True)
    total_iterations: Mapped[int]
    ap: Mapped[float]  # of the experiment's metric, whose default it is named after
    metrics: Mapped[JsonObject]  # paploss.jobs.metrics.Metrics
    at: Mapped[float] = mapped_column(default=now())


class Analysis(Base):
    """What the detections of a trial's last evaluation say."""

    __tablename__ = "analyses"

    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True)
    summary: Mapped[JsonObject]  # paploss.jobs.analysis.AnalysisSummary
    # documents.KeptPictures; None where too many trials of the experiment have some, or once they are cleared
    pictures: Mapped[JsonObject | None] = mapped_column(JSON(none_as_null=True), deferred=True)


class Thumbnail(Base):
    """An image that pictures of an experiment's trials show, once for all of them."""

    __tablename__ = "thumbnails"

    experiment_id: Mapped[str] = mapped_column(
        "search_id", ForeignKey("searches.id", ondelete="CASCADE"), key="experiment_id", primary_key=True
    )
    digest: Mapped[str] = mapped_column(String(32), primary_key=True)  # of the JPEG: half of its SHA-256
    jpeg: Mapped[str] = mapped_column(String(LONGEST_TEXT))  # in base64: paploss.jobs.thumbnails.Thumbnail


class LateResult(Base):
    """A result that came after its trial was claimed again or ended: kept for audit, never counted."""

    __tablename__ = "late_results"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"), index=True)
    attempt: Mapped[int]
    result: Mapped[JsonObject]  # paploss.jobs.spec.JobResult
    at: Mapped[float] = mapped_column(default=now())


class Event(Base):
    """A line of the event log. Ids ascend, but under PostgreSQL may briefly become visible out of order."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    experiment_id: Mapped[str | None] = mapped_column(
        "search_id", ForeignKey("searches.id", ondelete="CASCADE"), key="experiment_id"
    )
    trial_id: Mapped[str | None] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))  # e.g. round_closed, trial_failed
    level: Mapped[Literal["info", "warning", "error"]] = mapped_column(String(8), default="info")
    message: Mapped[str]
    at: Mapped[float] = mapped_column(default=now())

    __table_args__ = (Index("ix_events_search", "experiment_id", "id"), Index("ix_events_trial", "trial_id", "id"))


class DeletedExperiment(Base):
    """The id of an experiment that was deleted: its trials' files may be removed.

    Files of an experiment that is unknown to this database may not: after the loss of a database they are all that is
    left.
    """

    __tablename__ = "deleted_searches"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    deleted_at: Mapped[float] = mapped_column(default=now())


class Worker(Base):
    """A worker as it last introduced itself."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    host: Mapped[str]
    gpus: Mapped[int]
    device: Mapped[str]
    versions: Mapped[JsonObject]
    gpu_use: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # paploss.jobs.lease.GpuUse
    first_seen_at: Mapped[float] = mapped_column(default=now())
    last_seen_at: Mapped[float] = mapped_column(default=now())  # no index: it is written with each renewal


class ApiKey(Base):
    """A key's SHA-256; the key itself is 256 random bits, shown once and stored nowhere. Or a person, who has none."""

    __tablename__ = "api_keys"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    role: Mapped[Role] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float] = mapped_column(default=now())
    revoked_at: Mapped[float | None]
    subject: Mapped[str | None] = mapped_column(String(64))  # of a person with single sign-on: see access.people
    # The one that it is for; None: all, as for every administrator and worker.
    project: Mapped[str | None] = mapped_column(_PROJECT_OR_ALL, server_default=text("'default'"))

    __table_args__ = (Index("ix_api_keys_subject", "subject", unique=True),)


class SignIn(Base):
    """A browser's session, or the one-time code that opens one; only its SHA-256 is kept. Ends with its key."""

    __tablename__ = "sign_ins"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_name: Mapped[str] = mapped_column(ForeignKey("api_keys.name", ondelete="CASCADE"))
    purpose: Mapped[Literal["session", "code"]] = mapped_column(String(8))
    expires_at: Mapped[float] = mapped_column(index=True)


class AccessToken(Base):
    """A personal access token: it stands for its key with at most that key's role, and ends with it or before."""

    __tablename__ = "access_tokens"

    id: Mapped[str] = mapped_column(String(12), primary_key=True)
    key_name: Mapped[str] = mapped_column(ForeignKey("api_keys.name", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[TokenRole] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float] = mapped_column(default=now())
    expires_at: Mapped[float]

    __table_args__ = (UniqueConstraint("key_name", "name"),)


class Leader(Base):
    """The one row that names the leader. The epoch increases with every change of leader."""

    __tablename__ = "leader"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    holder: Mapped[str]
    epoch: Mapped[int]
    acquired_at: Mapped[float]
    expires_at: Mapped[float]


class IdempotencyKey(Base):
    """What a request with an Idempotency-Key created, so that repeating it creates nothing new."""

    __tablename__ = "idempotency_keys"

    owner: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))  # SHA-256 of the request
    experiment_id: Mapped[str] = mapped_column(
        "search_id", ForeignKey("searches.id", ondelete="CASCADE"), key="experiment_id"
    )
    created_at: Mapped[float] = mapped_column(default=now())


class WatchState(Base):
    """What the leader has told of an experiment that runs, so that the next leader does not tell it again."""

    __tablename__ = "watch_states"

    experiment_id: Mapped[str] = mapped_column(ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True)
    best_reward: Mapped[float | None]  # search: the highest of a proxy
    stalled_at: Mapped[float | None]  # None while it advances


class Subscription(Base):
    """Who is told of what. Target and secret are kept as they are: each delivery needs both."""

    __tablename__ = "subscriptions"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))  # name of the API key that asked
    channel: Mapped[Channel] = mapped_column(String(16))
    target: Mapped[str]  # URL or mail address
    secret: Mapped[str | None]  # webhook: what deliveries are signed with
    experiment_id: Mapped[str | None] = mapped_column(ForeignKey("searches.id", ondelete="CASCADE"))  # None: all
    occasions: Mapped[list[Any]] = mapped_column(JSON)  # of paploss.client.notifications.Occasion
    # To the experiments of this project alone; None: of all.
    project: Mapped[str | None] = mapped_column(_PROJECT_OR_ALL, server_default=text("'default'"))
    created_at: Mapped[float] = mapped_column(default=now())
    paused_at: Mapped[float | None]  # since then nothing is told

    __table_args__ = (Index("ix_subscriptions_experiment", "experiment_id"),)


class Delivery(Base):
    """One notification to one subscriber: a row of the outbox, and later of the log of deliveries.

    It outlives its experiment, so that the end of one is told that is deleted at once.
    """

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    subscription_id: Mapped[str] = mapped_column(ForeignKey("subscriptions.id", ondelete="CASCADE"))
    occasion: Mapped[Occasion | Literal["test"]] = mapped_column(String(16))
    notice: Mapped[JsonObject]  # documents.Notice
    state: Mapped[DeliveryState] = mapped_column(String(16), default="waiting")
    attempts: Mapped[int] = mapped_column(default=0)  # begun so far
    due_at: Mapped[float] = mapped_column(default=now())  # of the next attempt
    error: Mapped[str] = mapped_column(default="")  # of the last attempt
    created_at: Mapped[float] = mapped_column(default=now())
    ended_at: Mapped[float | None]

    __table_args__ = (
        Index("ix_deliveries_subscription", "subscription_id", "created_at"),
        Index(
            "ix_deliveries_waiting",
            "due_at",
            postgresql_where=text("state = 'waiting'"),
            sqlite_where=text("state = 'waiting'"),
        ),
    )
