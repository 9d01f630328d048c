"""Live events: what happens arrives, once, and a broken connection goes on where it was."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
from controllers import PlayedWorker

from controller.client import Client
from controller.loss_choice import LossChoice
from controller.specs import TrainingSpec

SPEC = TrainingSpec(profile="synthetic", losses=(LossChoice(label="identity", preset="identity"),), seeds=(0, 1))


def read_events(lines: Iterator[str]) -> Iterator[tuple[str, int | None, dict[str, Any]]]:
    """Kind, id and data of each event, until the stream ends."""
    kind, number = "message", None
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "id":
            number = int(value)
        elif name == "data":
            yield kind, number, json.loads(value)
            kind, number = "message", None


def test_events_arrive_until_the_end(client: Client, http: httpx.Client, worker: PlayedWorker) -> None:
    training = client.create_training(SPEC)
    with http.stream("GET", f"/api/v1/searches/{training.id}/events") as reply:
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        assert "Content-Encoding" not in reply.headers
        events = read_events(reply.iter_lines())
        assert next(events)[::2] == (
            "progress",
            {"state": "running", "stage": "trainings", "trials": {"queued": 2}}
            | {
                "trials_final": 0,
                "best_ap": None,
            },
        )
        for trial in client.trials(training.id):
            worker.run(trial.id)
        seen = list(events)
    kinds = [data["kind"] for kind, _, data in seen if kind == "message"]
    assert kinds == ["trial_succeeded", "trial_succeeded", "search_succeeded"]
    assert seen[-1][0] == "end"
    assert seen[-1][2]["state"] == "succeeded"
    ids = [number for kind, number, _ in seen if kind == "message"]
    assert len(set(ids)) == len(ids)


def test_a_broken_connection_goes_on_after_the_last_line_it_had(client: Client, http: httpx.Client) -> None:
    training = client.create_training(SPEC)
    client.pause(training.id)
    client.resume(training.id)
    client.cancel(training.id)
    lines = list(client.log(training.id))
    headers = {"Last-Event-ID": str(lines[1].id)}
    reply = http.get(f"/api/v1/searches/{training.id}/events", headers=headers)
    seen = [data["id"] for kind, _, data in read_events(iter(reply.text.splitlines())) if kind == "message"]
    assert seen == [line.id for line in lines[2:]]


def test_a_search_that_is_deleted_ends_its_stream(client: Client, http: httpx.Client, controller: Any) -> None:
    training = client.create_training(SPEC)
    with http.stream("GET", f"/api/v1/searches/{training.id}/events") as reply:
        events = read_events(reply.iter_lines())
        next(events)
        client.cancel(training.id)
        with controller.client("admin") as admin:
            admin.delete(training.id)
        assert list(events)[-1][0] == "end"
