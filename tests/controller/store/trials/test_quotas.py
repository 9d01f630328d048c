"""What a project may use at once and in all."""

import pytest
from scenarios import add_training, claim, claim_at_once, finish, succeeded
from sqlalchemy import update

from paploss.client.projects import ProjectChange, ProjectRequest
from paploss.controller.loop.feed import choose_next
from paploss.controller.store.database import Database
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.projects import change_project, create_project
from paploss.controller.store.tables import Attempt, Experiment
from paploss.controller.store.trials.demand import count_wanted, find_claimants, find_rooms
from paploss.controller.store.trials.quotas import count_running, estimate_gpu_use
from paploss.controller.store.trials.spending import read_ended_gpu_seconds, read_gpu_seconds, read_spent_seconds
from paploss.controller.store.visibility import within


def make_project(database: Database, name: str = "lab", **quotas: object) -> Database:
    with database.write() as session:
        create_project(session, ProjectRequest.model_validate({"name": name} | quotas))
    return within(database, name)


def test_claims_at_once_of_several_experiments_keep_to_their_projects_cap(database: Database) -> None:
    lab = make_project(database, max_running_trials=3)
    ids = [add_training(lab, seeds=[0, 1]).id for _ in range(2)]
    granted, refused = claim_at_once(database, [f"{ids[number % 2]}-{number // 2:06d}" for number in range(8)])
    assert (len(granted), len(refused)) == (3, 5)
    assert set(refused) == {"the project 'lab' has its 3 running trials"}
    with database.read() as session:
        assert count_running(session) == {"lab": 3}


def test_a_cap_is_of_one_project_alone_and_ends_with_a_trial(database: Database) -> None:
    lab = make_project(database, max_running_trials=1)
    mine, others = add_training(lab, seeds=[0, 1]).id, add_training(database).id
    token = claim(database, f"{mine}-000000")
    claim(database, f"{others}-000000")
    with pytest.raises(ConflictError, match="has its 1 running trials"):
        claim(database, f"{mine}-000001")
    finish(database, f"{mine}-000000", token, succeeded())
    assert claim(database, f"{mine}-000001")


def test_the_lower_of_two_caps_holds(database: Database) -> None:
    lab = make_project(database, max_running_trials=2)
    made = add_training(lab, seeds=[0, 1], max_running_trials=1).id
    claim(database, f"{made}-000000")
    with pytest.raises(ConflictError, match=f"experiment {made} has its 1 running trials"):
        claim(database, f"{made}-000001")


def test_a_higher_cap_holds_for_the_next_claim(database: Database) -> None:
    lab = make_project(database, max_running_trials=1)
    made = add_training(lab, seeds=[0, 1]).id
    claim(database, f"{made}-000000")
    with database.write() as session:
        change_project(session, "lab", ProjectChange())
    assert claim(database, f"{made}-000001")


def test_no_more_trials_of_a_project_enter_the_queue_than_may_run(database: Database) -> None:
    lab = make_project(database, max_running_trials=3)
    mine = [add_training(lab, seeds=[0, 1]).id for _ in range(2)]
    others = add_training(database, seeds=[0, 1]).id
    claim(database, f"{mine[0]}-000000")
    present = {f"{mine[1]}-000000"}
    with database.read() as session:
        rooms = find_rooms(session, present)
        claimants = find_claimants(session, 0, present, 20)
    chosen = choose_next(claimants, 20, rooms)
    assert rooms == {"lab": 1}
    assert sum(each.startswith(tuple(mine)) for each in chosen) == 1
    assert sum(each.startswith(others) for each in chosen) == 4


def test_workers_are_wanted_for_what_may_run(database: Database) -> None:
    lab = make_project(database, max_running_trials=3)
    for _ in range(2):
        add_training(lab, seeds=[0, 1])
    with database.read() as session:
        assert count_wanted(session) == {0: 3}
    add_training(database, seeds=[0])
    with database.read() as session:
        assert count_wanted(session) == {0: 5}


def test_gpu_hours_are_those_of_every_attempt_times_its_gpus(database: Database) -> None:
    lab = make_project(database)
    for gpus in (0, 2):
        made = add_training(lab, seeds=[0]).id
        with database.write() as session:
            session.execute(update(Experiment).where(Experiment.id == made).values(gpus=gpus))
        finish(database, f"{made}-000000", claim(database, f"{made}-000000"), succeeded())
    elsewhere = add_training(database).id
    finish(database, f"{elsewhere}-000000", claim(database, f"{elsewhere}-000000"), succeeded())
    with database.write() as session:
        session.execute(update(Attempt).values(claimed_at=Attempt.ended_at - 3600))
    with database.read() as session:
        assert read_ended_gpu_seconds(session, "lab") == pytest.approx(3 * 3600)  # one without a GPU counts as with one
        assert read_gpu_seconds(session, ["lab"]) == {"lab": pytest.approx(3 * 3600)}


def test_open_trials_are_taken_to_need_what_others_of_their_experiment_did(database: Database) -> None:
    """Two hours for each of three open ones of two GPUs; nothing is known of the other experiment's."""
    lab = make_project(database)
    made = add_training(lab, seeds=[0, 1], gpus=2).id
    add_training(lab)
    finish(database, f"{made}-000000", claim(database, f"{made}-000000"), succeeded())
    with database.write() as session:
        session.execute(update(Attempt).values(claimed_at=Attempt.ended_at - 2 * 3600))
        assert estimate_gpu_use(session, "lab") == pytest.approx(4 * 2 * 2 * 3600)


def test_an_attempt_during_which_the_clock_was_set_back_pays_for_no_other(database: Database) -> None:
    lab = make_project(database)
    made = add_training(lab, seeds=[0, 1]).id
    for number, seconds in enumerate((3600, -7200)):
        trial_id = f"{made}-{number:06}"
        finish(database, trial_id, claim(database, trial_id), succeeded())
        with database.write() as session:
            its = update(Attempt).where(Attempt.trial_id == trial_id)
            session.execute(its.values(claimed_at=Attempt.ended_at - seconds))
    with database.read() as session:
        assert read_ended_gpu_seconds(session, "lab") == pytest.approx(3600)
        assert read_gpu_seconds(session, ["lab"]) == {"lab": pytest.approx(3600)}
        assert read_spent_seconds(session, made) == pytest.approx(3600)


def test_nothing_starts_in_a_project_whose_hours_are_used(database: Database) -> None:
    lab = make_project(database, gpu_hours=1)
    made = add_training(lab).id
    finish(database, f"{made}-000000", claim(database, f"{made}-000000"), succeeded())
    with database.write() as session:
        session.execute(update(Attempt).values(claimed_at=Attempt.ended_at - 3601))
    with pytest.raises(ConflictError, match="has used its 1 GPU-hours"):
        add_training(lab)
    assert add_training(database).project == "default"
