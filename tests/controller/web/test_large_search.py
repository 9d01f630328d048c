"""With 10,000 trials in the database pages stay light, and ask the database a fixed number of questions."""

import re
from collections.abc import Iterator

import httpx
import pytest
from controllers import RunningController, count_selects
from servers import RedisServer

from benchmarks.filled_database import fill
from paploss.client.specs import SearchSpec

PAGE_BYTES = 2_000_000
PAGE_QUERIES = 40


def spec(rounds: int, seed: int) -> SearchSpec:
    return SearchSpec(name=f"{rounds} rounds", profile="retinanet-tiny", rounds=rounds, seed=seed)


@pytest.fixture(scope="module")
def controller(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningController, str, str]]:
    """A controller with the ids of a small search and of one with 10,000 trials."""
    folder = tmp_path_factory.mktemp("large")
    url = f"sqlite:///{folder / 'test.db'}"
    with RunningController(url, redis_server.url, folder, tick_seconds=3600.0) as running:
        small = fill(running.services.database, spec(rounds=5, seed=0))
        large = fill(running.services.database, spec(rounds=1249, seed=1))
        yield running, small, large


def fetch(http: httpx.Client, path: str) -> tuple[str, int]:
    """A reply's text, and its size as it came."""
    reply = http.get(path, headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
    assert reply.status_code == 200, reply.text
    return reply.text, reply.num_bytes_downloaded


def test_a_whole_page_stays_below_two_megabytes(controller: tuple[RunningController, str, str]) -> None:
    running, _, large = controller
    with running.http("viewer") as http:
        for path in ("/", f"/experiments/{large}", f"/trials/{large}-005000", "/workers"):
            text, size = fetch(http, path)
            for address in re.findall(r'(?:src|href)="(/static/[^"]+)"|data-figure="([^"]+)"', text):
                size += fetch(http, "".join(address).replace("&amp;", "&"))[1]
            assert size < PAGE_BYTES, path


def test_a_page_asks_as_much_of_many_trials_as_of_few(controller: tuple[RunningController, str, str]) -> None:
    running, small, large = controller
    figures = "rewards", "functions", "policy", "importance", "gpus"
    paths = [
        "/experiments/{id}",
        "/experiments/{id}?sort=ap&state=succeeded&offset=25",
        "/compare?id={id}",
        "/api/v1/figures/best_so_far?id={id}&by=gpu_hours",
        "/trials/{id}-000005",
        *(f"/api/v1/experiments/{{id}}/figures/{name}" for name in figures),
        "/api/v1/experiments/{id}/trials?limit=25",
        "/api/v1/experiments/{id}/rounds?limit=5",
    ]
    with running.http("viewer") as http:
        for path in paths:
            counts = []
            for experiment_id in (small, large):
                with count_selects(running) as asked:
                    fetch(http, path.format(id=experiment_id))
                counts.append(len(asked))
            assert counts[0] == counts[1] <= PAGE_QUERIES, path


def test_a_list_asks_as_much_of_many_searches_as_of_few(controller: tuple[RunningController, str, str]) -> None:
    running, _, _ = controller
    counts = []
    with running.http("viewer") as http:
        for _ in range(2):
            for path in ("/", "/api/v1/experiments"):
                with count_selects(running) as asked:
                    fetch(http, path)
                counts.append(len(asked))
            for seed in range(3):
                fill(running.services.database, spec(rounds=1, seed=seed))
    assert counts[:2] == counts[2:]
