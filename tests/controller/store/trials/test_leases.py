import threading
import uuid
from collections.abc import Callable

import pytest
from scenarios import (
    LEASE_SECONDS,
    add_training,
    add_trial,
    attempts,
    claim,
    claim_at_once,
    evaluation,
    expire,
    failed,
    finish,
    pass_lease,
    release,
    renew,
    succeeded,
    trial,
)
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from paploss.controller.store import experiments
from paploss.controller.store.database import Database, now
from paploss.controller.store.errors import ConflictError, GoneError, LateResultError, NotFoundError
from paploss.controller.store.reading import lists
from paploss.controller.store.tables import Attempt, Trial, Worker
from paploss.controller.store.trials import leases, transitions
from paploss.jobs.lease import ClaimRequest, GpuUse, ReleaseRequest, RenewRequest, ResultRequest, WorkerInfo
from paploss.jobs.spec import JobResult, ProgressEvent, StartEvent

# Claims


def test_a_claim_gives_a_trial_to_one_worker_only(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    assert len(token) == 32
    with pytest.raises(ConflictError, match="running as attempt 1"):
        claim(database, trial_id)
    row = trial(database, trial_id)
    assert (row.state, row.attempt, row.worker, row.started_at) == ("running", 1, "w1", None)


def test_a_repeated_claim_gets_the_same_lease(database: Database) -> None:
    trial_id, claim_id = add_trial(database), uuid.uuid4()
    assert claim(database, trial_id, claim_id) == claim(database, trial_id, claim_id)
    assert len(attempts(database, trial_id)) == 1


def test_a_repeated_claim_whose_lease_has_ended_gets_no_second_attempt(database: Database) -> None:
    trial_id, claim_id = add_trial(database), uuid.uuid4()
    claim(database, trial_id, claim_id)
    expire(database, trial_id)
    with pytest.raises(ConflictError, match="has ended"):
        claim(database, trial_id, claim_id)
    assert trial(database, trial_id).state == "queued"


def test_a_claim_id_is_good_for_one_trial(database: Database) -> None:
    first, second, claim_id = add_trial(database), add_trial(database), uuid.uuid4()
    claim(database, first, claim_id)
    with pytest.raises(ConflictError, match="was used for trial"):
        claim(database, second, claim_id)


def test_of_many_claims_at_once_exactly_one_is_granted(database: Database) -> None:
    trial_id = add_trial(database)
    granted, refused = [], []
    barrier = threading.Barrier(8)

    def compete(name: str) -> None:
        barrier.wait()
        try:
            granted.append(claim(database, trial_id, worker=name))
        except ConflictError as error:
            refused.append(error)

    threads = [threading.Thread(target=compete, args=(f"w{index}",)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(granted), len(refused)) == (1, 7)
    assert [attempt.token for attempt in attempts(database, trial_id)] == granted


def test_the_same_claim_twice_at_once_is_one_attempt(database: Database) -> None:
    trial_id, claim_id = add_trial(database), uuid.uuid4()
    tokens: list[str] = []
    barrier = threading.Barrier(4)

    def repeat() -> None:
        barrier.wait()
        tokens.append(claim(database, trial_id, claim_id))

    threads = [threading.Thread(target=repeat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 4
    assert len(set(tokens)) == 1


def test_nothing_is_claimed_while_the_search_is_paused_or_after_its_end(database: Database) -> None:
    trial_id = add_trial(database)
    experiment_id = trial(database, trial_id).experiment_id
    with database.write() as session:
        experiments.pause_experiment(session, experiment_id)
    with pytest.raises(ConflictError, match="is paused"):
        claim(database, trial_id)
    with database.write() as session:
        experiments.cancel_experiment(session, experiment_id)
    with pytest.raises(GoneError, match="cancelled"):
        claim(database, trial_id)


def test_a_granted_lease_lasts_as_long_as_was_said(database: Database) -> None:
    trial_id = add_trial(database)
    claim(database, trial_id)
    with database.read() as session:
        left = session.scalars(select(Trial.lease_until - now()).where(Trial.id == trial_id)).one()
    assert LEASE_SECONDS / 2 < left <= LEASE_SECONDS


def test_a_grant_has_the_request_of_its_own_experiment(database: Database) -> None:
    granted = []
    for name in ("first", "second"):
        request = ClaimRequest(
            claim_id=uuid.uuid4(), trial_id=add_trial(database, name=name), worker=WorkerInfo(name="w1")
        )
        with database.write() as session:
            granted.append(leases.claim(session, request, LEASE_SECONDS))
    assert [grant.spec["name"] for grant in granted] == ["first", "second"]


def test_each_worker_is_seen_by_its_own_steps(database: Database) -> None:
    first, second = add_trial(database), add_trial(database)
    token = claim(database, first, worker="w1")
    claim(database, second, worker="w2")
    with database.write() as session:
        session.execute(update(Worker).where(Worker.name == "w1").values(last_seen_at=1.0))
    renew(database, first, token)
    with database.read() as session:
        assert session.get_one(Worker, "w1").last_seen_at > 1.0


def test_an_unknown_trial_is_not_found(database: Database) -> None:
    with pytest.raises(NotFoundError):
        claim(database, "nothing-000000")
    with pytest.raises(GoneError):
        renew(database, "nothing-000000", "0" * 32)
    with pytest.raises(NotFoundError):
        finish(database, "nothing-000000", "0" * 32, succeeded())


def test_the_cap_on_running_trials_holds_also_for_claims_at_once(database: Database) -> None:
    search = add_training(database, seeds=[0, 1, 2, 3], max_running_trials=2)
    granted, refused = claim_at_once(database, [f"{search.id}-{number:06d}" for number in range(8)])
    assert (len(granted), len(refused)) == (2, 6)
    assert all("2 running trials" in message for message in refused)


# Renewals


def test_the_first_renewal_marks_the_attempt_as_started(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    assert attempts(database, trial_id)[0].started_at is None
    start = StartEvent(total_iterations=20, resumed_iteration=5, environment={"commit": "abc"})
    assert renew(database, trial_id, token, start=start, log_tail="hello") == "continue"
    first = attempts(database, trial_id)[0]
    assert first.started_at is not None
    assert (first.environment, first.resumed_iteration, first.log_tail) == ({"commit": "abc"}, 5, "hello")
    assert trial(database, trial_id).iteration == 1


def test_a_renewal_prolongs_the_lease(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    pass_lease(database, trial_id)
    renew(database, trial_id, token)
    with database.write() as session:
        assert transitions.find_expired(session) == []
        assert transitions.expire(session, trial_id) is None


def test_each_evaluation_is_kept_once_however_often_it_is_told(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    renew(database, trial_id, token, evaluations=(evaluation(5, 0.1),))
    renew(database, trial_id, token, evaluations=(evaluation(5, 0.1), evaluation(10, 0.2)))
    with database.read() as session:
        assert [(e.iteration, e.ap) for e in lists.list_evaluations(session, trial_id)] == [(5, 0.1), (10, 0.2)]


def test_a_worker_is_seen_with_each_step_to_the_second(database: Database) -> None:
    first, second = add_trial(database), add_trial(database)
    token = claim(database, first)

    def seen_after(ago_seconds: float, step: Callable[[], object]) -> float:
        """How long before the step's end the worker was last seen, if it had been so long ago before."""
        with database.write() as session:
            session.execute(update(Worker).values(last_seen_at=now() - ago_seconds))
        step()
        with database.read() as session:
            return session.execute(select(now() - Worker.last_seen_at)).scalar_one()

    assert seen_after(0.5, lambda: renew(database, first, token)) >= 0.5  # just seen: nothing is written
    assert seen_after(100, lambda: renew(database, first, token)) < 50
    assert seen_after(-100, lambda: renew(database, first, token)) > -50  # the clock has gone back
    assert seen_after(100, lambda: claim(database, second)) < 50
    use = GpuUse(memory_used_bytes=1, memory_total_bytes=2)
    renew(database, first, token, gpu_use=(use,))  # told, however short a time ago it was seen
    with database.read() as session:
        assert session.scalars(select(Worker)).one().gpu_use == [use.model_dump(mode="json")]


def test_a_renewal_with_a_wrong_token_is_refused(database: Database) -> None:
    trial_id = add_trial(database)
    claim(database, trial_id)
    with pytest.raises(ConflictError):
        renew(database, trial_id, "0" * 32)


def test_renewals_tell_of_pause_resume_and_cancel(database: Database) -> None:
    trial_id = add_trial(database)
    experiment_id = trial(database, trial_id).experiment_id
    token = claim(database, trial_id)
    for change, command in (
        (experiments.pause_experiment, "pause"),
        (experiments.resume_experiment, "continue"),
        (experiments.cancel_experiment, "cancel"),
    ):
        with database.write() as session:
            change(session, experiment_id)
        assert renew(database, trial_id, token) == command


def test_a_renewal_after_expiry_takes_the_lease_back_with_its_charge(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    renew(database, trial_id, token)
    expire(database, trial_id)
    assert renew(database, trial_id, token, iteration=7) == "continue"
    row = trial(database, trial_id)
    assert (row.state, row.preemptions, row.iteration, row.attempt) == ("running", 0, 7, 1)
    assert attempts(database, trial_id)[0].outcome is None
    assert finish(database, trial_id, token, succeeded()) == "succeeded"


def test_a_worker_that_comes_back_after_another_claimed_is_fenced(database: Database) -> None:
    trial_id = add_trial(database)
    frozen = claim(database, trial_id, worker="frozen")
    renew(database, trial_id, frozen)
    expire(database, trial_id)
    other = claim(database, trial_id, worker="other")
    with pytest.raises(ConflictError):
        renew(database, trial_id, frozen)
    with pytest.raises(LateResultError, match="attempt 2"):
        finish(database, trial_id, frozen, succeeded(0.9))
    with pytest.raises(ConflictError):
        release(database, trial_id, frozen, "preempted")
    assert finish(database, trial_id, other, succeeded(0.3)) == "succeeded"
    assert trial(database, trial_id).reward == 0.3


# Results


def test_a_token_that_no_attempt_has_is_not_found(database: Database) -> None:
    trial_id = add_trial(database)
    claim(database, trial_id)
    for answer in (failed(), succeeded()):
        with pytest.raises(NotFoundError):
            finish(database, trial_id, "0" * 32, answer)
    with pytest.raises(NotFoundError):
        release(database, trial_id, "0" * 32, "preempted")
    assert trial(database, trial_id).state == "running"


def test_a_late_failure_ends_no_newer_attempt(database: Database) -> None:
    trial_id = add_trial(database)
    late = claim(database, trial_id)
    expire(database, trial_id)
    claim(database, trial_id)
    with pytest.raises(LateResultError, match="attempt 2"):
        finish(database, trial_id, late, failed("user"))
    row = trial(database, trial_id)
    assert (row.state, row.attempt, row.failed_attempts) == ("running", 2, 0)


def test_a_failed_attempt_keeps_why(database: Database) -> None:
    trial_id = add_trial(database)
    finish(database, trial_id, claim(database, trial_id), failed("crash", "killed by signal 9"))
    (attempt,) = attempts(database, trial_id)
    assert (attempt.outcome, attempt.error_kind, attempt.error) == ("failed", "crash", "killed by signal 9")


def test_what_a_renewal_tells_is_kept(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    start = StartEvent(
        total_iterations=20, resumed_iteration=3, environment={"torch": "2"}, warnings=("two boxes are empty",)
    )
    progress = ProgressEvent(iteration=4, total_iterations=20, loss=0.75)
    with database.write() as session:
        request = RenewRequest(trial_id=trial_id, token=token, progress=progress, start=start)
        leases.renew(session, request, LEASE_SECONDS)
    with database.write() as session:
        session.execute(update(Attempt).values(started_at=5.0))
    renew(database, trial_id, token, iteration=5, log_tail="more")
    (attempt,) = attempts(database, trial_id)
    assert (attempt.warnings, attempt.resumed_iteration) == (["two boxes are empty"], 3)
    assert (attempt.started_at, attempt.log_tail) == (5.0, "more")
    assert trial(database, trial_id).progress_loss == 0.75


def test_a_result_is_stored_with_what_came_with_it(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    result = succeeded(0.31, iterations=20, checkpoint="final.pth")
    with database.write() as session:
        request = ResultRequest(
            trial_id=trial_id, token=token, result=result, evaluations=(evaluation(20, 0.31),), log_tail="done"
        )
        leases.finish(session, request)
    row = trial(database, trial_id)
    assert (row.state, row.reward, row.seconds, row.checkpoint, row.iteration) == (
        "succeeded",
        0.31,
        2.0,
        "final.pth",
        20,
    )
    assert row.metrics is not None
    assert row.metrics["per_class"] == {"dot": 0.31}
    assert row.finished_at is not None
    assert attempts(database, trial_id)[0].log_tail == "done"


def test_a_repeated_result_gets_the_same_answer_and_counts_once(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    assert [finish(database, trial_id, token, succeeded(r)) for r in (0.3, 0.3, 0.4)] == ["succeeded"] * 3
    assert trial(database, trial_id).reward == 0.3


def test_a_result_after_the_lease_expired_counts_while_nobody_else_has_claimed(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    renew(database, trial_id, token)
    expire(database, trial_id)
    assert finish(database, trial_id, token, succeeded()) == "succeeded"
    assert len(attempts(database, trial_id)) == 1


def test_a_late_result_is_kept_for_audit_and_never_counted(database: Database) -> None:
    trial_id = add_trial(database)
    late = claim(database, trial_id)
    expire(database, trial_id)
    claim(database, trial_id)
    request = ResultRequest(trial_id=trial_id, token=late, result=succeeded(0.9))
    with pytest.raises(LateResultError) as caught, database.write() as session:
        leases.finish(session, request)
    with database.write() as session:
        leases.keep_late_result(session, request, caught.value.attempt, str(caught.value))
    with database.read() as session:
        kept = lists.list_late_results(session, trial_id)
    assert [(row.attempt, row.result["reward"]) for row in kept] == [(1, 0.9)]
    assert trial(database, trial_id).reward is None


@pytest.mark.parametrize(
    ("result", "state", "reward", "diverged"),
    [
        (succeeded(0.0, diverged=True), "succeeded", 0.0, True),
        (JobResult(outcome="pruned", reward=0.02), "pruned", 0.02, False),
    ],
)
def test_diverged_and_pruned_trials_count_with_their_reward(
    database: Database, result: JobResult, state: str, reward: float, diverged: bool
) -> None:
    trial_id = add_trial(database)
    assert finish(database, trial_id, claim(database, trial_id), result) == state
    row = trial(database, trial_id)
    assert (row.reward, row.diverged) == (reward, diverged)


def test_a_users_mistake_fails_the_trial_at_once_with_the_reason(database: Database) -> None:
    trial_id = add_trial(database)
    result = failed("user", "no such file: instances.json")
    assert finish(database, trial_id, claim(database, trial_id), result) == "failed"
    row = trial(database, trial_id)
    assert (row.error_kind, row.error) == ("user", "no such file: instances.json")


@pytest.mark.parametrize("kind", ["crash", "out_of_memory", "timeout"])
def test_other_failures_are_retried_within_their_budget(database: Database, kind: str) -> None:
    trial_id = add_trial(database, budgets={"max_failed_attempts": 3})
    tokens = []
    for state in ("queued", "queued", "failed"):
        tokens.append(claim(database, trial_id))
        assert finish(database, trial_id, tokens[-1], failed(kind)) == state
    assert [finish(database, trial_id, token, failed(kind)) for token in tokens] == ["queued", "queued", "failed"]
    row = trial(database, trial_id)
    assert (row.failed_attempts, row.preemptions, row.error) == (3, 0, "it broke")


def test_a_failed_attempt_may_not_go_on(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    finish(database, trial_id, token, failed())
    with pytest.raises(ConflictError):
        renew(database, trial_id, token)


def test_a_success_after_failures_clears_the_error(database: Database) -> None:
    trial_id = add_trial(database)
    finish(database, trial_id, claim(database, trial_id), failed())
    finish(database, trial_id, claim(database, trial_id), succeeded())
    row = trial(database, trial_id)
    assert (row.error, row.error_kind, row.failed_attempts) == (None, None, 1)


def test_a_result_of_a_cancelled_trial_is_refused(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    with database.write() as session:
        transitions.cancel_trial(session, trial_id)
    with pytest.raises(LateResultError, match="cancelled"):
        finish(database, trial_id, token, succeeded())
    assert trial(database, trial_id).reward is None


# Releases


def test_preemptions_have_a_budget_of_their_own(database: Database) -> None:
    trial_id = add_trial(database, budgets={"max_preemptions": 2, "max_failed_attempts": 1})
    for state in ("queued", "queued", "failed"):
        token = claim(database, trial_id)
        renew(database, trial_id, token)
        assert release(database, trial_id, token, "preempted") == state
        assert release(database, trial_id, token, "preempted") == state
    row = trial(database, trial_id)
    assert (row.preemptions, row.failed_attempts, row.error_kind) == (3, 0, None)
    assert row.error == "preempted 3 times, more than max_preemptions (2) allows"


def test_the_reason_of_a_trial_taken_away_too_often_is_not_an_earlier_crash(database: Database) -> None:
    trial_id = add_trial(database, budgets={"max_preemptions": 0, "max_failed_attempts": 2})
    finish(database, trial_id, claim(database, trial_id), failed("crash", "it broke"))
    token = claim(database, trial_id)
    renew(database, trial_id, token)
    assert expire(database, trial_id) == "failed"
    row = trial(database, trial_id)
    assert (row.error_kind, row.error) == (None, "preempted 1 times, more than max_preemptions (0) allows")


def test_an_attempt_that_never_started_is_released_uncharged(database: Database) -> None:
    trial_id = add_trial(database, budgets={"max_preemptions": 0})
    assert release(database, trial_id, claim(database, trial_id), "preempted") == "queued"
    assert trial(database, trial_id).preemptions == 0


def test_a_release_for_a_pause_is_charged_to_no_budget(database: Database) -> None:
    trial_id = add_trial(database, budgets={"max_preemptions": 0})
    for _ in range(3):
        token = claim(database, trial_id)
        renew(database, trial_id, token)
        assert release(database, trial_id, token, "paused") == "queued"
    assert trial(database, trial_id).preemptions == 0


def test_a_release_after_expiry_is_charged_once(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    renew(database, trial_id, token)
    expire(database, trial_id)
    assert release(database, trial_id, token, "preempted") == "queued"
    assert trial(database, trial_id).preemptions == 1


def test_a_failure_after_expiry_is_charged_once(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    renew(database, trial_id, token)
    expire(database, trial_id)
    assert finish(database, trial_id, token, failed("crash")) == "queued"
    row = trial(database, trial_id)
    assert (row.preemptions, row.failed_attempts) == (0, 1)


def test_a_release_of_a_cancelled_trial_is_refused(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    with database.write() as session:
        transitions.cancel_trial(session, trial_id)
    with pytest.raises(GoneError):
        release(database, trial_id, token, "preempted")


@pytest.mark.parametrize("kind", ["reward", "failure", "release"])
def test_the_same_answer_twice_at_once_is_taken_once_and_answered_alike(database: Database, kind: str) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)

    def deliver(session: Session) -> str:
        if kind == "release":
            return leases.release(session, ReleaseRequest(trial_id=trial_id, token=token, reason="preempted"))
        result = succeeded() if kind == "reward" else failed()
        return leases.finish(session, ResultRequest(trial_id=trial_id, token=token, result=result))

    answers: list[str] = []

    def deliver_again() -> None:
        with database.write() as session:
            answers.append(deliver(session))

    second = threading.Thread(target=deliver_again)
    with database.write() as session:
        answers.append(deliver(session))
        second.start()
        second.join(0.3)  # it waits for the row of the first, which then commits
        assert second.is_alive()
    second.join()
    assert answers == ["succeeded" if kind == "reward" else "queued"] * 2
    assert trial(database, trial_id).failed_attempts == (1 if kind == "failure" else 0)


def test_a_renewal_after_the_search_was_deleted_ends_the_training(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    experiment_id = trial(database, trial_id).experiment_id
    with database.write() as session:
        experiments.cancel_experiment(session, experiment_id)
    experiments.delete_experiment(database, experiment_id)
    with pytest.raises(GoneError, match="was deleted"):
        renew(database, trial_id, token)


def test_a_renewal_tells_only_what_is_new(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    start = StartEvent(total_iterations=20, environment={"torch": "2"})
    renew(database, trial_id, token, iteration=5, start=start, log_tail="five")
    with database.write() as session:
        leases.renew(session, RenewRequest(trial_id=trial_id, token=token), 60.0)
    row, attempt = trial(database, trial_id), attempts(database, trial_id)[0]
    assert (row.iteration, row.total_iterations) == (5, 20)
    assert (attempt.environment, attempt.log_tail) == ({"torch": "2"}, "five")
