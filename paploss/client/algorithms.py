"""The search algorithms by name, each with its settings, the modes that it supports, and whether it learns from
trainings of several lengths.

The mode that suits an algorithm best comes first. This is the one place of their names: requests, forms and the
reference are made from these models. What each does is in `paploss.controller.search`;
`paploss.controller.experiments.algorithms` makes it from its settings.
"""

from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import BeforeValidator, Field

from paploss.jobs.messages import Message

Mode = Literal["round", "stream"]

_Sigma = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]


class GuidedSettings(Message):
    """A model of the reward over what a loss does proposes each trial: the default."""

    modes: ClassVar[tuple[Mode, ...]] = ("stream", "round")
    learns_from_lengths: ClassVar[bool] = True

    name: Literal["guided"] = "guided"
    first_sigma: _Sigma = Field(0.2, description="scale of the steps from the best trials, and of the first samples")
    last_sigma: _Sigma = Field(0.1, description="scale of the steps in the last round; linear between")


class PpoSettings(Message):
    """Proximal policy optimisation of a truncated normal, with a clipped term for each dimension."""

    modes: ClassVar[tuple[Mode, ...]] = ("round", "stream")
    learns_from_lengths: ClassVar[bool] = False

    name: Literal["ppo"] = "ppo"
    first_sigma: _Sigma = Field(0.2, description="scale of the policy in the first round")
    last_sigma: _Sigma = Field(0.1, description="scale of the policy in the last round; linear between")
    clip: float = Field(0.4, gt=0, lt=1, description="how far a density ratio may move from 1")
    learning_rate: float = Field(0.01, gt=0, le=1, description="of Adam in the logits of the policy's location")
    max_staleness: int = Field(
        16,
        ge=1,
        le=1000,
        description="in stream mode: trials of policies older than so many updates are left out, and at most so many "
        "times trials_per_round are open at once, however many workers there are",
    )


class PaperSettings(Message):
    """The update of the program that was released with the paper, with its defects, for comparison."""

    modes: ClassVar[tuple[Mode, ...]] = ("round",)
    learns_from_lengths: ClassVar[bool] = False

    name: Literal["paper"] = "paper"


class CmaSettings(Message):
    """CMA-ES: a normal whose covariance is learnt from one population of trials after the other."""

    modes: ClassVar[tuple[Mode, ...]] = ("round", "stream")
    learns_from_lengths: ClassVar[bool] = False

    name: Literal["cma"] = "cma"
    population: int = Field(8, ge=2, le=1000, description="finished trials behind one of its updates")
    sigma: _Sigma = Field(0.2, description="scale of the first population")


class RandomSettings(Message):
    """Samples of the start policy without learning: the baseline."""

    modes: ClassVar[tuple[Mode, ...]] = ("round", "stream")
    learns_from_lengths: ClassVar[bool] = True

    name: Literal["random"] = "random"
    sigma: _Sigma = Field(0.2, description="scale of the policy")


FORMER_NAMES: Final = {"released": "paper"}
"""Names of earlier versions that are still read."""


def expand_name(given: Any) -> Any:
    """The settings that a name alone stands for; anything else is returned as it is."""
    if isinstance(given, str):
        given = {"name": given}
    if isinstance(given, dict) and given.get("name") in FORMER_NAMES:
        return {**given, "name": FORMER_NAMES[given["name"]]}
    return given


AlgorithmSettings = Annotated[
    GuidedSettings | PpoSettings | PaperSettings | CmaSettings | RandomSettings, Field(discriminator="name")
]
SETTINGS: Final = get_args(get_args(AlgorithmSettings)[0])
LENGTHS_ALGORITHMS: Final = tuple(kind.model_fields["name"].default for kind in SETTINGS if kind.learns_from_lengths)
"""Names of those that take rewards of trainings of several lengths."""
_Name = Annotated[str, Field(max_length=100)]
AlgorithmChoice = Annotated[
    AlgorithmSettings, BeforeValidator(expand_name, json_schema_input_type=AlgorithmSettings | _Name)
]
"""An algorithm in a request: its settings, or its name alone."""


def preferred_mode(given: Any) -> Mode:
    """The mode that suits an algorithm best, from its settings, its name or a mapping with it."""
    settings = expand_name(given)
    name = settings.get("name") if isinstance(settings, dict) else getattr(settings, "name", None)
    return next((kind.modes[0] for kind in SETTINGS if kind.model_fields["name"].default == name), "round")
