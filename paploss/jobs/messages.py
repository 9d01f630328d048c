"""What all messages between programs have in common."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def printable(text: str) -> str:
    """The text without what UTF-8 and PostgreSQL cannot hold: surrogates, as in names of files that are no UTF-8, and
    NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _make_printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


PlainText = Annotated[str, BeforeValidator(_make_printable)]
"""Text that a program wrote, which may hold any character, made printable."""


class Message(BaseModel):
    """Base of every message: immutable, without infinities and NaN, and an unknown key is an error that names it.

    Whatever a message holds is bounded, because others read it: numbers, texts, lists and maps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
