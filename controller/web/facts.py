"""What pages show of a stored request, whatever version of the program has stored it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class RequestFacts:
    """Texts; a dash where another version has stored no such field."""

    dataset: str
    algorithm: str
    mode: str
    trials_per_round: str
    schedule: str
    split: str
    worker_hours: str

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Self:
        """The facts of a document of any version."""

        def text(place: Any, *keys: str) -> str:
            for key in keys:
                place = place.get(key) if isinstance(place, Mapping) else None
            return str(place) if isinstance(place, str | int | float) else "–"

        algorithm = spec.get("algorithm")
        return cls(
            dataset=text(spec, "dataset", "name"),
            algorithm=algorithm if isinstance(algorithm, str) else text(algorithm, "name"),
            mode=text(spec, "mode"),
            trials_per_round=text(spec, "trials_per_round"),
            schedule=text(spec, "schedule"),
            split=text(spec, "evaluate_split"),
            worker_hours=text(spec, "worker_hours"),
        )
