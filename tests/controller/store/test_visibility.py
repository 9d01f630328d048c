"""What a session for one project sees, table by table."""

import pytest
from scenarios import add_search, add_trial, claim, evaluation, finish, renew, search, succeeded, trial
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import aliased

from paploss.client.projects import ProjectRequest
from paploss.controller.store.database import Database
from paploss.controller.store.projects import create_project
from paploss.controller.store.reading.lists import get_experiment
from paploss.controller.store.tables import (
    Analysis,
    Attempt,
    Base,
    Evaluation,
    Event,
    Experiment,
    LateResult,
    Project,
    Round,
    Tally,
    Thumbnail,
    Trial,
    WatchState,
)
from paploss.controller.store.visibility import SHARED, conditions, within

NAMES = ("lab", "elsewhere")


@pytest.fixture
def trials(database: Database) -> dict[str, str]:
    """Of each project one trial, with a row of every table that belongs to an experiment."""
    found = {}
    for name in NAMES:
        with database.write() as session:
            create_project(session, ProjectRequest(name=name))
        trial_id = found[name] = add_trial(within(database, name))
        token = claim(database, trial_id)
        renew(database, trial_id, token, evaluations=(evaluation(5, 0.1),))
        finish(database, trial_id, token, succeeded())
        experiment_id = trial(database, trial_id).experiment_id
        with database.write() as session:
            session.add_all(
                [
                    Round(experiment_id=experiment_id, number=0),
                    Tally(experiment_id=experiment_id, until=1, sums={}),
                    WatchState(experiment_id=experiment_id),
                    LateResult(trial_id=trial_id, attempt=1, result={}),
                    Analysis(trial_id=trial_id, summary={}),
                    Thumbnail(experiment_id=experiment_id, digest="0" * 32, jpeg=""),
                ]
            )
    return found


def test_every_table_is_either_of_a_project_or_shared() -> None:
    """Whoever adds a table decides it here."""
    assert set(conditions("lab")) | set(SHARED) == set(Base.__subclasses__())
    assert not set(conditions("lab")) & set(SHARED)


@pytest.mark.parametrize(
    "model",
    [
        *(Experiment, Project, Trial, Round, Tally, Thumbnail, WatchState),
        *(Analysis, Attempt, Evaluation, LateResult, Event),
    ],
)
def test_a_project_sees_its_own_rows_alone(database: Database, trials: dict[str, str], model: type[Base]) -> None:
    with database.read() as session:
        everything = session.execute(select(func.count()).select_from(model)).scalar_one()
    counts = []
    for name in (*NAMES, *NAMES):  # the same statement again, from the cache of compiled ones
        with within(database, name).read() as session:
            rows = session.scalars(select(model)).all()
            counts.append(session.execute(select(func.count()).select_from(model)).scalar_one())
            assert len(rows) == counts[-1] > 0
            assert {_project_of(database, row) for row in rows} == {name}
    assert counts[:2] == counts[2:]
    unrelated = 1 if model is Project else 0  # the default one
    assert sum(counts[:2]) == everything - unrelated


def _project_of(database: Database, row: Base) -> str:
    if isinstance(row, Project):
        return row.name
    if isinstance(row, Experiment):
        return row.project
    trial_id = getattr(row, "trial_id", None)
    own = getattr(row, "experiment_id", None)
    return search(database, own or trial(database, trial_id or "").experiment_id).project


def test_no_form_of_a_query_gets_around_it(database: Database, trials: dict[str, str]) -> None:
    theirs = trials["elsewhere"]
    other = aliased(Trial)
    with within(database, "lab").write() as session:
        assert session.get(Trial, theirs) is None
        assert session.get(Attempt, (theirs, 1)) is None
        assert session.scalar(select(Trial.id).where(Trial.id == theirs)) is None
        assert session.scalars(select(other.id)).all() == [trials["lab"]]
        assert session.scalars(select(Attempt.trial_id).join(Trial, Trial.id == Attempt.trial_id)).all() == [
            trials["lab"]
        ]
        best = select(func.max(Trial.id)).scalar_subquery()
        assert session.scalar(select(Experiment.id, best).with_only_columns(best)) == trials["lab"]
        inner = select(Trial.id).subquery()
        assert session.scalars(select(inner.c.id)).all() == [trials["lab"]]
        assert session.execute(update(Trial).values(note="changed")).rowcount == 1
        assert session.execute(delete(Attempt).where(Attempt.trial_id == theirs)).rowcount == 0
    assert trial(database, theirs).note == ""


def test_without_a_project_everything_is_seen(database: Database, trials: dict[str, str]) -> None:
    with within(database, None).read() as session:
        assert set(session.scalars(select(Trial.id))) == set(trials.values())


def test_what_is_made_belongs_to_the_sessions_project(database: Database, trials: dict[str, str]) -> None:
    assert add_search(within(database, "lab")).project == "lab"
    assert add_search(database).project == "default"
    with within(database, "default").read() as session:
        assert get_experiment(session, session.scalars(select(Experiment.id)).one()).project == "default"
