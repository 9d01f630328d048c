"""What people add to an experiment or a trial: a note, tags, and whether lists hide it."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from paploss.jobs.messages import Message, PlainText


def _check_tag(tag: str) -> str:
    if not re.fullmatch(r"\w[\w.:/+-]*", tag):
        raise ValueError(f"expected letters, digits and . : / + - _, got {tag!r}")
    return tag


Tag = Annotated[str, StringConstraints(max_length=40, to_lower=True, strip_whitespace=True), AfterValidator(_check_tag)]


def _sort(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(tags)))


class Annotation(Message):
    """What changes of an experiment or a trial; null leaves a field as it is."""

    note: Annotated[PlainText, Field(max_length=10_000)] | None = Field(None, description="Markdown; empty removes it")
    tags: Annotated[tuple[Tag, ...], Field(max_length=20), AfterValidator(_sort)] | None = Field(
        None, description="all of them, in place of those before; lower case: letters, digits and . : / + - _"
    )


class ExperimentAnnotation(Annotation):
    """What changes of an experiment."""

    archived: bool | None = Field(None, description="hidden from lists; only an experiment that has ended can be")
