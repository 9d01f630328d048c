"""Trainings of several lengths: what a request says of them, and how many there will be of each."""

from itertools import accumulate, pairwise
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from paploss.client.text_lists import read_list
from paploss.jobs.messages import Message
from paploss.jobs.spec import Length


class Lengths(Message):
    """Asynchronous successive halving: every loss trains for a short time, and the best ones are promoted.

    A training of length f follows the whole schedule and stops after that share of its iterations. What is promoted
    begins with its checkpoint, and ends as a training that was never stopped.
    """

    fractions: tuple[Length, ...] = Field(
        min_length=2,
        max_length=5,
        description="lengths of trainings in parts of the whole schedule, ascending to 1, e.g. 0.25, 0.5, 1",
    )
    keep: int = Field(3, ge=2, le=10, description="of so many finished trainings of a length, the best is promoted")

    @field_validator("fractions", mode="before")
    @classmethod
    def _split(cls, given: Any) -> Any:
        return read_list(given)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        ascends = all(shorter < longer for shorter, longer in pairwise(self.fractions))
        if not ascends or self.fractions[-1] != 1:
            got = ", ".join(f"{fraction:g}" for fraction in self.fractions)
            raise ValueError(f"fractions: expected ascending numbers with 1 at the end, got {got}")
        return self

    @property
    def least(self) -> int:
        """Losses of which one is trained to the whole length."""
        return int(self.keep ** (len(self.fractions) - 1))

    def count(self, losses: int) -> tuple[int, ...]:
        """Trainings of each length that a search of so many losses has, if none fails or diverges."""
        return tuple(accumulate(self.fractions[1:], lambda count, _: count // self.keep, initial=losses))

    def measure(self, losses: int) -> float:
        """What they cost together, in trainings of the whole length."""
        added = (end - start for start, end in pairwise((0.0, *self.fractions)))
        return sum(count * share for count, share in zip(self.count(losses), added, strict=True))
