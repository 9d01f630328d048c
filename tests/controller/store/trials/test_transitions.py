import pytest
from scenarios import (
    add_search,
    add_training,
    add_trial,
    attempts,
    claim,
    expire,
    failed,
    finish,
    pass_lease,
    release,
    renew,
    succeeded,
    trial,
)

from paploss.controller.store.database import Database
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.reading import lists
from paploss.controller.store.tables import Event
from paploss.controller.store.trials import transitions
from paploss.jobs.ids import experiment_of


def trial_events(database: Database, trial_id: str) -> list[Event]:
    with database.read() as session:
        events = lists.list_events(session, experiment_of(trial_id)).items
    return [event for event in events if event.trial_id == trial_id]


def test_a_cancelled_trial_ends_and_the_others_go_on(database: Database) -> None:
    search = add_training(database)
    first, second = f"{search.id}-000000", f"{search.id}-000001"
    tokens = claim(database, first), claim(database, second)
    for _ in range(2):
        with database.write() as session:
            transitions.cancel_trial(session, first)
    assert renew(database, first, tokens[0]) == "cancel"
    assert renew(database, second, tokens[1]) == "continue"
    assert attempts(database, first)[0].outcome == "cancelled"
    finish(database, second, tokens[1], succeeded())
    with pytest.raises(ConflictError), database.write() as session:
        transitions.cancel_trial(session, second)


def test_an_attempt_that_expires_before_it_started_is_charged_to_no_budget(database: Database) -> None:
    trial_id = add_trial(database)
    claim(database, trial_id)
    assert expire(database, trial_id) == "queued"
    row = trial(database, trial_id)
    assert (row.preemptions, row.failed_attempts) == (0, 0)
    assert attempts(database, trial_id)[0].outcome == "expired"


def test_an_attempt_that_expires_after_it_started_counts_as_a_preemption(database: Database) -> None:
    trial_id = add_trial(database)
    renew(database, trial_id, claim(database, trial_id))
    assert expire(database, trial_id) == "queued"
    row = trial(database, trial_id)
    assert (row.preemptions, row.failed_attempts) == (1, 0)


def test_the_event_log_tells_a_trials_story(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    renew(database, trial_id, token)
    release(database, trial_id, token, "preempted")
    token = claim(database, trial_id)
    renew(database, trial_id, token)
    finish(database, trial_id, token, succeeded())
    assert [event.kind for event in trial_events(database, trial_id)] == ["trial_preempted", "trial_succeeded"]


def test_a_search_without_trials_yet_has_nothing_to_expire(database: Database) -> None:
    add_search(database)
    with database.write() as session:
        assert transitions.find_expired(session) == []


def test_what_has_expired_runs_and_has_no_lease_any_more(database: Database) -> None:
    search = add_training(database)
    expired, held = f"{search.id}-000000", f"{search.id}-000001"
    for trial_id in (expired, held):
        claim(database, trial_id)
    pass_lease(database, expired)
    queued = add_trial(database)
    pass_lease(database, queued)
    with database.read() as session:
        assert transitions.find_expired(session) == [expired]


def test_cancelling_all_of_an_experiment_ends_its_open_attempts_and_no_others(database: Database) -> None:
    search = add_training(database)
    done, open_one, elsewhere = f"{search.id}-000000", f"{search.id}-000001", add_trial(database)
    finish(database, done, claim(database, done), succeeded())
    for trial_id in (open_one, elsewhere):
        claim(database, trial_id)
    with database.write() as session:
        transitions.cancel_open_trials(session, search.id)
    states = [trial(database, trial_id).state for trial_id in (done, open_one, elsewhere)]
    assert states == ["succeeded", "cancelled", "running"]
    ends = [attempts(database, trial_id)[0] for trial_id in (done, open_one, elsewhere)]
    assert [end.outcome for end in ends] == ["succeeded", "cancelled", None]
    assert ends[1].ended_at is not None


def test_a_trial_that_fails_for_good_is_an_error_in_the_log(database: Database) -> None:
    trial_id = add_trial(database)
    finish(database, trial_id, claim(database, trial_id), failed("user", "no such file"))
    (event,) = trial_events(database, trial_id)
    assert (event.kind, event.level, event.message) == ("trial_failed", "error", "no such file")
