"""What a session for one project sees: its experiments and what belongs to them, as if there were no others.

This is the one place of that rule. It is added to every SELECT, UPDATE and DELETE of the ORM that such a session makes,
whatever the statement says, so a query cannot forget it. Statements on bare tables (`table_of`) are not changed: they
are for what was found by the ORM before, or must be counted over all projects, and say so.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, event, exists, or_, select
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
    *(ApiKey, SignIn, AccessToken, IdempotencyKey),  # found by their owner or by a secret
    *(Worker, Leader, DeletedExperiment),  # of the platform, with no word of an experiment but its id
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

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        found = conditions(project_of(self)).items()
        self.limits: Sequence[LoaderCriteriaOption] = [
            with_loader_criteria(model, condition, include_aliases=True) for model, condition in found
        ]


def conditions(project: str) -> Mapping[type[Base], ColumnElement[bool]]:
    """Which rows a project sees, by table."""
    experiments, trials = table_of(Experiment).alias(), table_of(Trial).alias()
    subscriptions = table_of(Subscription).alias()
    its = select(experiments.c.id).where(experiments.c.project == project)
    its_subscriptions = select(subscriptions.c.id).where(subscriptions.c.project == project)

    def of_its_trial(trial_id: Any) -> ColumnElement[bool]:
        return exists().where(trials.c.id == trial_id, trials.c.experiment_id.in_(its))

    return {
        Project: Project.name == project,
        Experiment: Experiment.project == project,
        Subscription: Subscription.project == project,
        Delivery: Delivery.subscription_id.in_(its_subscriptions),
        **{model: model.experiment_id.in_(its) for model in (Round, Trial, Tally, Thumbnail, WatchState)},
        Event: or_(Event.experiment_id.is_(None), Event.experiment_id.in_(its)),  # else of the platform
        **{model: of_its_trial(model.trial_id) for model in (Analysis, Attempt, Evaluation, LateResult)},
    }


@event.listens_for(ProjectSession, "do_orm_execute")
def _limit(state: ORMExecuteState) -> None:
    if state.is_orm_statement and (state.is_select or state.is_update or state.is_delete):
        assert isinstance(state.session, ProjectSession)  # noqa: S101 - it is listened to on no other
        state.statement = state.statement.options(*state.session.limits)
