"""A controller with a search that has ended, for tests that only read it."""

from collections.abc import Iterator

import pytest
from controllers import PlayedWorker, RunningController, run_search
from mirrors import SPEC, Ended
from servers import RedisServer


@pytest.fixture(scope="package")
def ended(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Ended]:
    """A search that has ended."""
    folder = tmp_path_factory.mktemp("mirrored")
    with (
        RunningController(f"sqlite:///{folder / 'test.db'}", redis_server.url, folder) as controller,
        controller.client() as client,
        controller.http("worker") as http,
    ):
        search_id = client.create(SPEC).id
        run_search(client, PlayedWorker(http), search_id)
        trials = list(client.trials(search_id))
        yield Ended(controller, search_id, client.get_trial(trials[0].id), len(trials))
