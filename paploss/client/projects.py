"""Projects: whose searches, comparisons and trainings are seen together, and what they may use."""

from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, Field

DEFAULT_PROJECT: Final = "default"
"""The project that every installation has, and that everything belongs to for which no other is named."""

ProjectName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        description="lower-case letters, digits and hyphens between them",
    ),
]
DataRoot = Annotated[str, Field(min_length=1, max_length=1000)]
DataRoots = Annotated[
    list[DataRoot],
    Field(max_length=20, description="folders within the operator's data roots; where there are none, all of those"),
]
MaxRunningTrials = Annotated[int, Field(ge=1, le=100_000)]
GpuHours = Annotated[float, Field(gt=0, le=1e7)]


class ProjectChange(BaseModel, extra="forbid"):
    """What a project may use: all of it, as it is to be."""

    data_roots: DataRoots = []
    max_running_trials: MaxRunningTrials | None = Field(None, description="of all its experiments; null: no limit")
    gpu_hours: GpuHours | None = Field(
        None,
        description="in all; a trial without a GPU counts as with one. null: no limit",
    )


class ProjectRequest(ProjectChange):
    """Make a project."""

    name: ProjectName


class ProjectSummary(BaseModel):
    """A project, and what it uses."""

    name: str
    data_roots: list[str]
    max_running_trials: int | None
    gpu_hours: float | None
    running_trials: int = Field(description="now")
    gpu_hours_used: float = Field(description="by all its trials so far, ended in any way")
    created_at: datetime
