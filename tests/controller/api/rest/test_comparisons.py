"""Training requests over HTTP."""

import csv
import io

import httpx
import pytest
from controllers import PlayedWorker
from plotly import graph_objects
from simulation import metrics
from stack import wait_until

from paploss.client.loss_choice import LossChoice
from paploss.client.specs import ComparisonSpec, TrainingSpec
from paploss.client.sync_client import ApiError, Client
from paploss.jobs.losses import FocalL1
from paploss.jobs.spec import JobResult

SEARCH = {"kind": "search", "profile": "synthetic"}
COMPARISON = ComparisonSpec(
    name="both",
    profile="synthetic",
    losses=(LossChoice(label="published", preset="retinanet"), LossChoice(label="identity", preset="identity")),
    seeds=(1, 2),
    learning_rates=(),
)


def test_a_comparison_from_request_to_results(client: Client, worker: PlayedWorker) -> None:
    training = client.create(COMPARISON)
    assert (training.kind, training.trials_planned, training.trials) == ("comparison", 4, {"queued": 4})
    for trial in client.trials(training.id):
        worker.run(trial.id)
    assert client.wait(training.id, poll_seconds=0.05).state == "succeeded"
    done = client.get_experiment(training.id)
    assert {row.label for row in done.results} == {"published", "identity"}
    means = [row.mean for row in done.results]
    assert None not in means
    assert means == sorted(means, key=lambda mean: -(mean or 0))
    for row in done.results:
        assert len(row.rewards) == row.planned == 2
        assert row.spread is not None
    assert done.best_ap == means[0]
    assert [item.id for item in client.list_experiments("comparison")] == [training.id]


def test_each_kind_is_listed_by_itself_and_together(client: Client, http: httpx.Client) -> None:
    comparison = client.create(COMPARISON)
    search_id = http.post("/api/v1/experiments", json=SEARCH).json()["id"]
    assert http.get(f"/api/v1/experiments/{comparison.id}/best").status_code == 404
    assert http.get(f"/api/v1/experiments/{search_id}/comparison").status_code == 404
    assert [item.id for item in client.list_experiments("search")] == [search_id]
    assert [item.id for item in client.list_experiments("comparison")] == [comparison.id]
    assert list(client.list_experiments("training")) == []
    assert [item.id for item in client.list_experiments()] == [search_id, comparison.id]
    assert client.cancel(comparison.id).state == "cancelled"


def test_a_repeated_request_makes_nothing_new(client: Client) -> None:
    assert client.create(COMPARISON, "k").id == client.create(COMPARISON, "k").id


def test_a_key_of_one_request_is_not_good_for_another(client: Client, http: httpx.Client) -> None:
    client.create(COMPARISON, "k")
    reply = http.post("/api/v1/experiments", json=SEARCH, headers={"Idempotency-Key": "k"})
    assert reply.status_code == 409


def test_a_loss_without_functions_has_no_figure_of_them(client: Client, http: httpx.Client) -> None:
    spec = TrainingSpec(profile="synthetic", losses=(LossChoice(label="focal", loss=FocalL1()),))
    trial = next(client.trials(client.create(spec).id))
    assert http.get(f"/api/v1/trials/{trial.id}/figures/functions").status_code == 404
    assert http.get(f"/api/v1/trials/{trial.id}/figures/learning").status_code == 200


def test_the_best_of_an_unknown_or_unfinished_search_cannot_be_trained(client: Client, http: httpx.Client) -> None:
    experiment_id = http.post("/api/v1/experiments", json=SEARCH).json()["id"]
    for asked, status in (("0nothing", 404), (experiment_id, 409)):
        losses = [{"label": "found", "search": asked}]
        reply = http.post("/api/v1/experiments", json={"kind": "training", "profile": "synthetic", "losses": losses})
        assert reply.status_code == status
        assert "losses[found].search" in reply.json()["detail"]


@pytest.mark.parametrize("total_iterations", [20, 60])
def test_a_rate_that_was_chosen_in_shorter_trainings_is_remarked_on(
    client: Client, worker: PlayedWorker, total_iterations: int
) -> None:
    changes = {"losses": COMPARISON.losses[:1], "learning_rates": (1, 2)}
    training = client.create(COMPARISON.model_copy(update=changes))
    while client.get_experiment(training.id).state == "running":
        for trial in client.trials(training.id, state="queued"):
            lease = worker.claim(trial.id)
            worker.renew(lease, total_iterations=20 if trial.kind == "rate_check" else total_iterations)
            reward = lease.job.learning_rate_factor / 10
            worker.finish(lease, JobResult(outcome="succeeded", reward=reward, metrics=metrics(reward), seconds=1))
    (row,) = client.comparison(training.id).rows
    assert "the largest that was tried" in row.remark
    assert ("shorter trainings" in row.remark) == (total_iterations > 20)


def test_a_comparison_with_its_check_of_the_rate_as_json_csv_and_figure(
    client: Client, http: httpx.Client, worker: PlayedWorker
) -> None:
    spec = {"kind": "comparison", "profile": "synthetic", "losses": ["published", "identity"], "learning_rates": [1, 2]}
    training = client.create(ComparisonSpec.model_validate(spec))
    assert (training.stage, training.trials, training.trials_planned) == ("rates", {"queued": 4}, 2 * (2 + 3))
    empty = client.comparison(training.id)
    assert [(row.mean, row.learning_rate_factor, len(row.rate_check)) for row in empty.rows] == [(None, None, 2)] * 2

    checks = list(client.trials(training.id, kind="rate_check"))
    assert [trial.learning_rate_factor for trial in checks] == [1, 2, 1, 2]
    for trial in checks:
        worker.run(trial.id)
    trainings = wait_until(lambda: list(client.trials(training.id, kind="compare")), "the trainings")
    for trial in trainings:
        worker.run(trial.id)
    assert client.wait(training.id, poll_seconds=0.05).state == "succeeded"

    done = client.comparison(training.id)
    published, start = done.rows
    assert (done.reference, done.seeds) == (published.label, (0, 1, 2))
    assert set(published.rewards) == set(start.rewards) == {0, 1, 2}
    assert published.difference is None
    assert start.difference is not None
    assert start.difference.mean == pytest.approx((start.mean or 0) - (published.mean or 0))
    assert start.difference.interval is not None
    assert [result.ap for result in start.rate_check] == [trial.reward for trial in client.trials(training.id)][2:4]
    assert done.environments == ({"torch": "2.13.0"},)

    table = http.get(f"/api/v1/experiments/{training.id}/comparison.csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["label"] for row in rows] == [published.label, start.label]
    assert float(rows[1]["difference"]) == start.difference.mean
    assert float(rows[1]["seed_2"]) == start.rewards[2]
    assert rows[0]["difference"] == rows[0]["published_ap"] == ""
    figure = http.get(f"/api/v1/experiments/{training.id}/figures/comparison", params={"theme": "dark"})
    graph_objects.Figure(figure.json())


@pytest.mark.parametrize(
    ("changes", "pointer", "told"),
    [
        ({"losses": ["focal"]}, "/losses/0", "got 'focal'"),
        ({"losses": ["alrp", "alrp"]}, "/losses", "distinct labels"),
        ({"losses": ["ce_l1"]}, "", "losses[CE + L1].loss.name: expected one of"),
        ({"seeds": [1, 1]}, "/seeds", "expected distinct seeds"),
    ],
)
def test_a_mistake_in_a_comparison_is_told(
    http: httpx.Client, changes: dict[str, object], pointer: str, told: str
) -> None:
    reply = http.post("/api/v1/experiments", json={"kind": "comparison", "profile": "retinanet-tiny"} | changes)
    assert reply.status_code == 422
    (fault,) = reply.json()["errors"]
    assert fault["pointer"] == pointer
    assert told in fault["message"]


def test_one_trial_is_cancelled_and_the_others_go_on(client: Client, worker: PlayedWorker) -> None:
    training = client.create(COMPARISON)
    first, *others = client.trials(training.id)
    lease = worker.claim(first.id)
    assert client.cancel_trial(first.id).state == "cancelled"
    assert client.cancel_trial(first.id).attempt_list[0].outcome == "cancelled"
    assert worker.renew(lease) == "cancel"
    for trial in others:
        worker.run(trial.id)
    assert client.wait(training.id, poll_seconds=0.05).state == "succeeded"
    with pytest.raises(ApiError, match="has ended already: succeeded"):
        client.cancel_trial(others[0].id)
