"""What a user asks for, an experiment of one kind: a search of loss parameters, a comparison of losses, or trainings.

Each is validated whole before anything is stored; an unknown key is an error that names it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from paploss.client.algorithms import LENGTHS_ALGORITHMS, AlgorithmChoice, GuidedSettings, Mode, preferred_mode
from paploss.client.lengths import Lengths
from paploss.client.loss_choice import BEST_GUESS, IDENTITY, PUBLISHED, LossChoice, LossEntry, every_loss
from paploss.client.start import Family, Knots, SearchedSpace, Start, StartEntry
from paploss.client.text_lists import read_list
from paploss.jobs.losses import LossSpec, Quality, check_fit
from paploss.jobs.messages import Message
from paploss.jobs.metrics import Reward
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import MOST_RATE_FACTOR, DatasetSpec, Overrides, RateFactor, SyntheticOptions, Timeout
from paploss.jobs.suggestions import did_you_mean

MOST_PROXIES: Final = 1_000_000
MOST_TRAININGS: Final = 20_000
"""Trials that one request may ask for: a search proposes its own by and by, given losses are all stored at once."""
RATE_FACTORS: Final = (0.5, 1.0, 2.0)
"""On the profile's learning rate: what a loss is tried with where each is to have its own best rate."""
FINAL_RATE_FACTORS: Final = tuple(factor for factor in RATE_FACTORS if factor <= 1)
"""The same for final trainings: a greater rate that is ahead in short ones may be too high for them."""
PILOT_LOSSES: Final = 3
"""That a pilot trains with further seeds: where the search starts, and the best of the others."""
PILOT_SEEDS: Final = 3
"""Further seeds of each of them."""
RACE_SEEDS: Final = 12
"""That the race at the end of a search may have where the request does not say so."""

Pilot = Literal["none", "tell", "ask"]
Label = Annotated[str, Field(min_length=1, max_length=100)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Budgets(Message):
    """How much may go wrong before a trial, or the whole experiment, fails."""

    max_failed_attempts: int = Field(
        3, ge=1, le=100, description="a trial fails once so many of its attempts have failed"
    )
    max_preemptions: int = Field(20, ge=0, le=10_000, description="a trial fails once it is preempted more often")
    max_failed_trials: int = Field(
        8,
        ge=0,
        le=100_000,
        description="the experiment fails with more failed trials than this; those of checks of learning rates and of "
        "the confirmation do not count",
    )


class ConfirmSpec(Message):
    """How a search ends: its best candidates, the identity and rivals race on seeds that the search never used."""

    candidates: int = Field(3, ge=1, le=50, description="the algorithm's best guess and the best samples, together")
    seeds: int = Field(5, ge=1, le=50, description="fresh seeds for each loss, the same for all, before the first look")
    most_seeds: int | None = Field(
        None,
        ge=1,
        le=200,
        description="seeds are added up to so many until the best loss is decided; by default 12 on a data set "
        "with a root, or `seeds` where that is more; else `seeds`",
    )
    schedule: Literal["proxy", "final"] = "proxy"
    published: bool = Field(False, description="also measure the published parameters that fit the profile")
    rivals: tuple[LossEntry, ...] | None = Field(
        None,
        max_length=20,
        description="losses that the found one must beat, each at its own best learning rate: names with commas "
        "between them, `none`, or a list; by default every loss that fits, on a data set with a root, else none",
    )

    @field_validator("rivals", mode="before")
    @classmethod
    def _split_names(cls, given: Any) -> Any:
        return read_list(given)

    @model_validator(mode="after")
    def _check_rivals(self) -> Self:
        labels = [choice.label for choice in self.rivals or ()]
        if len(set(labels)) != len(labels):
            raise ValueError(f"rivals: expected distinct labels, got {labels}")
        for choice in self.rivals or ():
            if choice.search is not None:
                raise ValueError(f"rivals[{choice.label}].search: expected a name or a loss in full")
            if (choice.learning_rate_factor or 1) * max(RATE_FACTORS) > MOST_RATE_FACTOR:
                most = MOST_RATE_FACTOR / max(RATE_FACTORS)
                raise ValueError(f"rivals[{choice.label}].learning_rate_factor: expected at most {most:g}")
            if choice.label in (BEST_GUESS, IDENTITY) or choice.label.startswith("trial "):
                raise ValueError(f"rivals[{choice.label}].label: expected none that the search gives its own losses")
            if choice.label == PUBLISHED and choice.preset != PUBLISHED:
                raise ValueError(f"rivals[{PUBLISHED}].label: expected another one; it names the published parameters")
        if sum(choice.preset == PUBLISHED for choice in self.rivals or ()) > 1:
            raise ValueError("rivals: expected the published parameters once at most")
        return self

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        if self.most_seeds is not None and self.most_seeds < self.seeds:
            raise ValueError(f"most_seeds: expected at least seeds, {self.seeds}, got {self.most_seeds}")
        return self


class Request(Message):
    """What all kinds of experiments have in common."""

    name: str = Field("", max_length=200, description="for people; any text")
    profile: str = Field(max_length=100, description="a detector with its schedules, installed by the operator")
    dataset: DatasetSpec = DatasetSpec()
    weights: str | None = Field(None, max_length=1000, description="file of pretrained backbone weights")
    overrides: Overrides = Overrides()
    reward: Reward = Field(
        "AP",
        description="what is maximised, or compared: AP, AP50, AP75, AP_small, AP_medium, AP_large, {class: NAME}, "
        "{worst_classes: K}, or {sum: [{metric: AP, weight: 3}, {metric: AP75}]}",
    )
    gpus: int | None = Field(None, ge=0, le=64, description="GPUs of one trial; the profile's own number by default")
    gather_scores: bool = Field(
        False, description="on several GPUs, rank the entries of all of them together instead of each GPU's own"
    )
    priority: int = Field(0, ge=-100, le=100, description="higher goes first; equal ones share the workers fairly")
    max_running_trials: int | None = Field(None, ge=1, le=100_000)
    timeout_seconds: Timeout | None = Field(None, description="a training that takes longer has failed")
    budgets: Budgets = Budgets()
    synthetic: SyntheticOptions | None = Field(None, description="only for the profile synthetic")

    @field_validator("profile")
    @classmethod
    def _check_profile(cls, name: str) -> str:
        if name not in PROFILES:
            raise ValueError(f"expected one of {', '.join(PROFILES)}, got {name!r}{did_you_mean(name, PROFILES)}")
        return name

    @model_validator(mode="after")
    def _check_synthetic(self) -> Self:
        if self.synthetic is not None and self.profile != "synthetic":
            raise ValueError(f"synthetic: expected only for the profile synthetic, got profile {self.profile!r}")
        return self

    @property
    def trial_gpus(self) -> int:
        """GPUs of one trial: the request's number, or the profile's."""
        return PROFILES[self.profile].gpus if self.gpus is None else self.gpus


class SearchSpec(Request):
    """One run of the optimiser: `rounds` updates of its state, each from `trials_per_round` proxy trainings."""

    kind: Literal["search"] = "search"
    algorithm: AlgorithmChoice = GuidedSettings()
    mode: Mode = Field(
        "stream",
        description="stream updates on any finished trials, so no worker waits for the slowest; by default what suits "
        "the algorithm: stream for guided, round for the others",
    )
    rounds: int = Field(40, ge=1, le=10_000)
    trials_per_round: int = Field(
        8, ge=2, le=1000, description="samples behind one update; with `lengths`, those that are promoted come on top"
    )
    worker_hours: float | None = Field(
        None,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="of its rounds, all workers together; times `gpus`: GPU-hours. A trial that would go beyond is not "
        "proposed, and the best is confirmed. Failed and cancelled trials count; the pilot and the confirmations come "
        "on top",
    )
    knots: Knots = Field(4, description="interior knots of each of the five functions")
    family: Family = Field(
        "functions",
        description="functions: they and gradient scales are searched, as published; box_terms: also weights of an "
        "added L1 and an added GIoU term; extended: also whether AP Loss's error-driven gradient ranks in place of the "
        "functions",
    )
    searched_rate: bool = Field(False, description="also search a factor on the learning rate, from 1/4 to 4")
    quality: Quality = "giou"
    seed: Seed = Field(
        0,
        description="everything random follows from it; a search that starts from one on the same data needs another, "
        "or its race has the seeds by which the earlier one's losses were chosen",
    )
    prune: bool = Field(
        True,
        description="stop trials that are hopeless beside the others at the same point; with `lengths`, which ends "
        "most trials early, none is",
    )
    lengths: Lengths | None = Field(
        None,
        description="short trainings, of which the best are promoted: continued from their checkpoints; by default "
        "every training has the whole length",
    )
    screen: bool = Field(True, description="leave out most losses whose formula pulls boxes the wrong way")
    pilot: Pilot | None = Field(
        None,
        description="trainings before the first round that measure learning rates and noise and say what the search "
        "may gain: none; tell; or ask, which then pauses it until it is resumed; tell and ask take a rival beside the "
        "loss where the search starts; by default tell on a data set with a root, where there is such a rival",
    )
    start_from: tuple[StartEntry, ...] | None = Field(
        None,
        max_length=6,
        description="what the algorithm guided starts from: `published`, ids of earlier searches with the same heads, "
        "knots, family, searched_rate and quality, or `none`; with commas between them, or a list. By default the "
        "published set",
    )
    confirm: ConfirmSpec = ConfirmSpec()

    @field_validator("start_from", mode="before")
    @classmethod
    def _split_starts(cls, given: Any) -> Any:
        return read_list(given)

    @model_validator(mode="before")
    @classmethod
    def _choose_mode(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("lengths") is None and "algorithm" in given:
            return {"mode": preferred_mode(given["algorithm"]), **given}
        return given

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if self.rounds * self.trials_per_round > MOST_PROXIES:
            raise ValueError(
                f"rounds, trials_per_round: expected a product of at most {MOST_PROXIES} trials, "
                f"got {self.rounds} x {self.trials_per_round}"
            )
        return self

    @model_validator(mode="after")
    def _check_mode(self) -> Self:
        if self.mode not in self.algorithm.modes:
            expected = " or ".join(self.algorithm.modes)
            raise ValueError(f"mode: expected {expected} for the algorithm {self.algorithm.name}, got {self.mode}")
        return self

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if self.lengths is None:
            return self
        if not self.algorithm.learns_from_lengths:
            names = " or ".join(LENGTHS_ALGORITHMS)
            raise ValueError(f"lengths: expected the algorithm {names}, got {self.algorithm.name}")
        if not PROFILES[self.profile].stops_anywhere:
            names = ", ".join(name for name, card in PROFILES.items() if card.stops_anywhere)
            raise ValueError(
                f"lengths: expected a profile whose trainings stop anywhere, one of {names}; got {self.profile}"
            )
        if self.mode != "stream":
            raise ValueError(f"lengths: expected the mode stream, got {self.mode}")
        if self.rounds * self.trials_per_round < self.lengths.least:
            raise ValueError(
                f"lengths: expected rounds x trials_per_round of at least {self.lengths.least}, so that a loss reaches "
                f"the whole length; got {self.rounds} x {self.trials_per_round}"
            )
        return self

    @model_validator(mode="after")
    def _check_published(self) -> Self:
        if self.confirm.published and PROFILES[self.profile].preset is None:
            raise ValueError(f"confirm.published: no published parameters fit the profile {self.profile!r}")
        return self

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        for place, start in enumerate(self.starts):
            if start.preset is None and not isinstance(self.algorithm, GuidedSettings):
                raise ValueError(
                    f"start_from[{place}]: expected the algorithm guided, which alone learns from what was found "
                    f"before, got {self.algorithm.name}"
                )
            if start.earlier is not None and start.earlier.space != self.space:
                raise ValueError(
                    f"start_from[{place}]: expected a search over {self.space}; got one over {start.earlier.space}"
                )
        return self

    @model_validator(mode="after")
    def _check_rivals(self) -> Self:
        for choice in self.confirm.rivals or ():
            try:
                if (loss := choice.find_loss(self.profile)) is not None:
                    check_fit(loss, self.profile)
            except ValueError as error:
                raise ValueError(f"confirm.rivals[{choice.label}].{error}") from None
        return self

    @model_validator(mode="after")
    def _check_pilot(self) -> Self:
        if self.has_pilot and len(self.pilot_losses) < 2:
            raise ValueError(
                f"pilot: expected none for a search without a rival beside the loss where it starts, because noise is "
                f"measured between two losses; got {self.pilot} (confirm.rivals names rivals)"
            )
        return self

    @property
    def start_label(self) -> str:
        """What the loss where its algorithm starts is called: the published set, or where none fits the identity."""
        return IDENTITY if PROFILES[self.profile].preset is None else PUBLISHED

    @property
    def has_pilot(self) -> bool:
        """Whether a few trainings say first what the search may gain."""
        if self.pilot is None:
            return bool(self.dataset.root) and len(self.pilot_losses) >= 2
        return self.pilot != "none"

    @property
    def pilot_losses(self) -> tuple[str, ...]:
        """Labels of what a pilot tries: the loss where the search starts, and its rivals."""
        return self.start_label, *(label for label in self.rivals if label != self.start_label)

    @property
    def space(self) -> SearchedSpace:
        """What its thetas stand for."""
        return SearchedSpace(
            heads=PROFILES[self.profile].heads,
            knots=self.knots,
            family=self.family,
            searched_rate=self.searched_rate,
            quality=self.quality,
        )

    @property
    def proxies(self) -> int:
        """Trainings of its rounds, if none fails; one that is promoted is several."""
        losses = self.rounds * self.trials_per_round
        return losses if self.lengths is None else sum(self.lengths.count(losses))

    @property
    def starts(self) -> tuple[Start, ...]:
        """What it starts from, beside the identity."""
        return (Start(preset=PUBLISHED),) if self.start_from is None else self.start_from

    @property
    def most_seeds(self) -> int:
        """Seeds that the race at the end may have."""
        by_default = max(RACE_SEEDS, self.confirm.seeds) if self.dataset.root else self.confirm.seeds
        return self.confirm.most_seeds or by_default

    @property
    def rivals(self) -> Mapping[str, LossSpec]:
        """What the found loss has to beat, by label; the published parameters have the label `published`."""
        found = {label: choice.find_loss(self.profile) for label, choice in self._rival_choices().items()}
        return {label: loss for label, loss in found.items() if loss is not None}

    def default_rate(self, label: str) -> float:
        """The factor on the learning rate at which the check of a loss starts: a rival's own, otherwise 1."""
        choice = self._rival_choices().get(label)
        return 1.0 if choice is None else choice.learning_rate_factor or 1.0

    def _rival_choices(self) -> Mapping[str, LossChoice]:
        named = self.confirm.rivals
        if named is None:
            named = every_loss(self.profile) if self.dataset.root else ()
        return {
            PUBLISHED if choice.preset == PUBLISHED else choice.label: choice
            for choice in named
            if choice.preset != IDENTITY
        }


class GivenLossesSpec(Request):
    """What a comparison and trainings have in common: given losses, each over the same seeds."""

    schedule: Literal["proxy", "final"] = "final"
    losses: tuple[LossEntry, ...] = Field(max_length=100)
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, max_length=1000)
    evaluate_split: Literal["val", "test"] = "val"
    learning_rates: tuple[RateFactor, ...] = Field(
        (),
        max_length=20,
        description="factors on the profile's learning rate, or on that which a loss was found with: before its "
        "trainings each loss trains with each, as long as a proxy and measured on the split `val`, and takes one that "
        "is ahead with each of two seeds; none: no such check",
    )

    @model_validator(mode="after")
    def _check_losses(self) -> Self:
        if not self.losses:
            raise ValueError("losses: expected at least one, got none")
        labels = [choice.label for choice in self.losses]
        for field, values in (("losses", labels), ("seeds", self.seeds), ("learning_rates", self.learning_rates)):
            if len(set(values)) != len(values):
                raise ValueError(f"{field}: expected distinct {_DISTINCT[field]}, got {list(values)}")
        for choice in self.losses:
            try:
                if (loss := choice.find_loss(self.profile)) is not None:
                    check_fit(loss, self.profile)
            except ValueError as error:
                raise ValueError(f"losses[{choice.label}].{error}") from None
        return self

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if len(self.losses) * len(self.seeds) > MOST_TRAININGS:
            raise ValueError(
                f"losses, seeds: expected a product of at most {MOST_TRAININGS} trainings, "
                f"got {len(self.losses)} x {len(self.seeds)}"
            )
        return self

    @model_validator(mode="after")
    def _check_split(self) -> Self:
        if self.evaluate_split == "test" and self.dataset.root and self.dataset.test is None:
            raise ValueError("evaluate_split: expected val for a data set without dataset.test, got test")
        return self


class TrainingSpec(GivenLossesSpec):
    """Final trainings, whose weights are kept."""

    kind: Literal["training"] = "training"


class ComparisonSpec(GivenLossesSpec):
    """Losses beside each other, each with a learning rate of its own.

    By default every loss that fits the profile, the seeds 0, 1, 2 and the factors 0.5 and 1; for the schedule `proxy`
    2 as well.
    """

    kind: Literal["comparison"] = "comparison"
    reference: Label | None = Field(
        None, description="label of the loss that the others are compared with; the first by default"
    )
    most_seeds: int | None = Field(
        None,
        ge=1,
        le=200,
        description="further seeds are added for the losses that cannot be told from the best yet, up to so many; by "
        "default none are",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        losses = every_loss(given["profile"]) if given.get("profile") in list(PROFILES) else ()
        factors = RATE_FACTORS if given.get("schedule") == "proxy" else FINAL_RATE_FACTORS
        return {"losses": losses, "seeds": (0, 1, 2), "learning_rates": factors, **given}

    @model_validator(mode="after")
    def _check_reference(self) -> Self:
        labels = [choice.label for choice in self.losses]
        if self.reference is not None and self.reference not in labels:
            raise ValueError(f"reference: expected one of {', '.join(map(repr, labels))}; got {self.reference!r}")
        return self

    @model_validator(mode="after")
    def _check_most_seeds(self) -> Self:
        if self.most_seeds is None:
            return self
        if self.most_seeds < len(self.seeds):
            raise ValueError(f"most_seeds: expected at least {len(self.seeds)}, the seeds given, got {self.most_seeds}")
        if len(self.losses) * self.most_seeds > MOST_TRAININGS:
            raise ValueError(
                f"losses, most_seeds: expected a product of at most {MOST_TRAININGS} trainings, "
                f"got {len(self.losses)} x {self.most_seeds}"
            )
        return self

    @property
    def reference_label(self) -> str:
        """The label of the loss that the others are compared with."""
        return self.reference or self.losses[0].label


ExperimentSpec = Annotated[SearchSpec | ComparisonSpec | TrainingSpec, Field(discriminator="kind")]
"""A request of any kind; `kind` says which."""


_DISTINCT = {"losses": "labels", "seeds": "seeds", "learning_rates": "factors"}
