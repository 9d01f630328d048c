"""What people add to an experiment or a trial: a note, tags, and whether lists hide it."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from paploss.jobs.messages import Message, PlainText

Tag = Annotated[
    str,
    StringConstraints(pattern=r"^\w[\w.:/+-]*$", min_length=1, max_length=40, to_lower=True, strip_whitespace=True),
]


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
