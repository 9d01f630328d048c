"""Live events: what happens arrives, once, and a broken connection goes on where it was."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from controllers import PlayedWorker, RunningController
from stack import wait_until

from paploss.client.loss_choice import LossChoice
from paploss.client.specs import TrainingSpec
from paploss.client.sync_client import Client
from paploss.controller.api import events
from paploss.controller.store.events import Line, record_many

SPEC = TrainingSpec(profile="synthetic", losses=(LossChoice(label="identity", preset="identity"),), seeds=(0, 1))


def read_events(lines: Iterator[str]) -> Iterator[tuple[str, int | None, dict[str, Any]]]:
    """Kind, id and data of each event, until the stream ends."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
            continue
        if "data" in fields:  # an empty line ends an event; one without data is not dispatched
            number = int(fields["id"]) if "id" in fields else None
            yield fields.get("event", "message"), number, json.loads(fields["data"])
        fields = {}


def test_events_arrive_until_the_end(client: Client, http: httpx.Client, worker: PlayedWorker) -> None:
    training = client.create(SPEC)
    with http.stream("GET", f"/api/v1/experiments/{training.id}/events") as reply:
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        assert "Content-Encoding" not in reply.headers
        told = read_events(reply.iter_lines())
        assert next(told)[::2] == (
            "progress",
            {"state": "running", "stage": "trainings", "trials": {"queued": 2}}
            | {
                "trials_final": 0,
                "best_ap": None,
            },
        )
        for trial in client.trials(training.id):
            worker.run(trial.id)
        seen = list(told)
    kinds = [data["kind"] for kind, _, data in seen if kind == "message"]
    assert kinds == ["trial_succeeded", "trial_succeeded", "experiment_succeeded"]
    assert seen[-1][0] == "end"
    assert seen[-1][2]["state"] == "succeeded"
    ids = [number for kind, number, _ in seen if kind == "message"]
    assert len(set(ids)) == len(ids)


def test_a_broken_connection_goes_on_after_the_last_line_it_had(client: Client, http: httpx.Client) -> None:
    training = client.create(SPEC)
    client.pause(training.id)
    client.resume(training.id)
    client.cancel(training.id)
    lines = list(client.log(training.id))
    headers = {"Last-Event-ID": str(lines[1].id)}
    reply = http.get(f"/api/v1/experiments/{training.id}/events", headers=headers)
    seen = [data["id"] for kind, _, data in read_events(iter(reply.text.splitlines())) if kind == "message"]
    assert seen == [line.id for line in lines[2:]]


def test_a_stream_of_an_ended_experiment_has_the_whole_log(
    client: Client, http: httpx.Client, controller: RunningController
) -> None:
    training = client.create(SPEC)
    client.cancel(training.id)
    lines = [Line("trial_paused", str(number), experiment_id=training.id) for number in range(2 * events.MOST_LINES)]
    with controller.services.database.write() as session:
        record_many(session, lines)
    reply = http.get(f"/api/v1/experiments/{training.id}/events", headers={"Last-Event-ID": "0"})
    seen = [data["id"] for kind, _, data in read_events(iter(reply.text.splitlines())) if kind == "message"]
    assert seen == [line.id for line in client.log(training.id)]


def test_a_search_that_is_deleted_ends_its_stream(client: Client, http: httpx.Client, controller: Any) -> None:
    training = client.create(SPEC)
    with http.stream("GET", f"/api/v1/experiments/{training.id}/events") as reply:
        told = read_events(reply.iter_lines())
        next(told)
        client.cancel(training.id)
        with controller.client("admin") as admin:
            admin.delete(training.id)
        assert list(told)[-1][0] == "end"


def test_a_stream_ends_when_its_key_is_revoked(controller: RunningController, client: Client) -> None:
    training = client.create(SPEC)
    with controller.http("viewer") as http, http.stream("GET", f"/api/v1/experiments/{training.id}/events") as reply:
        told = read_events(reply.iter_lines())
        assert next(told)[0] == "progress"
        with controller.client("admin") as admin:
            admin.revoke_key("viewer")
        assert list(told) == []
    assert client.get_experiment(training.id).state == "running"


def test_one_key_opens_so_many_streams_and_no_more(
    controller: RunningController, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_OF_ONE", 1)
    training = client.create(SPEC)
    address = f"/api/v1/experiments/{training.id}/events"
    with controller.http("viewer") as viewer, controller.http("user") as user:
        with viewer.stream("GET", address) as first:
            lines = first.iter_lines()  # kept: httpx closes a stream whose iterator is collected
            next(lines)
            with viewer.stream("GET", address) as refused:
                assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
            with user.stream("GET", address) as another:
                assert another.status_code == 200

        def is_free() -> bool:
            with viewer.stream("GET", address) as again:
                return again.status_code == 200

        wait_until(is_free, "the place of the stream that has ended")


def test_streams_opened_at_once_are_counted_one_by_one(
    controller: RunningController, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_OF_ONE", 5)
    address = f"/api/v1/experiments/{client.create(SPEC).id}/events"
    with controller.http("viewer") as viewer, ThreadPoolExecutor(30) as threads:
        asked = [viewer.build_request("GET", address) for _ in range(30)]
        replies = list(threads.map(lambda request: viewer.send(request, stream=True), asked))
        statuses = [reply.status_code for reply in replies]
        for reply in replies:
            reply.close()
    assert (statuses.count(200), statuses.count(429)) == (5, 25)
