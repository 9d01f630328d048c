import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from scenarios import add_trial, claim, trial
from sqlalchemy import event

from paploss.controller.loop.gathering import LeaseSteps
from paploss.controller.settings import Settings
from paploss.controller.store.database import UNAVAILABLE, Database
from paploss.controller.store.errors import ConflictError
from paploss.jobs.lease import RenewReply, RenewRequest
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
