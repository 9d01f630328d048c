"""The lease protocol over HTTP, on both databases."""

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from controllers import PlayedWorker, RunningController
from stack import wait_until

from paploss.client.loss_choice import LossChoice
from paploss.client.specs import TrainingSpec
from paploss.client.sync_client import Client
from paploss.controller.store.database import Database
from paploss.jobs.lease import ClaimRequest, Lease, ReleaseRequest, RenewRequest
from paploss.jobs.spec import JobResult

FAILURE = JobResult(outcome="failed", error_kind="user", error="no such data set")


@pytest.fixture
def controller(database: Database, redis_url: str, tmp_path: Path) -> Iterator[RunningController]:
    with RunningController(database.url.render_as_string(), redis_url, tmp_path) as running:
        yield running


@pytest.fixture
def trial_id(client: Client) -> str:
    """A queued trial."""
    spec = TrainingSpec(profile="synthetic", losses=(LossChoice(label="identity", preset="identity"),))
    return next(client.trials(client.create(spec).id)).id


def post(http: httpx.Client, step: str, body: str) -> httpx.Response:
    return http.post(f"/api/v1/leases/{step}", content=body, headers={"Content-Type": "application/json"})


def claim_body(worker: PlayedWorker, trial_id: str) -> str:
    return ClaimRequest(claim_id=uuid.uuid4(), trial_id=trial_id, worker=worker.info).model_dump_json()


def test_a_lease_from_claim_to_result(client: Client, worker: PlayedWorker, trial_id: str) -> None:
    lease = worker.claim(trial_id)
    assert (lease.trial_id, lease.attempt, lease.job.trial_id, lease.job.kind) == (trial_id, 1, trial_id, "final")
    assert worker.renew(lease, 0.1, log_tail="going well") == "continue"
    running = client.get_trial(trial_id)
    assert (running.state, running.worker, running.iteration) == ("running", "w1", 2)
    assert running.attempt_list[0].log_tail == "going well"
    assert worker.finish(lease) == "succeeded"
    assert worker.finish(lease) == "succeeded"


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ('{"a":', 400, "the body is not valid JSON: EOF while parsing a value at line 1 column 5"),
        ("", 400, "the body is not valid JSON: EOF while parsing a value at line 1 column 0"),
        ("{}", 422, "trial_id: is missing; token: is missing"),
        ('{"trial_id": 1, "token": "t"}', 422, "trial_id: expected text, got 1"),
    ],
)
def test_what_is_wrong_with_a_message_is_said(lease_http: httpx.Client, body: str, status: int, detail: str) -> None:
    reply = post(lease_http, "renew", body)
    assert (reply.status_code, reply.json()["detail"]) == (status, detail)


def test_a_worker_that_dies_while_it_tells_is_no_defect(
    controller: RunningController, lease_http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = controller.url.removeprefix("http://").split(":")
    head = (
        f"POST /api/v1/leases/result HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {controller.keys['worker']}\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"{head}Expect: 100-continue\r\nContent-Length: 100\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")  # the body is waited for
        connection.sendall(b"{")
    wait_until(lambda: len(controller._server.server_state.connections) == 0, "the end of the connection")
    assert post(lease_http, "renew", "{}").status_code == 422  # it has come to nothing by then
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_claim_whose_reply_was_lost_is_repeated(
    lease_http: httpx.Client, worker: PlayedWorker, trial_id: str
) -> None:
    body = claim_body(worker, trial_id)
    first, again = post(lease_http, "claim", body), post(lease_http, "claim", body)
    assert first.content == again.content
    other = post(lease_http, "claim", claim_body(worker, trial_id))
    assert (other.status_code, other.headers["Content-Type"]) == (409, "application/problem+json")


def test_what_is_not_there_and_what_has_ended(lease_http: httpx.Client, worker: PlayedWorker, trial_id: str) -> None:
    assert post(lease_http, "claim", claim_body(worker, "0nothing-1")).status_code == 404
    lease = worker.claim(trial_id)
    wrong = RenewRequest(trial_id=trial_id, token="0" * 32)
    assert post(lease_http, "renew", wrong.model_dump_json()).status_code == 409
    worker.finish(lease, FAILURE)
    assert post(lease_http, "claim", claim_body(worker, trial_id)).status_code == 410


def test_pause_and_cancel_reach_the_worker(client: Client, worker: PlayedWorker, trial_id: str) -> None:
    lease = worker.claim(trial_id)
    experiment_id = client.get_trial(trial_id).experiment_id
    client.pause(experiment_id)
    assert worker.renew(lease) == "pause"
    client.resume(experiment_id)
    assert worker.renew(lease) == "continue"
    client.cancel(experiment_id)
    assert worker.renew(lease) == "cancel"


def test_a_lease_is_handed_back(client: Client, lease_http: httpx.Client, worker: PlayedWorker, trial_id: str) -> None:
    lease = worker.claim(trial_id)
    body = ReleaseRequest(trial_id=trial_id, token=lease.token, reason="preempted").model_dump_json()
    assert post(lease_http, "release", body).json() == {"state": "queued"}
    assert post(lease_http, "release", body).json() == {"state": "queued"}
    assert worker.claim(trial_id).attempt == 2
    assert client.get_trial(trial_id).preemptions in {0, 1}  # only a started attempt is charged


def test_a_users_mistake_fails_the_trial_with_its_reason(client: Client, worker: PlayedWorker, trial_id: str) -> None:
    assert worker.finish(worker.claim(trial_id), FAILURE) == "failed"
    trial = client.get_trial(trial_id)
    assert (trial.state, trial.error_kind, trial.error) == ("failed", "user", "no such data set")


def test_a_message_without_what_it_needs_is_refused(lease_http: httpx.Client) -> None:
    reply = post(lease_http, "claim", '{"trial_id": "x", "future": 1}')
    assert reply.status_code == 422
    assert {fault["pointer"] for fault in reply.json()["errors"]} == {"/claim_id", "/worker"}


def test_the_workers_are_listed_with_what_they_do(client: Client, worker: PlayedWorker, trial_id: str) -> None:
    assert list(client.workers()) == []
    lease = worker.claim(trial_id)
    worker.renew(lease, 0.1)
    (listed,) = client.workers()
    assert (listed.name, listed.host, listed.live, listed.trial_id, listed.iteration) == (
        "w1",
        "node-1",
        True,
        trial_id,
        2,
    )
    status = client.status()
    assert (status.workers_live, status.workers_busy, status.trials) == (1, 1, {"running": 1})


def test_who_waits_at_the_queue_is_a_worker_too(controller: RunningController, client: Client) -> None:
    controller.services.queue.take([0], "newcomer", block_seconds=0.001, takeover_seconds=60)
    (listed,) = client.workers()
    assert (listed.name, listed.live, listed.first_seen_at) == ("newcomer", True, None)
    assert client.status().workers_live == 1


def test_leases_parse_as_the_contract_says(lease_http: httpx.Client, worker: PlayedWorker, trial_id: str) -> None:
    lease = Lease.model_validate_json(post(lease_http, "claim", claim_body(worker, trial_id)).content)
    assert lease.renew_seconds * 2 <= lease.lease_seconds


def test_a_log_with_a_nul_does_not_cost_the_lease(client: Client, worker: PlayedWorker, trial_id: str) -> None:
    lease = worker.claim(trial_id)
    assert worker.renew(lease, 0.1, log_tail="before\x00after") == "continue"
    assert "before" in client.get_trial(trial_id).attempt_list[0].log_tail
    assert worker.finish(lease, FAILURE.model_copy(update={"error": "bad byte \x00 in file"})) == "failed"


def test_a_name_with_a_nul_is_refused_where_the_database_cannot_hold_it(
    controller: RunningController, client: Client
) -> None:
    with controller.http("user") as http:
        reply = http.post("/api/v1/experiments", json={"kind": "search", "profile": "synthetic", "name": "a\x00b"})
    assert reply.status_code == (201 if controller.services.database.is_sqlite else 422)
