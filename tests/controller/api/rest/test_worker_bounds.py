"""Whatever a worker's key sends, what others look at stays: it is refused, or cut."""

import json
from typing import Any

import httpx
import pytest
from controllers import PlayedWorker, RunningController
from scenarios import metrics, training_spec
from sqlalchemy import func, select

from paploss.client import Client
from paploss.controller.store.tables import Event, LateResult
from paploss.controller.store.trials.telemetry import MOST_CLASS_APS
from paploss.jobs.lease import Lease
from paploss.jobs.metrics import MOST_CLASSES
from paploss.jobs.spec import MOST_EVALUATIONS

HUGE = "1" + "0" * 400
METRICS = metrics(0.5).model_dump(mode="json")
RESULT = {"outcome": "succeeded", "reward": 0.5, "metrics": METRICS}
EVERYWHERE = ("/", "/trainings", "/workers", "/compare", "/metrics", "/api/v1/status", "/api/v1/workers")


@pytest.fixture
def lease(client: Client, worker: PlayedWorker) -> Lease:
    return worker.claim(next(client.trials(client.create(training_spec(seeds=range(20), learning_rates=[])).id)).id)


def send(http: httpx.Client, step: str, lease: Lease, **fields: Any) -> httpx.Response:
    """`HUGE` and `1e308` in quotes are sent without them: Python would write neither."""
    body = json.dumps({"trial_id": lease.trial_id, "token": lease.token} | fields)
    return http.post(f"/api/v1/leases/{step}", content=body.replace('"HUGE"', HUGE).replace('"1e308"', "1e308"))


def check_pages(controller: RunningController, trial_id: str) -> None:
    experiment_id = trial_id.rpartition("-")[0]
    its_own = (
        *(f"/experiments/{experiment_id}", f"/trials/{trial_id}", f"/api/v1/trials/{trial_id}"),
        *(f"/api/v1/experiments/{experiment_id}{rest}" for rest in ("", "/trials", "/log", "/figures/comparison")),
        f"/api/v1/trials/{trial_id}/figures/learning",
    )
    with controller.http("admin") as http:
        found = {path: http.get(path).status_code for path in (*EVERYWHERE, *its_own)}
    assert set(found.values()) == {200}, found


BEYOND_BOUNDS: list[tuple[str, dict[str, Any]]] = [
    ("renew", {"gpu_use": [{"memory_used_bytes": "HUGE", "memory_total_bytes": 1}]}),
    ("renew", {"gpu_use": [{"memory_used_bytes": 1, "memory_total_bytes": 1, "utilisation": "1e308"}]}),
    ("renew", {"progress": {"iteration": "HUGE", "total_iterations": 1}}),
    ("renew", {"progress": {"iteration": 1, "total_iterations": 1, "loss": "1e308"}}),
    ("renew", {"evaluations": [{"iteration": 1, "total_iterations": 1, "metrics": METRICS | {"ap": "1e308"}}]}),
    (
        "renew",
        {
            "evaluations": [
                {
                    "iteration": 1,
                    "total_iterations": 1,
                    "metrics": METRICS | {"per_class": {str(n): 0.5 for n in range(60_000)}},
                }
            ]
        },
    ),
    ("result", {"result": RESULT | {"seconds": "1e308"}}),
    ("result", {"result": RESULT | {"iterations": "HUGE"}}),
    ("result", {"result": RESULT | {"reward": "1e308"}}),
]


def test_what_is_beyond_bounds_is_refused_with_the_field(
    controller: RunningController, lease_http: httpx.Client, lease: Lease
) -> None:
    for step, fields in BEYOND_BOUNDS:
        reply = send(lease_http, step, lease, **fields)
        assert reply.status_code == 422, fields
        assert next(iter(fields)) in reply.json()["detail"], fields
    check_pages(controller, lease.trial_id)


def test_pages_stand_what_is_at_the_bounds(
    controller: RunningController, client: Client, worker: PlayedWorker, lease: Lease, lease_http: httpx.Client
) -> None:
    gpu = {"memory_used_bytes": 2**63 - 1, "memory_total_bytes": 0, "utilisation": 1}
    progress = {"iteration": 2**31 - 1, "total_iterations": 0, "loss": -1e39, "seconds": 1e9}
    facts = {f"{n:0200d}": "x" * 1000 for n in range(100)}
    start = {"total_iterations": 0, "environment": facts, "warnings": ["<b>" * 100] * 20}
    evaluations = [{"iteration": 0, "total_iterations": 0, "metrics": METRICS | {"ap": -1}}]
    told = {"gpu_use": [gpu] * 64, "progress": progress, "start": start, "evaluations": evaluations}
    assert send(lease_http, "renew", lease, **told, log_tail="\x1b" * 20_000).status_code == 200
    check_pages(controller, lease.trial_id)
    end = RESULT | {"seconds": 1e9, "iterations": 2**31 - 1, "checkpoint": "x" * 4096}
    assert send(lease_http, "result", lease, result=end).status_code == 200
    for trial in list(client.trials(lease.trial_id.rpartition("-")[0], state="queued"))[:4]:
        send(lease_http, "result", worker.claim(trial.id), result=end).raise_for_status()
    check_pages(controller, lease.trial_id)


def test_a_training_has_so_many_evaluations_and_aps_by_class(
    controller: RunningController, client: Client, lease: Lease, lease_http: httpx.Client
) -> None:
    by_class = METRICS | {"per_class": {f"{number:05d}": 0.5 for number in range(MOST_CLASSES)}}
    for iteration in range(30):
        told = [{"iteration": iteration, "total_iterations": 1, "metrics": by_class}]
        send(lease_http, "renew", lease, evaluations=told).raise_for_status()
    kept = [len(each.metrics.per_class) for each in client.get_trial(lease.trial_id).evaluations]
    assert sum(kept) == MOST_CLASS_APS
    assert len(kept) == 30
    many = [{"iteration": 100 + n, "total_iterations": 1, "metrics": METRICS} for n in range(MOST_EVALUATIONS)]
    refused = send(lease_http, "renew", lease, evaluations=many)
    assert refused.status_code == 409
    assert "at most 2000 evaluations" in refused.json()["detail"]
    assert send(lease_http, "renew", lease, evaluations=many[:100]).status_code == 200
    check_pages(controller, lease.trial_id)


def test_a_late_result_is_kept_once(
    controller: RunningController, client: Client, lease: Lease, lease_http: httpx.Client
) -> None:
    client.cancel(lease.trial_id.rpartition("-")[0])
    for _ in range(3):
        assert send(lease_http, "result", lease, result=RESULT).status_code == 409
    with controller.services.database.read() as session:
        told = select(func.count()).select_from(Event).where(Event.kind == "late_result")
        assert (session.scalar(select(func.count()).select_from(LateResult)), session.scalar(told)) == (1, 1)
