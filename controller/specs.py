"""What a user asks for: a search of loss parameters, or trainings with given losses.

Both are validated whole before anything is stored; an unknown key is an error that names it.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jobs.losses import check_fit
from jobs.presets import PRESETS
from jobs.profiles import PROFILES
from jobs.spec import DatasetSpec, LossSpec, Message, Overrides, Quality, SyntheticOptions

AlgorithmName = Literal["ppo", "released", "random"]
Mode = Literal["round", "stream"]
Label = Annotated[str, Field(min_length=1, max_length=100)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Budgets(Message):
    """How much may go wrong before a trial, or the whole search, is given up."""

    max_failed_attempts: int = Field(3, ge=1, le=100, description="a trial fails with its so-manieth failed attempt")
    max_preemptions: int = Field(20, ge=0, le=10_000, description="a trial fails when it is taken away more often")
    max_failed_trials: int = Field(8, ge=0, le=100_000, description="a search fails with more failed trials than this")


class ConfirmSpec(Message):
    """How the final parameters are chosen: the best candidates are trained again with seeds the search never used."""

    candidates: int = Field(3, ge=1, le=50, description="the mean of the last policy and the best samples, together")
    seeds: int = Field(3, ge=1, le=50, description="fresh seeds for each candidate, the same for all")
    schedule: Literal["proxy", "final"] = "proxy"
    published: bool = Field(False, description="also measure the published parameters that fit the profile")


class Request(Message):
    """What a search and a training have in common."""

    name: str = Field("", max_length=200, description="for people; any text")
    profile: str = Field(description="a detector with its schedules, installed by the operator")
    dataset: DatasetSpec = DatasetSpec()
    weights: str | None = Field(None, max_length=1000, description="file of pretrained backbone weights")
    overrides: Overrides = Overrides()
    gpus: int | None = Field(None, ge=0, le=64, description="GPUs of one trial; the profile's own number by default")
    priority: int = Field(0, ge=-100, le=100, description="higher goes first; equal ones share the workers fairly")
    max_running_trials: int | None = Field(None, ge=1, le=100_000)
    timeout_seconds: float | None = Field(None, gt=0, le=1e8, description="a training that takes longer has failed")
    budgets: Budgets = Budgets()
    synthetic: SyntheticOptions | None = Field(None, description="only for the profile synthetic")

    @model_validator(mode="after")
    def _check_profile(self) -> Self:
        if self.profile not in PROFILES:
            raise ValueError(f"profile: expected one of {', '.join(PROFILES)}, got {self.profile!r}")
        if self.synthetic is not None and self.profile != "synthetic":
            raise ValueError(f"synthetic: expected only for the profile synthetic, got profile {self.profile!r}")
        return self

    @property
    def trial_gpus(self) -> int:
        """GPUs of one trial: the request's number, or the profile's."""
        return PROFILES[self.profile].gpus if self.gpus is None else self.gpus


class SearchSpec(Request):
    """One run of the optimiser: `rounds` updates of the policy, each from `trials_per_round` proxy trainings."""

    algorithm: AlgorithmName = "ppo"
    mode: Mode = Field("round", description="stream updates on any finished trials, so no worker waits for the slowest")
    rounds: int = Field(40, ge=1, le=10_000)
    trials_per_round: int = Field(8, ge=2, le=10_000, description="samples behind one update of the policy")
    knots: Literal[2, 4, 6] = Field(4, description="interior knots of each of the five functions")
    quality: Quality = "giou"
    seed: Seed = 0
    prune: bool = Field(True, description="stop trials that are hopeless beside the others at the same point")
    confirm: ConfirmSpec = ConfirmSpec()

    @model_validator(mode="after")
    def _check_mode(self) -> Self:
        if self.algorithm == "released" and self.mode == "stream":
            raise ValueError("mode: expected round for the algorithm released, which knows nothing else; got stream")
        return self

    @model_validator(mode="after")
    def _check_published(self) -> Self:
        if self.confirm.published and PROFILES[self.profile].preset is None:
            raise ValueError(f"confirm.published: no published parameters fit the profile {self.profile!r}")
        return self


class LossChoice(Message):
    """One loss to train with: a published set (or `identity`), the best of a finished search, or given in full."""

    label: Label
    preset: str | None = None
    search: str | None = Field(None, max_length=64, description="id of a search whose best loss is meant")
    loss: LossSpec | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        given = [field for field in ("preset", "search", "loss") if getattr(self, field) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of preset, search, loss, got {', '.join(given) or 'none'}")
        if self.preset is not None and self.preset not in (*PRESETS, "identity"):
            raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, identity; got {self.preset!r}")
        return self


class TrainingSpec(Request):
    """Trainings with given losses, each over the same seeds: a comparison of several, or final trainings."""

    kind: Literal["compare", "final"] = "final"
    schedule: Literal["proxy", "final"] = "final"
    losses: tuple[LossChoice, ...] = Field(min_length=1, max_length=100)
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, max_length=1000)
    evaluate_split: Literal["val", "test"] = "val"

    @model_validator(mode="after")
    def _check_losses(self) -> Self:
        labels = [choice.label for choice in self.losses]
        if len(set(labels)) != len(labels):
            raise ValueError(f"losses: expected distinct labels, got {labels}")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: expected distinct seeds, got {list(self.seeds)}")
        for choice in self.losses:
            loss = PRESETS.get(choice.preset or "", choice.loss)
            if loss is not None:
                try:
                    check_fit(loss, self.profile)
                except ValueError as error:
                    raise ValueError(f"losses[{choice.label}].{error}") from None
        return self


class PathRefusedError(ValueError):
    """A request names a path outside the operator's data roots; `field` says where."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def check_paths(request: Request, data_roots: Sequence[Path]) -> None:
    """Refuse a request whose data set or weights lie outside `data_roots`.

    Compares paths only, because they are the workers' and need not exist here.

    Raises:
        PathRefusedError: names the field, the path and the roots.
    """
    for field, path in (("dataset.root", request.dataset.root), ("weights", request.weights)):
        if not path:
            continue
        pure = PurePosixPath(path)
        if not pure.is_absolute() or ".." in pure.parts:
            raise PathRefusedError(field, f"expected an absolute path without '..', got {path!r}")
        if not any(pure.is_relative_to(root) for root in data_roots):
            roots = ", ".join(map(str, data_roots)) or "none (the operator sets PAPLOSS_DATA_ROOTS)"
            raise PathRefusedError(field, f"expected a path beneath one of the data roots: {roots}; got {path!r}")
