"""What is stored of analyses: once, within bounds, thumbnails once for an experiment."""

from typing import Any

import pytest
from analyses import make_analysis
from scenarios import add_training, claim, succeeded
from sqlalchemy import func, select

from paploss.controller.store import tables
from paploss.controller.store.database import Database
from paploss.controller.store.documents import PICTURES, SUMMARY
from paploss.controller.store.errors import NotFoundError
from paploss.controller.store.reading.analyses import find_analysis, read_label_analyses, read_thumbnail
from paploss.controller.store.trials import analyses, leases
from paploss.jobs.analysis import Analysis, KeptPicture
from paploss.jobs.lease import ResultRequest


def deliver(database: Database, trial_id: str, analysis: Analysis | None, times: int = 1) -> None:
    token = claim(database, trial_id)
    request = ResultRequest(trial_id=trial_id, token=token, result=succeeded(), analysis=analysis)
    for _ in range(times):
        with database.write() as session:
            leases.finish(session, request)


def trial_ids(database: Database, count: int) -> list[str]:
    experiment = add_training(database, losses=[{"label": "start", "preset": "identity"}], seeds=list(range(count)))
    return [f"{experiment.id}-{number:06d}" for number in range(count)]


def kept_pictures(database: Database, trial_id: str) -> tuple[KeptPicture, ...] | None:
    with database.read() as session:
        found = find_analysis(session, trial_id)
        assert found is not None
        return None if found.pictures is None else PICTURES.read(found.pictures).pictures


def count_thumbnails(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(tables.Thumbnail)) or 0


def test_a_result_brings_its_analysis_once(database: Database) -> None:
    (trial_id,) = trial_ids(database, 1)
    analysis = make_analysis(0.25)
    deliver(database, trial_id, analysis, times=3)
    with database.read() as session:
        found = find_analysis(session, trial_id)
        assert found is not None
        assert SUMMARY.read(found.summary) == analysis.summary
    kept = kept_pictures(database, trial_id)
    assert kept is not None
    for picture, sent in zip(kept, analysis.pictures, strict=True):
        assert picture.model_dump(exclude={"thumbnail"}) == sent.model_dump(exclude={"thumbnail"})
        assert picture.thumbnail is not None


def test_a_worker_that_sends_none_stores_none(database: Database) -> None:
    (trial_id,) = trial_ids(database, 1)
    deliver(database, trial_id, None)
    with database.read() as session:
        assert find_analysis(session, trial_id) is None


def test_trainings_of_an_experiment_share_their_thumbnails_and_experiments_do_not(database: Database) -> None:
    first, second = trial_ids(database, 2)
    (other,) = trial_ids(database, 1)
    for trial_id in (first, second):
        deliver(database, trial_id, make_analysis())
    assert count_thumbnails(database) == 2
    deliver(database, other, make_analysis())
    assert count_thumbnails(database) == 4
    pictures = kept_pictures(database, first)
    assert pictures == kept_pictures(database, second)
    assert pictures is not None
    with database.read() as session:
        jpeg = read_thumbnail(session, first.partition("-")[0], str(pictures[0].thumbnail))
        assert jpeg.startswith(b"\xff\xd8")
        with pytest.raises(NotFoundError, match="no thumbnail"):
            read_thumbnail(session, first.partition("-")[0], "0" * 32)


def test_an_experiment_has_so_many_thumbnails_and_pictured_trials(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyses, "MOST_THUMBNAILS", 3)
    monkeypatch.setattr(analyses, "MOST_PICTURED", 2)
    ids = trial_ids(database, 3)
    for number, trial_id in enumerate(ids):
        deliver(database, trial_id, make_analysis(first=2 * number))
    assert count_thumbnails(database) == 3
    second = kept_pictures(database, ids[1])
    assert second is not None
    assert [picture.thumbnail is None for picture in second] == [False, True]
    assert kept_pictures(database, ids[2]) is None
    with database.read() as session:
        assert len(read_label_analyses(session, ids[0].partition("-")[0])) == 3


def test_those_of_a_deleted_experiment_go_with_it(database: Database) -> None:
    (trial_id,) = trial_ids(database, 1)
    deliver(database, trial_id, make_analysis())
    with database.write() as session:
        session.delete(session.get_one(tables.Experiment, trial_id.partition("-")[0]))
    assert count_thumbnails(database) == 0
    with database.read() as session:
        assert find_analysis(session, trial_id) is None


def test_numbers_are_read_by_label_and_seed(database: Database) -> None:
    experiment = add_training(database, seeds=[3, 4])
    sent: dict[tuple[str, int], Any] = {}
    for number in range(4):
        trial_id = f"{experiment.id}-{number:06d}"
        with database.read() as session:
            trial = session.get_one(tables.Trial, trial_id)
            sent[trial.label, trial.seed] = make_analysis(0.1 * (number + 1)).summary
        deliver(database, trial_id, make_analysis(0.1 * (number + 1)))
    with database.read() as session:
        found = read_label_analyses(session, experiment.id)
    assert {(each.label, each.seed): each.summary for each in found} == sent
