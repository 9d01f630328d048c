"""Every error is a problem document that names what is at fault."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from controllers import RunningController
from servers import RedisServer
from sqlalchemy import delete, event, text, update
from stack import wait_until

from paploss.client.models import Status
from paploss.client.notifications import SubscriptionRequest
from paploss.client.projects import ProjectRequest
from paploss.client.specs import TrainingSpec
from paploss.controller.api.rest import health
from paploss.controller.api.services import Services
from paploss.controller.store.database import Database
from paploss.controller.store.tables import Base, Experiment, Project, Subscription

THREADS_OF_PAGES = 40
"""Of the thread pool of handlers that are plain functions: anyio's own number."""


def problem_of(reply: httpx.Response, status: int) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = reply.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == reply.url.path
    return problem


def test_an_unknown_address(http: httpx.Client) -> None:
    assert "/api/v1/nothing" in problem_of(http.get("/api/v1/nothing"), 404)["detail"]


def test_a_method_that_is_not_possible_names_those_that_are(http: httpx.Client) -> None:
    reply = http.put("/api/v1/workers")
    assert "GET" in problem_of(reply, 405)["detail"]
    assert reply.headers["Allow"] == "GET"


def test_a_body_that_is_no_json(http: httpx.Client) -> None:
    reply = http.post("/api/v1/experiments", content="{", headers={"Content-Type": "application/json"})
    assert "not valid JSON" in problem_of(reply, 400)["detail"]


def test_a_body_that_is_not_said_to_be_json(http: httpx.Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # which curl says unless told otherwise
    reply = http.post("/api/v1/experiments", content='{"profile": "synthetic"}', headers=headers)
    detail = problem_of(reply, 422)["detail"]
    assert "expected Content-Type: application/json, got application/x-www-form-urlencoded" in detail


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"rounds": 0}, "/rounds", "expected 1 or more"),
        ({"confirm": {"seeds": "many"}}, "/confirm/seeds", "'many'"),
        ({"roundz": 3}, "/roundz", "did you mean 'rounds'?"),
        ({"profile": "yolo"}, "/profile", "retinanet-tiny"),
        ({"dataset": {"name": "digits", "root": "relative"}}, "/dataset", "train, val"),
        ({"weights": "/etc/passwd"}, "/weights", "/data"),
        ({"weights": "/data/../etc/passwd"}, "/weights", "'..'"),
    ],
)
def test_a_bad_field_is_named(http: httpx.Client, change: dict[str, Any], pointer: str, words: str) -> None:
    reply = http.post("/api/v1/experiments", json={"kind": "search", "profile": "synthetic"} | change)
    problem = problem_of(reply, 422)
    faults = {fault["pointer"]: fault["message"] for fault in problem["errors"]}
    assert words in faults[pointer]
    assert pointer.lstrip("/") in problem["detail"]
    assert http.get("/api/v1/experiments").json()["items"] == []


def test_a_list_with_a_fault_in_it_is_not_also_told_to_be_short(http: httpx.Client) -> None:
    asked = {"kind": "comparison", "profile": "synthetic", "losses": ["published"], "seeds": [-1]}
    problem = problem_of(http.post("/api/v1/experiments", json=asked), 422)
    assert problem["detail"] == "seeds/0: expected 0 or more, got -1"


def test_a_missing_field_and_a_bad_parameter_are_named(http: httpx.Client) -> None:
    problem = problem_of(http.post("/api/v1/experiments", json={"kind": "search"}), 422)
    assert [(fault["location"], fault["pointer"]) for fault in problem["errors"]] == [("body", "/profile")]
    for unknown, words in (({}, "is missing"), ({"kind": "study"}, "expected one of 'search'")):
        (fault,) = problem_of(http.post("/api/v1/experiments", json=unknown), 422)["errors"]
        assert fault["pointer"] == "/kind"
        assert words in fault["message"]
    problem = problem_of(http.get("/api/v1/experiments", params={"limit": 0}), 422)
    assert [(fault["location"], fault["pointer"]) for fault in problem["errors"]] == [("query", "/limit")]


def test_what_does_not_exist(http: httpx.Client) -> None:
    for path in (
        "experiments/0nothing",
        "experiments/0nothing/best",
        "experiments/0nothing/comparison",
        "trials/0nothing",
    ):
        assert "0nothing" in problem_of(http.get(f"/api/v1/{path}"), 404)["detail"]


def test_a_character_that_no_database_stores_is_refused(http: httpx.Client) -> None:
    problem_of(http.get("/api/v1/experiments/a%00b"), 422)
    problem_of(http.get("/api/v1/experiments", params={"cursor": "\x00"}), 422)


def test_a_defect_tells_no_secrets_but_a_reference(controller: RunningController, http: httpx.Client) -> None:
    experiment_id = http.post("/api/v1/experiments", json={"kind": "search", "profile": "synthetic"}).json()["id"]
    with controller.services.database.write() as session:
        session.execute(
            update(Experiment).where(Experiment.id == experiment_id).values(state="paused", created_at=1e300)
        )
    reply = http.get(f"/api/v1/experiments/{experiment_id}")
    problem = problem_of(reply, 500)
    assert "defect" in problem["detail"]
    assert "Overflow" not in reply.text
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_a_person_with_a_browser_gets_a_page(http: httpx.Client) -> None:
    reply = http.get("/experiments/0nothing", headers={"Accept": "text/html"})
    assert reply.status_code == 404
    assert reply.headers["Content-Type"].startswith("text/html")
    assert "no experiment 0nothing" in reply.text


@pytest.fixture
def mortal_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.close()


def await_leader(http: httpx.Client) -> None:
    wait_until(lambda: http.get("/readyz").status_code == 200, "the first tick to make a leader")


def find_faults(http: httpx.Client) -> list[str]:
    return [check["name"] for check in http.get("/readyz").json()["checks"] if not check["ok"]]


def test_without_redis_a_controller_is_told_to_have_none_and_serves_on(
    mortal_redis: RedisServer, sqlite_url: str, tmp_path: Path
) -> None:
    """Not ready, all replicas would leave their Service: no lease could be renewed, and no result delivered."""
    with RunningController(sqlite_url, mortal_redis.url, tmp_path) as controller, controller.http() as http:
        await_leader(http)
        checks = http.get("/readyz").json()["checks"]
        assert {check["name"] for check in checks} == {"database", "redis", "leader", "workers"}
        mortal_redis.stop()
        wait_until(lambda: find_faults(http) == ["redis"], "the controller to tell that Redis is gone")
        checks = http.get("/readyz").json()["checks"]
        assert {check["detail"] for check in checks} == {""}  # addresses and names of hosts are not for everyone
        with controller.http("viewer") as viewer:
            status = viewer.get("/api/v1/status").json()
        (redis,) = [check for check in status["readiness"]["checks"] if check["name"] == "redis"]
        assert mortal_redis.url.rpartition("/")[0].removeprefix("redis://") in redis["detail"]
        mortal_redis.start()
        wait_until(lambda: find_faults(http) == [], "Redis to be there again")


def test_readiness_names_what_is_missing(controller: RunningController, http: httpx.Client) -> None:
    await_leader(http)
    with controller.services.database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'newer'"))
    wait_until(lambda: http.get("/readyz").status_code == 503, "the controller to be not ready")
    problem = problem_of(http.get("/readyz"), 503)
    assert [fault["pointer"] for fault in problem["errors"]] == ["/database"]
    assert "newer" not in str(problem)
    assert http.get("/healthz").status_code == 200


def test_while_pages_wait_for_the_database_a_controller_lives_and_takes_renewals(
    controller: RunningController, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end, read_status = threading.Semaphore(0), threading.Event(), health.read_status

    def wait(services: Services) -> Status:
        begun.release()
        end.wait(60)
        return read_status(services)

    monkeypatch.setattr(health, "read_status", wait)
    with (
        controller.http("viewer") as viewer,
        controller.http("worker") as worker,
        ThreadPoolExecutor(THREADS_OF_PAGES) as browsers,
    ):
        try:
            for _ in range(THREADS_OF_PAGES):
                browsers.submit(viewer.get, "/api/v1/status")
            for _ in range(THREADS_OF_PAGES):
                assert begun.acquire(timeout=30)
            controller.services.callers.forget()  # as after two seconds
            assert worker.get("/healthz", timeout=10).status_code == 200
            renewal = {"trial_id": "0nothing-00000", "token": "0"}
            assert worker.post("/api/v1/leases/renew", json=renewal, timeout=10).status_code == 410
        finally:
            end.set()


@pytest.mark.databases("postgresql")
def test_what_is_deleted_while_it_is_changed_is_not_found(database: Database, redis_url: str, tmp_path: Path) -> None:
    """On SQLite there is one writer at a time."""
    with (
        RunningController(database.url.render_as_string(hide_password=False), redis_url, tmp_path) as controller,
        controller.client("admin") as admin,
        controller.http("admin") as http,
    ):
        losses = [{"label": "published", "preset": "retinanet"}]
        training = admin.create(TrainingSpec.model_validate({"profile": "synthetic", "losses": losses}))
        hook = admin.subscribe(SubscriptionRequest(target="https://example.org/hook"))
        admin.create_project(ProjectRequest(name="lab"))
        changes: list[tuple[type[Base], str, str, dict[str, Any]]] = [
            (Subscription, "POST", f"/api/v1/subscriptions/{hook.id}/pause", {}),
            (Experiment, "PATCH", f"/api/v1/trials/{training.id}-000000", {"note": "good"}),
            (Project, "PUT", "/api/v1/projects/lab", {"gpu_hours": 1}),
        ]
        changing = ("UPDATE subscriptions", "UPDATE trials SET note", "UPDATE projects")
        to_delete: list[type[Base]] = []

        def overtake(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if to_delete and statement.startswith(changing):
                with database.write() as session:
                    session.execute(delete(to_delete.pop()))

        event.listen(controller.services.database.engine, "before_cursor_execute", overtake)
        for model, method, path, change in changes:
            to_delete.append(model)
            assert "deleted at this moment" in problem_of(http.request(method, path, json=change), 404)["detail"]
            assert not to_delete
