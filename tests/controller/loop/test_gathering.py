import asyncio
import uuid
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from scenarios import add_trial, claim, expire, succeeded, trial
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError

from paploss.controller.loop.gathering import Gathering, LeaseSteps
from paploss.controller.settings import Settings
from paploss.controller.store.database import UNAVAILABLE, Database
from paploss.controller.store.errors import ConflictError, LateResultError, NotFoundError
from paploss.controller.store.tables import LateResult, Trial
from paploss.jobs.lease import (
    PROTOCOL,
    Accepted,
    ClaimRequest,
    Lease,
    RenewReply,
    RenewRequest,
    ResultRequest,
    WorkerInfo,
)
from paploss.jobs.spec import ProgressEvent

PROGRESS = ProgressEvent(iteration=7, total_iterations=20)


def ask(steps: LeaseSteps, *requests: RenewRequest) -> list[RenewReply | BaseException]:
    """The answers to requests that arrive together."""

    async def gather() -> list[RenewReply | BaseException]:
        return await asyncio.gather(*map(steps.renewals.ask, requests), return_exceptions=True)

    return in_a_thread(gather())


def in_a_thread(work: Coroutine[Any, Any, Any]) -> Any:
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, work).result()


def test_renewals_that_arrive_together_are_few_transactions_with_an_answer_each(
    database: Database, settings: Settings
) -> None:
    trial_ids = [add_trial(database) for _ in range(20)]
    requests = [RenewRequest(trial_id=each, token=claim(database, each), progress=PROGRESS) for each in trial_ids]
    wrong = RenewRequest(trial_id=trial_ids[0], token="f" * 32, progress=PROGRESS)
    commits: list[Any] = []
    event.listen(database.engine, "commit", commits.append)
    *answers, refusal = ask(LeaseSteps(database, settings), *requests, wrong)
    assert answers == [RenewReply(command="continue")] * 20
    assert isinstance(refusal, ConflictError)
    assert {trial(database, each).iteration for each in trial_ids} == {7}
    assert database.is_sqlite or len(commits) < 10


def test_a_second_wave_is_answered_too(database: Database, settings: Settings) -> None:
    request = RenewRequest(trial_id=(trial_id := add_trial(database)), token=claim(database, trial_id))
    steps = LeaseSteps(database, settings)

    async def renew_twice() -> list[RenewReply]:
        return [await steps.renewals.ask(request), await steps.renewals.ask(request)]

    assert in_a_thread(renew_twice()) == [RenewReply(command="continue")] * 2


def test_what_is_too_much_for_one_transaction_is_answered_by_the_next() -> None:
    batches: list[list[int]] = []

    def answer(steps: Sequence[int]) -> Sequence[int]:
        batches.append(list(steps))
        return steps

    async def ask_five() -> list[int]:
        gathering = Gathering(answer, ask=lambda step: -step, most=2)
        return await asyncio.wait_for(asyncio.gather(*map(gathering.ask, range(5))), timeout=60)

    assert in_a_thread(ask_five()) == [0, 1, 2, 3, 4]
    assert batches == [[0, 1], [2, 3], [4]]


def test_each_is_told_that_the_database_does_not_answer(settings: Settings, tmp_path: Any) -> None:
    nowhere = Database(f"postgresql://postgres@/none?host={tmp_path}")
    request = RenewRequest(trial_id="none-000000", token="f" * 32)
    answers = ask(LeaseSteps(nowhere, settings), *[request] * 3)
    assert all(isinstance(answer, UNAVAILABLE) for answer in answers)


@pytest.mark.parametrize("count", [3])
def test_a_caller_that_goes_leaves_the_others_their_answers(database: Database, settings: Settings, count: int) -> None:
    trial_ids = [add_trial(database) for _ in range(count)]
    requests = [RenewRequest(trial_id=each, token=claim(database, each)) for each in trial_ids]
    steps = LeaseSteps(database, settings)

    async def leave() -> list[RenewReply]:
        going, *others = [asyncio.create_task(steps.renewals.ask(each)) for each in requests]
        await asyncio.sleep(0)
        going.cancel()
        return await asyncio.gather(*others)

    assert in_a_thread(leave()) == [RenewReply(command="continue")] * (count - 1)


def test_claims_and_results_that_arrive_together_are_few_transactions(database: Database, settings: Settings) -> None:
    trial_ids = [add_trial(database) for _ in range(10)]
    steps = LeaseSteps(database, settings)
    commits: list[Any] = []
    event.listen(database.engine, "commit", commits.append)

    async def work() -> tuple[list[Lease], list[Accepted]]:
        claimed = await asyncio.gather(*(steps.claims.ask((new_claim(each), PROTOCOL)) for each in trial_ids))
        return claimed, await asyncio.gather(*(steps.results.ask(new_result(lease)) for lease in claimed))

    claimed, accepted = in_a_thread(work())
    assert [lease.job.trial_id for lease in claimed] == trial_ids
    assert accepted == [Accepted(state="succeeded")] * 10
    assert {trial(database, each).state for each in trial_ids} == {"succeeded"}
    assert database.is_sqlite or len(commits) < 10


def test_a_claim_that_cannot_be_granted_fails_no_other(database: Database, settings: Settings) -> None:
    taken, unreadable, free = (add_trial(database) for _ in range(3))
    claim(database, taken)
    with database.write() as session:
        session.execute(update(Trial).where(Trial.id == unreadable).values(loss={"name": "of a newer version"}))
    steps = LeaseSteps(database, settings)

    async def work() -> list[Lease | BaseException]:
        asked = (steps.claims.ask((new_claim(each), PROTOCOL)) for each in (taken, unreadable, free, "none-000000"))
        return await asyncio.gather(*asked, return_exceptions=True)

    running, unread, lease, unknown = in_a_thread(work())
    assert isinstance(running, ConflictError)
    assert isinstance(unread, ConflictError)
    assert "can make no job" in str(unread)
    assert isinstance(unknown, NotFoundError)
    assert lease.trial_id == free
    assert [trial(database, each).attempt for each in (unreadable, free)] == [0, 1]


def test_a_late_result_among_others_is_kept_and_fails_no_other(database: Database, settings: Settings) -> None:
    late, good = add_trial(database), add_trial(database)
    tokens = {each: claim(database, each) for each in (late, good)}
    expire(database, late)
    claim(database, late, worker="w2")
    steps = LeaseSteps(database, settings)

    async def work() -> list[Accepted | BaseException]:
        results = (ResultRequest(trial_id=each, token=tokens[each], result=succeeded()) for each in (late, good))
        return await asyncio.gather(*map(steps.results.ask, results), return_exceptions=True)

    refusal, accepted = in_a_thread(work())
    assert isinstance(refusal, LateResultError)
    assert accepted == Accepted(state="succeeded")
    with database.read() as session:
        assert session.scalars(select(LateResult.trial_id)).all() == [late]


def test_nothing_is_answered_before_its_commit(database: Database, settings: Settings) -> None:
    if database.is_sqlite:
        pytest.skip("gathers nothing")
    trial_ids = [add_trial(database) for _ in range(2)]
    steps = LeaseSteps(database, settings)

    def break_commit(_connection: Any) -> None:
        raise OperationalError("COMMIT", None, OSError("the connection is gone"))

    event.listen(database.engine, "commit", break_commit)

    async def work() -> list[Lease | BaseException]:
        asked = (steps.claims.ask((new_claim(each), PROTOCOL)) for each in trial_ids)
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = in_a_thread(work())
    assert all(isinstance(answer, UNAVAILABLE) for answer in answers)
    assert {trial(database, each).state for each in trial_ids} == {"queued"}


def new_claim(trial_id: str) -> ClaimRequest:
    return ClaimRequest(claim_id=uuid.uuid4(), trial_id=trial_id, worker=WorkerInfo(name=f"of {trial_id}"))


def new_result(lease: Lease) -> ResultRequest:
    return ResultRequest(trial_id=lease.trial_id, token=lease.token, result=succeeded())
