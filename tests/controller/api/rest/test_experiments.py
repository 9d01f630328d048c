"""Searches over HTTP: their life, lists in pages, repeated requests."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from controllers import PlayedWorker, RunningController, run_search

from paploss.client.algorithms import PpoSettings
from paploss.client.loss_choice import LossChoice
from paploss.client.specs import ConfirmSpec, SearchSpec, TrainingSpec
from paploss.client.sync_client import Client
from paploss.controller.experiments.losses import decode_loss, search_space

SMALL = SearchSpec(
    profile="synthetic",
    algorithm=PpoSettings(),
    mode="round",
    rounds=2,
    trials_per_round=2,
    confirm=ConfirmSpec(candidates=2, seeds=2, published=True),
)


@pytest.fixture
def admin(controller: RunningController) -> Iterator[Client]:
    with controller.client("admin") as opened:
        yield opened


def create(http: httpx.Client, key: str | None = None, **spec: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return http.post("/api/v1/experiments", json={"kind": "search", "profile": "synthetic"} | spec, headers=headers)


def test_a_search_is_created_and_found_at_its_location(http: httpx.Client) -> None:
    reply = create(http, name="mine", rounds=3)
    assert reply.status_code == 201
    found = http.get(reply.headers["Location"]).json()
    assert (found["name"], found["rounds"], found["state"], found["owner"]) == ("mine", 3, "running", "user")
    assert found["spec"]["profile"] == "synthetic"


def test_a_repeated_request_makes_nothing_new(http: httpx.Client) -> None:
    first = create(http, "key-1", rounds=3)
    again = create(http, "key-1", rounds=3)
    assert again.status_code == 201
    assert again.json()["id"] == first.json()["id"]
    other = create(http, "key-1", rounds=4)
    assert other.status_code == 409
    assert "key-1" in other.json()["detail"]
    assert len(http.get("/api/v1/experiments").json()["items"]) == 1


def test_an_idempotency_key_belongs_to_who_sent_it(controller: RunningController, http: httpx.Client) -> None:
    first = create(http, "same")
    with controller.http("admin") as other:
        assert create(other, "same").json()["id"] != first.json()["id"]


def test_lists_come_in_pages_newest_first(http: httpx.Client) -> None:
    made = [create(http, name=str(number)).json()["id"] for number in range(5)]
    seen, cursor = [], None
    while True:
        page = http.get("/api/v1/experiments", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(made, reverse=True)


def test_pause_resume_and_cancel(client: Client, http: httpx.Client) -> None:
    search = client.create(SMALL)
    assert client.pause(search.id).state == "paused"
    assert client.pause(search.id).state == "paused"
    assert client.resume(search.id).state == "running"
    assert client.cancel(search.id).state == "cancelled"
    assert client.cancel(search.id).state == "cancelled"
    assert http.post(f"/api/v1/experiments/{search.id}/resume").status_code == 409
    assert [item.id for item in client.list_experiments(state="cancelled")] == [search.id]


def test_only_what_has_ended_is_deleted(client: Client, admin: Client, controller: RunningController) -> None:
    search = client.create(SMALL)
    with controller.http("admin") as http:
        assert http.delete(f"/api/v1/experiments/{search.id}").status_code == 409
    client.cancel(search.id)
    admin.delete(search.id)
    assert list(client.list_experiments()) == []


def test_a_whole_search_through_its_interface(client: Client, http: httpx.Client, worker: PlayedWorker) -> None:
    experiment_id = client.create(SMALL).id
    assert http.get(f"/api/v1/experiments/{experiment_id}/best").status_code == 404
    run_search(client, worker, experiment_id)

    search = client.get_experiment(experiment_id)
    assert (search.state, search.round, search.confirmed) == ("succeeded", 2, True)
    assert search.trials_final == search.trials_planned == sum(search.trials.values())
    best = client.best(experiment_id)
    assert best.confirmed
    assert best.ap == search.best_ap
    assert list(best.loss.heads) == ["bbox_head"]

    rounds = list(client.rounds(experiment_id))
    assert [row.number for row in rounds] == [0, 1, 2]
    assert [row.rewards for row in rounds] == [2, 2, None]
    trials = list(client.trials(experiment_id))
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert {trial.label for trial in client.trials(experiment_id, kind="confirm")} >= {"mean", "identity", "published"}
    assert [trial.round for trial in client.trials(experiment_id, round=1)] == [1, 1]
    kinds = [line.kind for line in client.log(experiment_id)]
    assert kinds[0] == "experiment_started"
    assert kinds[-1] == "experiment_succeeded"

    detail = client.get_trial(trials[0].id)
    assert [row.iteration for row in detail.evaluations] == [2, 4]
    assert detail.attempt_list[0].environment == {"torch": "2.13.0"}
    assert detail.metrics is not None
    assert detail.reward == trials[0].reward

    table = list(csv.DictReader(io.StringIO(http.get(f"/api/v1/experiments/{experiment_id}/trials.csv").text)))
    assert [row["id"] for row in table] == [trial.id for trial in trials]
    assert [float(row["reward"]) for row in table] == [trial.reward for trial in trials]


def test_a_wider_search_carries_its_parameters_and_rate_to_the_end(
    client: Client, http: httpx.Client, worker: PlayedWorker
) -> None:
    spec = SMALL.model_copy(update={"family": "extended", "searched_rate": True, "trials_per_round": 4})
    experiment_id = client.create(spec).id
    run_search(client, worker, experiment_id)
    details = [client.get_trial(trial.id) for trial in client.trials(experiment_id)]
    space = search_space(spec)
    for trial in details:
        if trial.theta is not None:
            assert len(trial.theta) == 45
            assert trial.learning_rate_factor == space.decode_rate(trial.theta)
            assert trial.loss == decode_loss(spec, trial.theta)
    assert len({trial.learning_rate_factor for trial in details if trial.kind == "proxy"}) == 8
    assert {trial.learning_rate_factor for trial in details if trial.label in ("identity", "published")} == {1.0}

    best = client.best(experiment_id)
    (chosen, *_) = [trial for trial in details if trial.kind == "confirm" and trial.label == best.source]
    assert best.learning_rate_factor == chosen.learning_rate_factor != 1
    again = client.create(TrainingSpec(profile="synthetic", losses=(LossChoice(search=experiment_id),)))
    assert [trial.learning_rate_factor for trial in client.trials(again.id)] == [best.learning_rate_factor]

    text = http.get(f"/api/v1/experiments/{experiment_id}/trials.csv").text
    shown = {row["id"]: row["extensions"] for row in csv.DictReader(io.StringIO(text))}
    extended = next(trial for trial in details if trial.loss and trial.loss.head_losses["bbox_head"].extensions)
    for name, value in extended.loss.head_losses["bbox_head"].extensions.items():
        assert f"bbox_head.{name}={value}" in shown[extended.id].split()


def test_before_it_is_confirmed_the_best_is_that_of_one_trial(client: Client, worker: PlayedWorker) -> None:
    experiment_id = client.create(SMALL).id
    while not (queued := list(client.trials(experiment_id, state="queued"))):
        pass
    worker.run(queued[0].id)
    best = client.best(experiment_id)
    assert (best.confirmed, best.source, best.report) == (False, queued[0].id, None)
    assert best.loss == client.get_trial(queued[0].id).loss


def test_figures_of_a_search_and_of_a_trial(client: Client, http: httpx.Client, worker: PlayedWorker) -> None:
    experiment_id = client.create(SMALL).id
    address = f"/api/v1/experiments/{experiment_id}/figures"
    assert http.get(f"{address}/functions").status_code == 404
    run_search(client, worker, experiment_id)
    for theme in ("light", "dark"):
        figure = http.get(f"{address}/rewards", params={"theme": theme}).json()
        assert {"data", "layout"} == set(figure)
    functions = http.get(f"{address}/functions", params={"head": "bbox_head", "columns": 2}).json()
    assert {series["name"] for series in functions["data"]} == {"identity", "published", "best loss"}
    assert http.get(f"{address}/functions", params={"head": "rpn_head"}).status_code == 404
    trial_id = next(client.trials(experiment_id)).id
    curve = http.get(f"/api/v1/trials/{trial_id}/figures/learning").json()
    assert curve["data"][0]["y"] == [10.0, 20.0]
    assert http.get(f"/api/v1/trials/{trial_id}/figures/functions").status_code == 200
