"""What one job is: the detector, the data, the loss and the seed that go in, the events and the result that come out.

A `JobSpec` is stored by the controller, carried by a claim's reply, written to a file by the worker and read by the
trainer. A trainer answers with events, one JSON object a line, the last of which is a `JobResult`.

Notation (the same everywhere): K interior knots per function; theta in [0,1]^D never leaves the controller: here are
only the control points that it decodes to. AP and reward are fractions in [0, 1], never percent.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from paploss.jobs.analysis import Analysis
from paploss.jobs.losses import LossSpec
from paploss.jobs.messages import Fraction, Message, PlainText
from paploss.jobs.metrics import Metrics, Reward

SCHEMA_VERSION: Final = 1

JobKind = Literal["proxy", "confirm", "rate_check", "compare", "final"]
ANALYSED_KINDS: Final[frozenset[JobKind]] = frozenset({"confirm", "compare", "final"})
"""Kinds of jobs whose detections are analysed: those whose losses people set side by side."""
Precision = Literal["float32", "bf16"]
Count = Annotated[int, Field(ge=0, lt=2**31)]
"""How many: what fits a database's integer."""

MOST_RATE_FACTOR: Final = 100.0
RateFactor = Annotated[float, Field(gt=0, le=MOST_RATE_FACTOR, allow_inf_nan=False)]
"""A factor on the learning rate that a profile, or a request, has set."""

Length = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
"""How much of a schedule is trained; learning rates are those of the whole one."""

Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
"""A duration: up to thirty years, so that sums of many are finite too."""

Timeout = Annotated[float, Field(gt=0, le=1e8, allow_inf_nan=False)]
"""After how many seconds a training has failed."""

FilePath = Annotated[str, Field(max_length=4096)]
"""A file that a trainer wrote: as long as Linux lets a path be."""


MOST_EVALUATIONS: Final = 2000
"""Of one training: an epoch has one, and there are at most 1000 epochs."""

Facts = Annotated[
    dict[Annotated[PlainText, Field(max_length=200)], Annotated[PlainText, Field(max_length=1000)]],
    Field(max_length=100),
]
"""What a program says of itself, by name: versions, commit, device."""


TRIAL_ID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$"
TrialId = Annotated[str, Field(pattern=TRIAL_ID_PATTERN, max_length=64)]
"""A trial's id, which is a folder's name too."""


def _check_inside(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"expected a path inside the root, got {path!r}")
    return path


InnerPath = Annotated[str, Field(max_length=1000), AfterValidator(_check_inside)]
"""A path below a data set's root."""


class Split(Message):
    """One split of a data set, as paths below the data set's root."""

    annotations: InnerPath = Field(description="COCO annotation file, below the root")
    images: InnerPath = Field(description="folder of its images, below the root")


class DatasetSpec(Message):
    """A COCO-format folder as the workers see it, or the embedded data set `digits` (root left empty)."""

    name: str = Field("digits", min_length=1, max_length=100)
    root: str = Field("", max_length=1000, description="absolute folder; empty only for the embedded data set")
    train: Split | None = None
    val: Split | None = None
    test: Split | None = None
    check_files: bool = Field(True, description="read every image before the first step, once for each machine")

    @model_validator(mode="after")
    def _check_root(self) -> Self:
        if self.root == "" and self.name != "digits":
            raise ValueError(f"root: expected a folder for data set {self.name!r}; only 'digits' is embedded")
        if self.root and (self.train is None or self.val is None):
            raise ValueError("train, val: expected for a data set with a root")
        return self


class Overrides(Message):
    """What a request may change in a profile's schedule; everything else is the operator's."""

    epochs: int | None = Field(None, ge=1, le=1000)
    batch_size: int | None = Field(None, ge=1, le=4096, description="images per step, over all devices")
    learning_rate: float | None = Field(None, gt=0, le=10, allow_inf_nan=False)
    image_size_px: int | None = Field(None, ge=32, le=4096, description="short side, or side of the square")
    precision: Precision = Field(
        "float32", description="of the layers; weights and losses are float32 always. Rewards of the two differ"
    )


class PrunePoint(Message):
    """A trial whose reward is below `min_ap` after `fraction` of its iterations stops there.

    The name is that of version 0.1.0, where the reward was always AP.
    """

    fraction: float = Field(gt=0, lt=1)
    min_ap: Fraction


class SyntheticOptions(Message):
    """Behaviour of the profile `synthetic`, a trainer without a detector for tests of everything around trainings."""

    iterations: int = Field(20, ge=1, lt=2**31)
    iteration_seconds: float = Field(0.0, ge=0, le=86_400)
    noise: float = Field(0.01, ge=0, le=100, description="standard deviation of the seeded noise on the reward")
    best_learning_rate_factor: RateFactor = 1.0
    fault: Literal["none", "crash", "hang", "diverge", "out_of_memory", "user_error"] = "none"
    fault_iteration: Count = Field(0, description="where the fault occurs")
    fault_attempts: Count = Field(1_000_000, description="only this many attempts, the first ones, have the fault")
    fault_below: Fraction = Field(1.0, description="only trainings whose reward would be lower have the fault")


class JobSpec(Message):
    """One training with its evaluation. The same spec and software on the same machine gives the same reward."""

    schema_version: Literal[1] = SCHEMA_VERSION
    trial_id: TrialId
    kind: JobKind = "proxy"
    profile: str = Field(max_length=100)
    schedule: Literal["proxy", "final"] = "proxy"
    overrides: Overrides = Overrides()
    learning_rate_factor: RateFactor = 1.0
    dataset: DatasetSpec = DatasetSpec()
    evaluate_split: Literal["val", "test"] = "val"
    reward: Reward = "AP"
    loss: LossSpec
    seed: int = Field(0, ge=0, lt=2**31)
    length: Length = Field(1.0, description="share of the schedule's iterations after which it stops and is evaluated")
    continues: TrialId | None = Field(
        None, description="the trial with whose checkpoint it begins: this training, stopped at a smaller length"
    )
    weights: str | None = Field(
        None, max_length=1000, description="file of pretrained backbone weights, as the workers see it"
    )
    prune: tuple[PrunePoint, ...] = Field((), max_length=MOST_EVALUATIONS)
    gpus: int = Field(
        0, ge=0, le=64, description="GPUs of this training; 0 trains on the CPU or one GPU if there is one"
    )
    gather_scores: bool = Field(
        False, description="on several GPUs, rank the entries of all of them together instead of each GPU's own"
    )
    timeout_seconds: Timeout | None = None
    synthetic: SyntheticOptions | None = None


class StartEvent(Message):
    """The trainer runs: where it starts from and what it is."""

    event: Literal["start"] = "start"
    total_iterations: Count
    resumed_iteration: Count = 0
    environment: Facts = Field(default={}, description="versions, commit, device")
    warnings: tuple[Annotated[PlainText, Field(max_length=500)], ...] = Field(
        (), max_length=20, description="what is doubtful in the data set"
    )


class ProgressEvent(Message):
    """Where a running training is; `seconds` counts this attempt only."""

    event: Literal["progress"] = "progress"
    iteration: Count
    total_iterations: Count
    loss: float | None = Field(None, ge=-1e39, le=1e39, description="null where it is not finite")
    seconds: Seconds = 0.0


class EvaluationEvent(Message):
    """What was measured after `iteration` iterations (also the last one)."""

    event: Literal["evaluation"] = "evaluation"
    iteration: Count
    total_iterations: Count
    metrics: Metrics
    reward: Fraction | None = Field(None, description="of the metrics; null from a trainer that rewards AP alone")


class AnalysisEvent(Message):
    """What the detections of the last evaluation say; before the result, of trainings that are compared."""

    event: Literal["analysis"] = "analysis"
    analysis: Analysis


class CheckpointEvent(Message):
    """A checkpoint was written, whole, at `path`."""

    event: Literal["checkpoint"] = "checkpoint"
    iteration: Count
    path: FilePath


class JobResult(Message):
    """How a job ended. A diverged training succeeds with reward 0; a pruned one keeps the last it measured."""

    event: Literal["result"] = "result"
    outcome: Literal["succeeded", "pruned", "failed"]
    reward: Fraction | None = None
    diverged: bool = False
    metrics: Metrics | None = None
    error_kind: Literal["user", "out_of_memory", "crash", "timeout"] | None = None
    error: PlainText | None = Field(None, max_length=4000)
    iterations: Count = 0
    seconds: Seconds = Field(0.0, description="time the training and evaluation took, over all attempts")
    checkpoint: FilePath | None = Field(None, description="the final weights, for job kind final")

    @model_validator(mode="after")
    def _check_outcome(self) -> Self:
        if (self.outcome == "failed") != (self.reward is None):
            raise ValueError(f"reward: expected for succeeded and pruned and for no other outcome, got {self.outcome}")
        if (self.outcome == "failed") != (self.error_kind is not None):
            raise ValueError(f"error_kind: expected for failed and for no other outcome, got {self.outcome}")
        return self


Event = Annotated[
    StartEvent | ProgressEvent | EvaluationEvent | AnalysisEvent | CheckpointEvent | JobResult,
    Field(discriminator="event"),
]
"""One line of a trainer's standard output."""

EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Event)
"""Reads such a line: `EVENT.validate_json(line)`."""

EXIT_INTERRUPTED = 75
"""Exit status of a trainer that was asked to stop (SIGTERM) and left a checkpoint: sysexits' EX_TEMPFAIL."""
