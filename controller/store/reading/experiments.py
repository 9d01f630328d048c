"""Lists of experiments: which ones, and in which order."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Float, Text, cast, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from paploss.client.states import FINAL_EXPERIMENT_STATES, Archived, ExperimentKind, ExperimentState
from paploss.controller.store.reading.lists import RowPage, SortedPage, page_of, within_table
from paploss.controller.store.reading.overview import MEASURED_KINDS
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials.counts import IS_WHOLE

Column = ColumnElement[Any] | InstrumentedAttribute[Any]
ExperimentOrder = Literal["started", "name", "state", "dataset", "owner", "project", "progress", "best"]


@dataclass(frozen=True)
class ExperimentFilter:
    """Which experiments a list has; a field at its default is no condition."""

    kinds: Sequence[ExperimentKind] = ()
    state: ExperimentState | None = None
    text: str = ""
    """In the id, the name, a tag or the note, whatever its case."""
    tag: str = ""
    profile: str = ""
    dataset: str = ""
    owner: str = ""
    project: str = ""
    archived: Archived = "all"

    def conditions(self) -> list[ColumnElement[bool]]:
        """The WHERE clauses."""
        exact = (
            (Experiment.state, self.state),
            (Experiment.profile, self.profile),
            (Experiment.dataset, self.dataset),
            (Experiment.owner, self.owner),
            (Experiment.project, self.project),
        )
        found = [column == value for column, value in exact if value]
        tags = cast(Experiment.tags, Text)  # a list of lower-case texts in JSON, as Python writes it
        if self.kinds:
            found.append(Experiment.kind.in_(self.kinds))
        if self.text:
            columns = (Experiment.id, Experiment.name, Experiment.note)
            in_columns = [column.icontains(self.text, autoescape=True) for column in columns]
            in_tag = tags.contains(json.dumps(self.text.lower())[1:-1], autoescape=True)
            found.append(or_(*in_columns, in_tag))
        if self.tag:
            found.append(tags.contains(json.dumps(self.tag.lower()), autoescape=True))
        if self.archived != "all":
            is_archived = Experiment.archived_at.is_not(None)
            found.append(is_archived if self.archived == "only" else ~is_archived)
        return found


def list_experiments(
    session: Session, chosen: ExperimentFilter = ExperimentFilter(), *, cursor: str | None = None, limit: int = 50
) -> RowPage[Experiment]:
    """Experiments, newest first."""
    query = select(Experiment).where(*chosen.conditions()).order_by(Experiment.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(Experiment.id < cursor)
    return page_of(session.scalars(query).all(), limit, lambda experiment: experiment.id)


def sort_experiments(
    session: Session,
    chosen: ExperimentFilter,
    *,
    order: ExperimentOrder = "started",
    descending: bool = True,
    offset: int = 0,
    limit: int = 50,
) -> SortedPage[Experiment]:
    """One page of the experiments by any column; those without a value come last in both directions."""
    conditions = chosen.conditions()
    key = _key(order)
    total = session.scalar(select(func.count()).select_from(Experiment).where(*conditions)) or 0
    offset = within_table(offset, limit, total)
    rows = session.scalars(
        select(Experiment)
        .where(*conditions)
        .order_by(key.is_(None), key.desc() if descending else key, Experiment.id.desc())
        .offset(offset)
        .limit(limit)
    ).all()
    return SortedPage(rows, total, offset)


def list_open_experiments(session: Session, limit: int) -> Sequence[Experiment]:
    """The newest experiments that have not ended."""
    is_open = Experiment.state.not_in(FINAL_EXPERIMENT_STATES)
    return session.scalars(select(Experiment).where(is_open).order_by(Experiment.created_at.desc()).limit(limit)).all()


def find_experiments(session: Session, experiment_ids: Sequence[str]) -> list[Experiment]:
    """The experiments of these ids that there are, in this order, each once."""
    rows = session.scalars(select(Experiment).where(Experiment.id.in_(experiment_ids)))
    found = {row.id: row for row in rows}
    return [found[each] for each in dict.fromkeys(experiment_ids) if each in found]


@dataclass(frozen=True)
class KnownValues:
    """What lists can be narrowed to, each in order."""

    tags: list[str]
    profiles: list[str]
    datasets: list[str]
    owners: list[str]


def known_values(session: Session, kinds: Sequence[ExperimentKind]) -> KnownValues:
    """The values that experiments of these kinds have."""

    def distinct(column: Column) -> list[str]:
        rows = session.scalars(select(column).where(Experiment.kind.in_(kinds), column.is_not(None)).distinct())
        return sorted(rows)

    lists_of_tags = distinct(cast(Experiment.tags, Text))
    return KnownValues(
        tags=sorted({tag for text in lists_of_tags for tag in json.loads(text)}),
        profiles=distinct(Experiment.profile),
        datasets=distinct(Experiment.dataset),
        owners=distinct(Experiment.owner),
    )


def _key(order: ExperimentOrder) -> Column:
    columns: dict[ExperimentOrder, Column] = {
        "started": Experiment.id,
        "name": func.lower(Experiment.name),
        "state": Experiment.state,
        "dataset": func.lower(Experiment.dataset),
        "owner": func.lower(Experiment.owner),
        "project": Experiment.project,
        "progress": cast(Experiment.round, Float) / Experiment.rounds,
    }
    return columns[order] if order in columns else _best()


def _best() -> ColumnElement[Any]:
    """What lists show as the best: a confirmed mean, the best mean of a loss, or the best reward."""
    of_it = (Trial.experiment_id == Experiment.id, Trial.reward.is_not(None))
    means = (
        select(func.avg(Trial.reward).label("mean"))
        .where(*of_it, Trial.kind.in_(MEASURED_KINDS), Experiment.kind != "search")
        .group_by(Trial.label)
        .correlate(Experiment)
        .subquery()
    )
    best_mean = select(func.max(means.c.mean)).scalar_subquery()
    best_reward = select(func.max(Trial.reward)).where(*of_it, *IS_WHOLE).correlate(Experiment).scalar_subquery()
    return func.coalesce(Experiment.best["mean"].as_float(), best_mean, best_reward)
