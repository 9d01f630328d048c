"""What a check of a data set found, as `python -m paploss.trainer check` prints it and `paploss doctor` shows it."""

from typing import Literal

from pydantic import Field

from paploss.jobs.messages import Message, PlainText


class ReportedFinding(Message):
    """One kind of fault in one place."""

    level: Literal["error", "warning"]
    summary: PlainText = Field(description="where, how many and what")
    count: int
    examples: tuple[PlainText, ...] = Field((), description="the first of them")


class BoxSizes(Message):
    """Objects by area, with COCO's bounds of 32 x 32 and 96 x 96 px."""

    small: int
    medium: int
    large: int


class SplitReport(Message):
    """One split in numbers."""

    name: str
    annotations: PlainText = Field(description="the file")
    images: int
    images_without_objects: int
    objects: int = Field(description="without crowds")
    crowds: int
    box_sizes: BoxSizes
    tiny: int = Field(description="objects with a side below 4 px")
    clipped: int = Field(description="boxes that reached outside their image")
    empty: int = Field(description="boxes without an area, which were left out")
    duplicates: int = Field(description="boxes that another of the same class equals")
    unseen: int | None = Field(None, description="objects that are smaller than the profile is made for")
    formats: dict[str, int] = Field(description="images by format, kind of pixel and bits; empty if none was read")
    smallest_image: tuple[float, float] | None = Field(description="width and height in px, by area")
    median_image: tuple[float, float] | None
    largest_image: tuple[float, float] | None


class ClassReport(Message):
    """One class in numbers."""

    id: int | str
    name: str
    key: str = Field(description="what it is called where results are by class: the name, with the id where needed")
    objects: dict[str, int] = Field(description="by split, without crowds")
    images: dict[str, int] = Field(description="by split: that show one")


class DatasetReport(Message):
    """A data set's check."""

    schema_version: Literal[1] = 1
    dataset: PlainText
    layout: str
    profile: str | None = None
    verdict: Literal["ok", "warnings", "errors"]
    findings: tuple[ReportedFinding, ...] = Field(description="errors first")
    splits: tuple[SplitReport, ...] = ()
    classes: tuple[ClassReport, ...] = ()
    side_histogram: dict[str, dict[int, int]] = Field(
        {}, description="by split: objects by the side of a square of their area, in px: from each power of two on"
    )
