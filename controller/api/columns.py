"""The columns of a search's trials: what a scatter plot and parallel coordinates can show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from paploss.client.specs import SearchSpec
from paploss.controller.api.problems import ProblemError
from paploss.controller.experiments.losses import search_space
from paploss.controller.search import importance
from paploss.controller.store.database import Session
from paploss.controller.store.documents import METRICS, SPEC
from paploss.controller.store.reading.courses import MeasuredTrial, read_measured
from paploss.controller.store.tables import Experiment
from paploss.controller.web.compared_figures import Column
from paploss.controller.web.search_figures import name_dimensions
from paploss.jobs.metrics import METRIC_NAMES, Metrics, name_requested

MOST_DIMENSIONS = 12
REWARD = "reward"


@dataclass(frozen=True)
class Trials:
    """The rewarded proxies of a search, column by column."""

    rows: Sequence[MeasuredTrial]
    columns: Mapping[str, Column]
    dimensions: Sequence[str]
    """Names of those columns that are theta's."""

    def find(self, name: str) -> Column:
        """A column.

        Raises:
            ProblemError: 404, there is none of this name.
        """
        if name not in self.columns:
            known = ", ".join(name for name in self.columns if name not in self.dimensions)
            raise ProblemError(404, f"there is no column {name!r}: expected {known}, or a dimension of theta")
        return self.columns[name]

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Dimensions by the function that they belong to, as "bbox_head.H2"; others by their own name."""
        found: dict[str, list[str]] = {}
        for name in self.dimensions:
            found.setdefault(".".join(name.split(".")[:2]), []).append(name)
        return found

    def choose(self, group: str | None) -> list[Column]:
        """Dimensions of a group, or those that go with the reward most; then what was measured.

        Raises:
            ProblemError: 404, there is no such group.
        """
        if group and group not in self.groups:
            raise ProblemError(404, f"group: expected one of {', '.join(self.groups)}, got {group!r}")
        chosen = self.groups[group] if group else self._most_correlated()
        measured = [name for name in (REWARD, "AP50", "AP75") if name in self.columns]
        return [self.columns[name] for name in (*chosen, *measured)]

    def _most_correlated(self) -> list[str]:
        still = np.zeros(len(self.dimensions))
        found = importance.measure(
            [row.theta for row in self.rows],
            [row.reward for row in self.rows],
            [row.round or 0 for row in self.rows],
            first=still,
            newest=still,
            sigma=1.0,
        )
        strongest = sorted(np.argsort(-np.abs(found.correlation), kind="stable")[:MOST_DIMENSIONS])
        return [self.dimensions[index] for index in strongest]


def read_trials(session: Session, search: Experiment) -> Trials:
    """The trials of a search with their columns.

    Raises:
        ProblemError: 404, none has a reward yet.
        UnreadableError: another version of the program has stored them, and this one cannot read them.
    """
    spec = SPEC.read(search.spec)
    assert isinstance(spec, SearchSpec)  # noqa: S101 - only searches are asked for these columns
    dimensions = search_space(spec).names
    rows = [row for row in read_measured(session, search.id) if len(row.theta) == len(dimensions)]
    if not rows:
        raise ProblemError(404, f"search {search.id} has no trial with a reward yet")
    metrics = [None if row.metrics is None else METRICS.read(row.metrics) for row in rows]
    columns = [
        Column(REWARD, name_requested(search.spec), [row.reward for row in rows], is_fraction=True),
        *(
            Column(name, name, [_measured(each, name) for each in metrics], is_fraction=True)
            for name in METRIC_NAMES
            if any(_measured(each, name) is not None for each in metrics)
        ),
        Column("number", "trial", [row.number for row in rows]),
        Column("round", "round", [None if row.round is None else row.round + 1 for row in rows]),
        Column("seconds", "seconds", [row.seconds for row in rows]),
        Column("learning_rate_factor", "factor on the learning rate", [row.learning_rate_factor for row in rows]),
        *(
            Column(name, title, [row.theta[index] for row in rows], ends=(0.0, 1.0))
            for index, (name, title) in enumerate(zip(dimensions, name_dimensions(dimensions), strict=True))
        ),
    ]
    known = {column.name: column for column in columns if any(value is not None for value in column.values)}
    return Trials(rows, known, dimensions)


def _measured(metrics: Metrics | None, name: str) -> float | None:
    value: float = -1.0 if metrics is None else getattr(metrics, name.lower())
    return value if value >= 0 else None
