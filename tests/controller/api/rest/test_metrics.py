"""What Prometheus reads, over a controller that runs."""

from pathlib import Path

import httpx
import pytest
from controllers import PlayedWorker, RunningController, count_selects
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert

from paploss.client.specs import ConfirmSpec, SearchSpec
from paploss.client.sync_client import Client
from paploss.controller.api.rest.metrics import NAME_LENGTH
from paploss.controller.store.tables import Worker
from paploss.controller.store.trials.tallies import DURATION_BOUNDS_SECONDS
from paploss.jobs.spec import JobResult

SPEC = SearchSpec(
    name='named "so"\n' + 100 * "x",
    profile="synthetic",
    rounds=2,
    trials_per_round=2,
    confirm=ConfirmSpec(candidates=1, seeds=1),
)


@pytest.fixture
def viewer(controller: RunningController):
    with controller.http("viewer") as http:
        yield http


def scrape(http: httpx.Client) -> dict[tuple[str, ...], float]:
    """Every sample by name and label values, in the order of the labels' names."""
    reply = http.get("/metrics").raise_for_status()
    assert reply.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *dict(sorted(sample.labels.items())).values()): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def test_an_empty_platform_has_every_metric(viewer: httpx.Client) -> None:
    samples = scrape(viewer)
    assert samples["paploss_experiments", "running"] == 0
    assert samples["paploss_trials", "failed"] == 0
    assert samples["paploss_queue_depth", "0"] == 0
    assert samples["paploss_oldest_lease_age_seconds",] == 0
    assert samples["paploss_attempts_total", "expired"] == 0
    assert samples["paploss_workers", "idle"] == 0
    assert samples["paploss_ready", "database"] == 1
    assert ("process_resident_memory_bytes",) in samples


def test_a_running_search_moves_the_numbers(viewer: httpx.Client, client: Client, worker: PlayedWorker) -> None:
    experiment_id = client.create(SPEC).id
    while len(queued := list(client.trials(experiment_id, state="queued"))) < 2:
        pass
    samples = scrape(viewer)
    assert samples["paploss_experiments", "running"] == 1
    assert samples["paploss_queue_depth", "0"] == samples["paploss_trials", "queued"] == 2
    assert not any(name.startswith("paploss_search_best_reward") for name, *_ in samples)

    first, second = (worker.claim(trial.id) for trial in queued)
    samples = scrape(viewer)
    assert samples["paploss_trials", "running"] == 2
    assert samples["paploss_workers", "busy"] == 1
    assert 0 <= samples["paploss_oldest_lease_age_seconds",] < 60
    assert (samples["paploss_gpus",], samples["paploss_gpus_busy",]) == (0, 0)

    worker.finish(first, JobResult(outcome="succeeded", reward=0.25, seconds=45, iterations=20))
    worker.finish(second, JobResult(outcome="failed", error_kind="user", error="no"))
    samples = scrape(viewer)
    assert samples["paploss_search_best_reward", SPEC.name[:NAME_LENGTH], "synthetic", experiment_id] == 0.25
    assert samples["paploss_attempts_total", "succeeded"] == samples["paploss_attempts_total", "failed"] == 1
    buckets = [
        samples["paploss_proxy_duration_seconds_bucket", f"{b:.1f}", "synthetic"] for b in DURATION_BOUNDS_SECONDS
    ]
    assert buckets == [0, 0] + [1] * (len(DURATION_BOUNDS_SECONDS) - 2)
    assert samples["paploss_proxy_duration_seconds_sum", "synthetic"] == 45


def test_only_readers_may_look(controller: RunningController) -> None:
    for role, status in ((None, 401), ("worker", 403), ("viewer", 200), ("user", 200)):
        with controller.http(role) as http:
            assert http.get("/metrics").status_code == status


def test_nothing_secret_is_told(controller: RunningController, viewer: httpx.Client) -> None:
    text = viewer.get("/metrics").text
    assert not any(key in text for key in controller.keys.values())


def test_the_operators_viewer_key_scrapes_and_changes_nothing(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {'v' * 40}"}
    with (
        RunningController(sqlite_url, redis_url, tmp_path, viewer_key="v" * 40) as running,
        httpx.Client(base_url=running.url, headers=headers) as http,
    ):
        assert ("paploss_ready", "workers") in scrape(http)
        assert http.post("/api/v1/experiments", json={"kind": "search", "profile": "synthetic"}).status_code == 403


def test_a_scrape_asks_as_much_however_many_workers_there_have_been(
    controller: RunningController, viewer: httpx.Client, client: Client, worker: PlayedWorker
) -> None:
    with count_selects(controller) as asked_of_few:
        scrape(viewer)
    with controller.services.database.write() as session:
        gone = [
            {"name": f"gone-{number}", "host": "", "gpus": 1, "device": "", "versions": {}} for number in range(500)
        ]
        session.execute(insert(Worker), [row | {"last_seen_at": 1.0, "first_seen_at": 1.0} for row in gone])
    with count_selects(controller) as asked_of_many:
        assert scrape(viewer)["paploss_workers", "idle"] == 0
    assert len(asked_of_many) == len(asked_of_few)
