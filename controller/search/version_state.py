"""The state of an algorithm that learns from the whole history: it needs to keep nothing else."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from paploss.controller.search.space import Space


@dataclass(frozen=True)
class VersionState:
    """Updates done, and where the search moves.

    Raises ValueError where the version is negative.
    """

    version: int
    space: Space

    def __post_init__(self) -> None:
        if self.version < 0:
            raise ValueError(f"version: expected 0 or more, got {self.version}")

    def to_json(self) -> dict[str, Any]:
        """The inverse of `from_json`."""
        return {"version": self.version, "space": {**asdict(self.space), "heads": list(self.space.heads)}}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError where it is none."""
        space = {**document["space"], "heads": tuple(document["space"]["heads"])}
        return cls(int(document["version"]), Space(**space))
