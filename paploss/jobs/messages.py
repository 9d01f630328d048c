"""What all messages between programs have in common."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _replace_nul(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


PlainText = Annotated[str, AfterValidator(_replace_nul)]
"""Text that a program wrote, which may hold any character: NUL is replaced, because PostgreSQL stores none."""


class Message(BaseModel):
    """Base of every message: immutable, without infinities and NaN, and an unknown key is an error that names it.

    Whatever a message holds is bounded, because others read it: numbers, texts, lists and maps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
