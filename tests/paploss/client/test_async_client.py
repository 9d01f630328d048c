"""The asynchronous client, against a running controller. The other one is made from it: see test_client."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from controllers import PlayedWorker, RunningController

from paploss.client.async_client import ApiError, AsyncClient
from paploss.client.async_session import PAGE
from paploss.client.models import ExperimentSummary
from paploss.client.specs import SearchSpec, TrainingSpec
from paploss.client.sync_client import Client

TRAINING = {"profile": "synthetic", "losses": [{"label": "a", "preset": "identity"}]}
Result = TypeVar("Result")


def ask(controller: RunningController, use: Callable[[AsyncClient], Awaitable[Result]]) -> Result:
    async def connected() -> Result:
        async with AsyncClient(controller.url, controller.keys["user"]) as client:
            return await use(client)

    with ThreadPoolExecutor(max_workers=1) as own_thread:  # a browser, while one is open, keeps a loop in the main one
        return own_thread.submit(asyncio.run, connected()).result()


def test_lists_go_on_over_pages(controller: RunningController) -> None:
    async def use(client: AsyncClient) -> list[int]:
        spec = TrainingSpec.model_validate(TRAINING | {"seeds": range(PAGE + 5)})
        training = await client.create(spec)
        return [trial.seed async for trial in client.trials(training.id)]

    assert ask(controller, use) == list(range(PAGE + 5))


def test_waiting_leaves_time_for_other_tasks(controller: RunningController, worker: PlayedWorker) -> None:
    told: list[ExperimentSummary] = []

    async def use(client: AsyncClient) -> str:
        training = await client.create(TrainingSpec.model_validate(TRAINING))
        waiting = asyncio.create_task(client.wait(training.id, told.append, poll_seconds=0.01))
        trials = [trial async for trial in client.trials(training.id)]
        await asyncio.to_thread(worker.run, trials[0].id)
        return (await waiting).state

    assert ask(controller, use) == "succeeded"
    assert told[-1].trials_final == 1


def test_a_refusal_is_an_api_error(controller: RunningController) -> None:
    async def use(client: AsyncClient) -> None:
        with pytest.raises(ApiError, match="no experiment 0nothing"):
            await client.get_experiment("0nothing")

    ask(controller, use)


def test_waiting_can_be_limited(client: Client) -> None:
    search = client.create(SearchSpec(profile="synthetic"))
    with pytest.raises(TimeoutError, match=f"{search.id} has not ended after 0 s"):
        client.wait(search.id, timeout_seconds=0, poll_seconds=0.01)
    with pytest.raises(TimeoutError, match=r"has not ended after 0\.5 s"):  # a long pause between looks is cut short
        client.wait(search.id, timeout_seconds=0.5, poll_seconds=3600)


def test_figures_come_as_plotly_draws_them(client: Client) -> None:
    search = client.create(SearchSpec(profile="synthetic"))
    assert client.figure(search.id, "rewards", theme="dark").keys() == {"data", "layout"}
    with pytest.raises(ApiError, match="no trial with a reward yet"):
        client.figure(search.id, "functions")
