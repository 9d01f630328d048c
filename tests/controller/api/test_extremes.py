"""Extreme values by every way in: requests, the lease protocol, Redis, files of `load`.

Whatever is sent, the answer is no defect, every list and page goes on, and a healthy search ends. Bounded and
derandomised: the same values on every run.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from analyses import make_analysis
from controllers import PlayedWorker, RunningController, run_search
from extremes import EXTREMES, bounded, spoilt, write
from hypothesis import given
from hypothesis import strategies as st
from scenarios import metrics, search_spec, training_spec

from paploss.client import Client
from paploss.client.documents import SPEC
from paploss.jobs.lease import ClaimRequest, Lease

BOUNDED = bounded(60)
SMALL = {"rounds": 1, "trials_per_round": 2, "confirm": {"seeds": 1, "candidates": 1}}
NO_LIMIT = {f"{who}_per_second": 1e6 for who in ("requests", "worker_requests", "anonymous_requests")}
PAGES = ("/", "/trainings", "/workers", "/compare", "/experiments/new")
LISTS = ("/api/v1/experiments", "/api/v1/workers", "/api/v1/status", "/metrics")
METRICS = metrics(0.5).model_dump(mode="json")
FACTS = {"torch": "2.13.0"}
STEPS: dict[str, dict[str, Any]] = {
    "renew": {
        "start": {"total_iterations": 20, "resumed_iteration": 0, "environment": FACTS, "warnings": ["dark images"]},
        "progress": {"iteration": 1, "total_iterations": 20, "loss": 0.5, "seconds": 1.0},
        "evaluations": [{"iteration": 2, "total_iterations": 20, "metrics": METRICS}],
        "log_tail": "going well",
        "gpu_use": [{"memory_used_bytes": 1, "memory_total_bytes": 2, "utilisation": 0.5}],
    },
    "result": {
        "result": {
            "outcome": "succeeded",
            "reward": 0.5,
            "diverged": False,
            "metrics": METRICS,
            "error_kind": None,
            "error": None,
            "iterations": 20,
            "seconds": 1.0,
            "checkpoint": "weights.pth",
        },
        "evaluations": [{"iteration": 4, "total_iterations": 20, "metrics": METRICS}],
        "analysis": make_analysis(pictures=1).model_dump(mode="json"),
        "log_tail": "",
    },
    "release": {"reason": "preempted", "log_tail": ""},
}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_server: Any
) -> Iterator[RunningController]:
    folder = tmp_path_factory.mktemp("extremes")
    if request.param == "sqlite":
        url = f"sqlite:///{folder / 'test.db'}"
    else:  # which refuses numbers and characters that SQLite takes
        url = request.getfixturevalue("postgres_server").create_database()
    with RunningController(url, redis_server.url, Path(folder), **NO_LIMIT) as started:
        yield started


@pytest.fixture
def admin(running: RunningController) -> Iterator[Client]:
    with running.client("admin") as opened:
        yield opened


def send(http: httpx.Client, path: str, content: str | bytes) -> httpx.Response:
    reply = http.post(path, content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code < 500, (path, content[:2000], reply.text)
    return reply


def check_all_goes_on(running: RunningController, admin: Client) -> None:
    """Every list and page of everything that is there answers, and a healthy search runs to its end."""
    with running.http("admin") as http:
        for path in (*PAGES, *LISTS):
            assert http.get(path).status_code == 200, path
        for experiment in admin.list_experiments():
            its = f"/api/v1/experiments/{experiment.id}"
            names = ("rounds", "best", *(f"figures/{name}" for name in ("rewards", "gpus", "comparison")))
            for path in (its, f"/experiments/{experiment.id}", f"{its}/trials", f"{its}/trials.csv", f"{its}/log"):
                assert http.get(path).status_code == 200, path
            for name in names:  # not every kind has each, nor has it at once
                assert http.get(f"{its}/{name}").status_code in (200, 404), name
            for trial in list(admin.trials(experiment.id))[:20]:
                for path in (f"/trials/{trial.id}", f"/api/v1/trials/{trial.id}"):
                    assert http.get(path).status_code == 200, path
    with running.http("worker") as worker:
        healthy = admin.create(search_spec(**SMALL))
        run_search(admin, PlayedWorker(worker), healthy.id)
    assert admin.get_experiment(healthy.id).state == "succeeded"


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/api/v1/experiments", SPEC.write(search_spec(name="a search", synthetic={}, gpus=0, timeout_seconds=60))),
        ("/api/v1/experiments", SPEC.write(training_spec("comparison", name="a comparison", evaluate_split="val"))),
        ("/api/v1/keys", {"name": "somebody", "role": "viewer"}),
    ],
    ids=["search", "comparison", "key"],
)
def test_of_requests(running: RunningController, admin: Client, path: str, document: dict[str, Any]) -> None:
    with running.http("admin") as http:

        @BOUNDED
        @given(spoilt(document))
        def ask(request: dict[str, Any]) -> None:
            send(http, path, write(request))

        ask()
    for experiment in admin.list_experiments():
        if experiment.state == "running":
            admin.cancel(experiment.id)
    check_all_goes_on(running, admin)


def test_of_workers(running: RunningController, admin: Client) -> None:
    training = admin.create(training_spec(seeds=range(40), learning_rates=[]))
    queued = (trial.id for trial in list(admin.trials(training.id)))
    with running.http("worker") as http:
        worker = PlayedWorker(http, "one of extremes")
        lease: Lease | None = None

        @BOUNDED
        @given(st.sampled_from(sorted(STEPS)), st.data())
        def ask(step: str, data: st.DataObject) -> None:
            nonlocal lease
            lease = lease or worker.claim(next(queued))
            told = {"trial_id": lease.trial_id, "token": lease.token} | data.draw(spoilt(STEPS[step]))
            if send(http, f"/api/v1/leases/{step}", write(told)).is_success and step != "renew":
                lease = None

        ask()
        claim = ClaimRequest(claim_id="0" * 32, trial_id=next(queued), worker=worker.info).model_dump(mode="json")

        @BOUNDED
        @given(spoilt(claim))
        def introduce(told: dict[str, Any]) -> None:
            send(http, "/api/v1/leases/claim", write(told))

        introduce()
    check_all_goes_on(running, admin)


def test_of_redis(running: RunningController, admin: Client) -> None:
    texts = st.one_of(st.binary(max_size=200), st.sampled_from([b"trial", b"x" * 100_000, b"\xff\xfe\x00\xd8"]))
    with redis.Redis.from_url(running.services.settings.redis_url) as client, running.http("worker") as http:

        @BOUNDED
        @given(st.dictionaries(texts, texts, min_size=1, max_size=3))
        def add(fields: dict[bytes, bytes]) -> None:
            client.xadd("paploss:trials:0", fields)
            entry = running.services.queue.take([0], "one of extremes", block_seconds=0.001, takeover_seconds=60)
            if entry is not None:
                told = {"claim_id": "0" * 32, "trial_id": entry.trial_id, "worker": {"name": "one of extremes"}}
                send(http, "/api/v1/leases/claim", write(told))
                running.services.queue.acknowledge(entry)

        add()
    check_all_goes_on(running, admin)


@pytest.mark.slow
def test_of_files_that_are_loaded(running: RunningController, admin: Client) -> None:
    with running.http("worker") as http:
        search = admin.create(search_spec(**SMALL))
        run_search(admin, PlayedWorker(http), search.id)
    content = admin.dump(search.id)
    admin.delete(search.id)
    header, *lines = (json.loads(line) for line in gzip.decompress(content).splitlines())
    with running.http("admin") as http:

        @bounded(15)
        @given(st.integers(0, len(lines) - 1), st.data())
        def load(number: int, data: st.DataObject) -> None:
            changed = [header, *lines]
            changed[number + 1] = data.draw(spoilt(lines[number]))
            text = "\n".join(map(write, changed))
            reply = send(http, "/api/v1/experiments/load", gzip.compress(text.encode("utf-8", "surrogatepass")))
            if reply.is_success:
                check_all_goes_on(running, admin)
                admin.delete(search.id)

        load()
    check_all_goes_on(running, admin)


def test_the_values_are_extreme() -> None:
    """Each of them is refused, or cut, somewhere: a list of ordinary ones would prove nothing."""
    assert {type(value) for value in EXTREMES} >= {float, int, str, list, dict, bool, type(None)}
    assert write([float("inf"), 10**400]).startswith("[1e400, 1000")
