"""What a session for one project sees: its experiments and what belongs to them, as if there were no others.

This is the one place of that rule. It is added to every SELECT, UPDATE and DELETE of the ORM that such a session makes,
whatever the statement says, so a query cannot forget it. Statements on bare tables (`table_of`) are not changed: they
are for what was found by the ORM before, or must be counted over all projects, and say so.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Exists, event, exists, or_, true
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.orm.util import LoaderCriteriaOption

from paploss.client.projects import DEFAULT_PROJECT
from paploss.controller.store.database import Database, table_of
from paploss.controller.store.tables import (
    AccessToken,
    Analysis,
    ApiKey,
    Attempt,
    Base,
    DeletedExperiment,
    Delivery,
    Evaluation,
    Event,
    Experiment,
    IdempotencyKey,
    LateResult,
    Leader,
    Project,
    Round,
    SignIn,
    Subscription,
    Tally,
    Thumbnail,
    Trial,
    WatchState,
    Worker,
)

SHARED: Final[Sequence[type[Base]]] = (
    # found by their owner or by a secret
    ApiKey,
    SignIn,
    AccessToken,
    IdempotencyKey,
    # of the platform, with no word of an experiment but its id
    Worker,
    Leader,
    DeletedExperiment,
)
"""Tables that a session for one project sees whole; all others are in `conditions`."""

_PROJECT: Final = "project"
"""Key in a session's info."""


def within(database: Database, project: str | None) -> Database:
    """The database as one project sees it; as it is, where `project` is None."""
    return database if project is None else database.with_sessions(partial(ProjectSession, info={_PROJECT: project}))


def project_of(session: Session) -> str:
    """The project that new experiments of a session belong to: that which it is for, or the default one."""
    return str(session.info.get(_PROJECT, DEFAULT_PROJECT))


class ProjectSession(Session):
    """A session for one project."""


@lru_cache(maxsize=256)  # making them costs more than most statements
def _limits(project: str) -> Sequence[LoaderCriteriaOption]:
    found = conditions(project).items()
    return [with_loader_criteria(model, condition, include_aliases=True) for model, condition in found]


def conditions(project: str) -> Mapping[type[Base], ColumnElement[bool]]:
    """Which rows a project sees, by table."""
    experiments, trials, subscriptions = (table_of(model).alias() for model in (Experiment, Trial, Subscription))

    def is_in_it(experiment_id: Any) -> ColumnElement[bool]:
        return _check(exists().where(experiments.c.id == experiment_id, experiments.c.project == project))

    def has_its_trial(trial_id: Any) -> ColumnElement[bool]:
        its = (experiments.c.id == trials.c.experiment_id, experiments.c.project == project)
        return _check(exists().where(trials.c.id == trial_id, *its))

    its_subscription = (subscriptions.c.id == Delivery.subscription_id, subscriptions.c.project == project)
    return {
        Project: Project.name == project,
        Experiment: Experiment.project == project,
        Subscription: Subscription.project == project,
        Delivery: _check(exists().where(*its_subscription)),
        **{model: is_in_it(model.experiment_id) for model in (Round, Trial, Tally, Thumbnail, WatchState)},
        Event: or_(Event.experiment_id.is_(None), is_in_it(Event.experiment_id)),  # else of the platform
        **{model: has_its_trial(model.trial_id) for model in (Analysis, Attempt, Evaluation, LateResult)},
    }


def _check(condition: Exists) -> ColumnElement[bool]:
    # As a check of each row found, which IS TRUE makes of it: as a join PostgreSQL would begin with it, and read all
    # trials of a project to find those of one search.
    return condition.is_(true())


@event.listens_for(ProjectSession, "do_orm_execute")
def _limit(state: ORMExecuteState) -> None:
    if state.is_orm_statement and (state.is_select or state.is_update or state.is_delete):
        state.statement = state.statement.options(*_limits(project_of(state.session)))
