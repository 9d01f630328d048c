"""Which loss a training is to have: by name, from a search, or in full."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from paploss.jobs.losses import LOSSES, Loss, LossSpec, ParameterizedAP, parse_loss
from paploss.jobs.messages import Message
from paploss.jobs.presets import PRESETS, identity
from paploss.jobs.profiles import PROFILES, ProfileCard
from paploss.jobs.published_results import PUBLISHED_RESULTS
from paploss.jobs.spec import RateFactor

PUBLISHED, IDENTITY = "published", "identity"
BEST_GUESS = "mean"
"""Label of what a search's algorithm considers best."""
PRESET_NAMES: Final = (PUBLISHED, IDENTITY, *PRESETS)

NAMED_LOSSES: Final[Mapping[str, Loss]] = {
    name: loss for record in LOSSES.values() for name, loss in record.shorthands().items()
}
"""Losses that a name says whole."""

LOSS_NAMES: Final = (*PRESET_NAMES, *NAMED_LOSSES)


class LossChoice(Message):
    """One loss to train with: a published set (or `identity`), the best of a finished search, or given in full."""

    label: str = Field("", max_length=100, description="for people; by default told from the loss")
    preset: str | None = Field(
        None,
        max_length=100,
        description=f"one of {', '.join(PRESETS)}; `published`: the one that fits the profile; or `identity`",
    )
    search: str | None = Field(None, max_length=64, description="id of a search whose best loss is meant")
    loss: LossSpec | None = None
    learning_rate_factor: RateFactor | None = Field(
        None,
        description="on the profile's rate; a check of rates tries factors on it; by default the search's, or 1",
    )

    @model_validator(mode="before")
    @classmethod
    def _add_label(cls, given: Any) -> Any:
        return {**given, "label": _tell_label(given)} if isinstance(given, dict) and not given.get("label") else given

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        given = [field for field in ("preset", "search", "loss") if getattr(self, field) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of preset, search, loss, got {', '.join(given) or 'none'}")
        if self.preset is not None and self.preset not in PRESET_NAMES:
            raise ValueError(f"preset: expected one of {', '.join(PRESET_NAMES)}; got {self.preset!r}")
        return self

    def find_loss(self, profile: str) -> LossSpec | None:
        """The loss for a profile; none for that of a search.

        Raises:
            ValueError: no published set fits the profile.
        """
        if self.preset is None:
            return self.loss
        if self.preset == IDENTITY:
            return identity(PROFILES[profile].heads)
        preset = PROFILES[profile].preset if self.preset == PUBLISHED else self.preset
        if preset is None:
            raise ValueError(f"preset: no published parameters fit the profile {profile!r}")
        return PRESETS[preset]


def called(label: str) -> str:
    """The label of a loss as people read it."""
    return "best guess" if label == BEST_GUESS else label


def choose_by_name(given: Any) -> Any:
    """The choice that a name stands for; anything else is returned as it is.

    Raises:
        ValueError: names what was expected and what came.
    """
    if not isinstance(given, str):
        return given
    if given in PRESET_NAMES:
        return LossChoice(preset=given)
    if given in NAMED_LOSSES:
        return LossChoice(loss=NAMED_LOSSES[given])
    raise ValueError(f"expected one of {', '.join(LOSS_NAMES)}, got {given!r}")


_Name = Annotated[str, Field(json_schema_extra={"enum": list(LOSS_NAMES)})]
LossEntry = Annotated[LossChoice, BeforeValidator(choose_by_name, json_schema_input_type=LossChoice | _Name)]
"""A loss in a request, where a name may stand for it."""


def every_loss(profile: str) -> tuple[LossChoice, ...]:
    """Every loss that fits the profile, in the order of the published tables; those that they do not have come last.

    Hand-made AP must be asked for, see `HandmadeAP.is_compared`.
    """
    card = PROFILES[profile]
    published = [row.loss for row in PUBLISHED_RESULTS if row.detector == card.detector and row.loss is not None]
    records = [record for record in dict.fromkeys((*published, *LOSSES.values())) if _fits(record, card)]
    names = {record: name for name, record in LOSSES.items()} | {ParameterizedAP: PUBLISHED}
    return tuple(choose_by_name(names[record]) for record in records)


def _fits(record: type[Loss], card: ProfileCard) -> bool:
    if not record.is_compared or (record is ParameterizedAP and card.preset is None):
        return False
    return card.detector is None or card.detector in record.rates


def _tell_label(given: Mapping[str, Any]) -> str:
    if given.get("preset") is not None:
        return f"{ParameterizedAP.title}, {given['preset']}"[:100]
    if given.get("search") is not None:
        return f"search {given['search']}"[:100]
    try:
        return parse_loss(given.get("loss"), strict=False).label
    except ValueError:
        return "loss"  # refused with its field
