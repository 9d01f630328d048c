"""What a search starts from: the published set, an earlier search, or a loss that was found before."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from paploss.client.loss_choice import PUBLISHED
from paploss.jobs.losses import LossSpec, Quality
from paploss.jobs.messages import Fraction, Message
from paploss.jobs.spec import RateFactor

MOST_EARLIER: Final = 200
"""Trials of all earlier searches together that a search learns from."""
_DECIMALS: Final = 4
"""Of an earlier trial's theta: far below what can be seen through the noise of a reward."""

Family = Literal["functions", "box_terms", "extended"]
Knots = Literal[2, 4, 6]


class SearchedSpace(Message):
    """What a theta of a search stands for; two searches learn from each other where this is equal."""

    heads: tuple[Annotated[str, Field(max_length=100)], ...] = Field(min_length=1, max_length=10)
    knots: Knots
    family: Family = "functions"
    searched_rate: bool = False
    quality: Quality = "giou"

    def __str__(self) -> str:
        rate = "true" if self.searched_rate else "false"
        settings = f"knots {self.knots}, family {self.family}, searched_rate {rate}, quality {self.quality}"
        return f"heads {', '.join(self.heads)}; {settings}"


class EarlierTrial(Message):
    """A finished proxy of an earlier search."""

    theta: tuple[Fraction, ...] = Field(max_length=1000)
    reward: Fraction
    seed: int = Field(ge=0, lt=2**31)
    complete: bool = Field(True, description="false where it was stopped early")


class EarlierSearch(Message):
    """What a search takes from an earlier one."""

    name: str = Field("", max_length=200, description="for people")
    space: SearchedSpace
    trials: tuple[EarlierTrial, ...] = Field(min_length=1, max_length=MOST_EARLIER)

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        sizes = sorted({len(trial.theta) for trial in self.trials})
        if len(sizes) > 1:
            raise ValueError(f"trials: expected thetas of one size, got {sizes}")
        return self


class Start(Message):
    """One thing that a search starts from: the published set, an earlier search, or a loss."""

    preset: Literal["published"] | None = Field(None, description="the published parameters that fit the profile")
    search: str | None = Field(None, pattern=r"^[0-9a-z]{1,32}$", description="id of an earlier search")
    earlier: EarlierSearch | None = Field(None, description="the trials of an earlier search; made from its file")
    loss: LossSpec | None = Field(None, description="a loss in full, for instance of an exported file")
    learning_rate_factor: RateFactor = Field(1.0, description="with `loss`: on the profile's rate")

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        given = [name for name in ("preset", "search", "earlier", "loss") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of preset, search, earlier, loss, got {', '.join(given) or 'none'}")
        return self

    @model_serializer(mode="wrap")
    def _shorten(self, write: SerializerFunctionWrapHandler) -> Any:
        """A name where that says it all, and nothing that is null."""
        fields = {name: value for name, value in write(self).items() if value is not None}
        return self.preset or self.search or fields


def choose_by_name(given: Any) -> Any:
    """The start that a name stands for; anything else is returned as it is."""
    if not isinstance(given, str):
        return given
    return {"preset": given} if given == PUBLISHED else {"search": given}


StartEntry = Annotated[
    Start, BeforeValidator(choose_by_name, json_schema_input_type=Start | Annotated[str, Field(max_length=32)])
]
"""A start in a request, where a name may stand for it."""


def choose_trials(trials: Sequence[EarlierTrial], count: int) -> tuple[EarlierTrial, ...]:
    """At most `count` trials that tell most of a search: the best half, and of the others some of every reward."""
    ordered = sorted(trials, key=lambda trial: -trial.reward)
    if len(ordered) > count:
        best, others = ordered[: count // 2], ordered[count // 2 :]
        wanted = count - len(best)
        ordered = [*best, *(others[place * len(others) // wanted] for place in range(wanted))]
    return tuple(
        trial.model_copy(update={"theta": tuple(round(value, _DECIMALS) for value in trial.theta)}) for trial in ordered
    )
