"""What is cleared after some days, and what stays."""

import io
from typing import Any

from analyses import make_analysis
from scenarios import add_trial, attempts, claim, evaluation, finish, renew, search, search_spec, succeeded, trial
from sqlalchemy import func, select, update

from paploss.controller.experiments.creation import create
from paploss.controller.store import dumps, experiments, retention
from paploss.controller.store.database import Database, now
from paploss.controller.store.events import record
from paploss.controller.store.experiments import Idempotency
from paploss.controller.store.reading import lists
from paploss.controller.store.tables import (
    Analysis,
    Base,
    DeletedExperiment,
    Evaluation,
    Event,
    Experiment,
    IdempotencyKey,
    LateResult,
    Thumbnail,
    Worker,
)
from paploss.controller.store.trials import leases
from paploss.jobs.ids import experiment_of
from paploss.jobs.lease import ResultRequest

DAYS = 30.0


def count(database: Database, model: type[Base], *conditions: Any) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(model).where(*conditions)) or 0


def end(database: Database, experiment_id: str, days_ago: float) -> None:
    with database.write() as session:
        experiments.cancel_experiment(session, experiment_id)
        ended_at = now() - days_ago * retention.DAY_SECONDS
        session.execute(update(Experiment).where(Experiment.id == experiment_id).values(finished_at=ended_at))


def clear(database: Database) -> list[str]:
    cleared = []
    while True:
        with database.write() as session:
            experiment_id = retention.clear_details(session, DAYS)
        if experiment_id is None:
            return cleared
        cleared.append(experiment_id)


def run_trial(database: Database) -> str:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    renew(database, trial_id, token, evaluations=(evaluation(2, 0.1),), log_tail="many lines")
    finish(database, trial_id, token, succeeded(0.25))
    return trial_id


def test_details_of_old_searches_go_and_their_results_stay(database: Database) -> None:
    old, young, open_one = run_trial(database), run_trial(database), run_trial(database)
    with database.write() as session:
        for trial_id in (old, young):
            leases.keep_late_result(session, ResultRequest(trial_id=trial_id, token="t", result=succeeded()), 1, "late")
    old_search, young_search = old.partition("-")[0], young.partition("-")[0]
    end(database, old_search, DAYS + 1)
    end(database, young_search, DAYS - 1)
    assert clear(database) == [old_search]
    assert clear(database) == []
    assert (trial(database, old).reward, search(database, old_search).state) == (0.25, "cancelled")
    assert [attempt.log_tail for attempt in attempts(database, old)] == [""]
    assert count(database, Evaluation, Evaluation.trial_id == old) == 0
    assert count(database, LateResult, LateResult.trial_id == old) == 0
    assert count(database, LateResult, LateResult.trial_id == young) == 1
    with database.read() as session:
        assert [event.kind for event in lists.latest_events(session, old_search, 50)] == ["details_cleared"]
    for kept in (young, open_one):
        assert [attempt.log_tail for attempt in attempts(database, kept)] == ["many lines"]
        assert count(database, Evaluation, Evaluation.trial_id == kept) == 1
        assert count(database, Event, Event.trial_id == kept, Event.kind == "trial_succeeded") == 1


def test_pictures_go_and_the_numbers_of_an_analysis_stay(database: Database) -> None:
    kept = {}
    for days_ago in (DAYS + 1, DAYS - 1):
        trial_id = add_trial(database)
        token = claim(database, trial_id)
        request = ResultRequest(trial_id=trial_id, token=token, result=succeeded(), analysis=make_analysis())
        with database.write() as session:
            leases.finish(session, request)
        end(database, experiment_of(trial_id), days_ago)
        kept[days_ago] = trial_id
    clear(database)
    for days_ago, pictured in ((DAYS + 1, 0), (DAYS - 1, 1)):
        trial_id = kept[days_ago]
        assert count(database, Analysis, Analysis.trial_id == trial_id) == 1
        assert count(database, Analysis, Analysis.trial_id == trial_id, Analysis.pictures.is_not(None)) == pictured
        assert count(database, Thumbnail, Thumbnail.experiment_id == experiment_of(trial_id)) == 2 * pictured


def test_old_lines_lost_workers_and_spent_idempotency_keys_go(database: Database) -> None:
    run_trial(database)
    with database.write() as session:
        create(session, search_spec(), "ann", Idempotency("once", "0" * 64))
        record(session, "leader_changed", "somebody leads")
        record(session, "workers_blocked", "workers of pool gpu: no GPU")
    with database.write() as session:
        retention.clear_platform(session, DAYS)
    assert (count(database, Worker), count(database, IdempotencyKey)) == (1, 1)
    assert count(database, Event, Event.experiment_id.is_(None)) == 2
    long_ago = now() - (DAYS + 1) * retention.DAY_SECONDS
    with database.write() as session:
        session.execute(update(Worker).values(last_seen_at=long_ago))
        session.execute(update(IdempotencyKey).values(created_at=long_ago))
        session.execute(update(Event).where(Event.experiment_id.is_(None)).values(at=long_ago))
        retention.clear_platform(session, DAYS)
    assert (count(database, Worker), count(database, IdempotencyKey)) == (0, 0)
    assert count(database, Experiment) == 2
    with database.read() as session:  # what keeps workers from starting stands until it changes
        assert list(session.scalars(select(Event.kind).where(Event.experiment_id.is_(None)))) == ["workers_blocked"]


def test_lost_workers_and_spent_idempotency_keys_go_before_details_do(database: Database) -> None:
    run_trial(database)
    with database.write() as session:
        create(session, search_spec(), "ann", Idempotency("once", "0" * 64))
    for days_ago, left in ((1, (1, 1)), (3, (1, 0)), (8, (0, 0))):
        moment = now() - days_ago * retention.DAY_SECONDS
        with database.write() as session:
            session.execute(update(Worker).values(last_seen_at=moment))
            session.execute(update(IdempotencyKey).values(created_at=moment))
            retention.clear_platform(session, DAYS)
        assert (count(database, Worker), count(database, IdempotencyKey)) == left


def test_files_of_a_deleted_search_may_be_removed_and_those_of_an_unknown_one_are_not(database: Database) -> None:
    trial_id = run_trial(database)
    experiment_id = experiment_of(trial_id)
    dumped = io.BytesIO()
    end(database, experiment_id, 0)
    dumps.dump(database, experiment_id, dumped)
    experiments.delete_experiment(database, experiment_id)
    asked = [trial_id, "0unknown-000000"]
    with database.write() as session:
        assert retention.find_removable_files(session, asked, days=1) == []
        session.execute(update(DeletedExperiment).values(deleted_at=now() - 2 * retention.DAY_SECONDS))
        assert retention.find_removable_files(session, asked, days=1) == [trial_id]
    dumped.seek(0)
    dumps.load(database, dumped, [], most_bytes=1_000_000, try_views=lambda *_: None)
    with database.read() as session:  # it is back, and with it its files are wanted as those of any other
        assert retention.find_removable_files(session, asked, days=1) == []
