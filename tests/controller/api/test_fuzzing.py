"""The whole OpenAPI document, fuzzed: whatever is asked, by whomever, no defect and no status that is not documented.

Bounded and derandomised: the same requests on every run. No trial is proposed meanwhile, because nobody leads.
"""

from typing import Any

import pytest
from controllers import RunningController
from scenarios import search_spec, training_spec

pytestmark = pytest.mark.slow

ALMOST_NO_LIMIT = {f"{who}_per_second": 1e6 for who in ("requests", "worker_requests", "anonymous_requests")}


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def fuzzed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_server: Any) -> Any:
    folder = tmp_path_factory.mktemp("fuzzed")
    if request.param == "sqlite":
        url = f"sqlite:///{folder / 'test.db'}"
    else:  # which refuses numbers and characters that SQLite takes
        url = request.getfixturevalue("postgres_server").create_database()
    running = RunningController(url, redis_server.url, folder, **ALMOST_NO_LIMIT)
    running.services.driver.stop()
    with running:
        yield running


@pytest.fixture(scope="module")
def known(fuzzed: RunningController) -> dict[str, str]:
    """Ids that are there: of a search and a trial that have ended, so that live events end too."""
    with fuzzed.client() as client:
        training = client.create(training_spec(learning_rates=[]))
        client.cancel(training.id)
        search = client.create(search_spec())
        client.cancel(search.id)
    return {"experiment_id": search.id, "trial_id": f"{training.id}-000000", "name": "rewards"}


@pytest.mark.parametrize("caller", ["admin", "worker", None])
def test_no_request_meets_a_defect_or_an_undocumented_status(
    fuzzed: RunningController, known: dict[str, str], caller: Any
) -> None:
    from fuzzer import fuzz

    headers = {} if caller is None else {"Authorization": f"Bearer {fuzzed.keys[caller]}"}
    faults, seen = fuzz(fuzzed.app.openapi(), fuzzed.url, headers, known)
    assert not faults, "\n\n".join(faults)
    assert seen >= {"admin": {200, 201, 404, 422}, "worker": {403, 404, 422}, None: {200, 401}}[caller]
