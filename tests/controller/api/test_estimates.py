"""Estimates from earlier trials, by HTTP and in the form."""

from controllers import PlayedWorker, RunningController, run_search

from paploss.client import Client, SearchSpec

SPEC = SearchSpec(profile="synthetic", rounds=2, trials_per_round=3, confirm={"candidates": 1, "seeds": 1})


def test_an_estimate_is_from_the_newest_search_that_trained_alike(client: Client, worker: PlayedWorker) -> None:
    assert client.estimate(SPEC).proxy_seconds is None
    run_search(client, worker, client.create(SPEC).id)
    found = client.estimate(SPEC.model_copy(update={"rounds": 5, "seed": 9, "reward": "AP75"}))
    assert (found.proxies, found.trials, found.proxy_seconds) == (15, 6, 1.0)  # a played worker takes a second
    other = SearchSpec.model_validate(SPEC.model_dump() | {"overrides": {"epochs": 3}})
    assert client.estimate(other).proxy_seconds is None
    assert len(list(client.list_experiments())) == 1


def test_the_form_tells_what_a_search_would_cost_and_keeps_what_was_typed(
    controller: RunningController, client: Client, worker: PlayedWorker
) -> None:
    typed = {
        "profile": "synthetic",
        "name": "dear one",
        "rounds": "2",
        "trials_per_round": "3",
        "confirm.most_seeds": "50",
        "action": "estimate",
    }
    with controller.http("user") as http:
        unknown = http.post("/experiments/new", data=typed)
        assert unknown.status_code == 200
        assert "there is no comparable earlier search" in unknown.text
        run_search(client, worker, client.create(SPEC).id)
        known = http.post("/experiments/new", data=typed).text
    assert "6 trainings in rounds" in known
    assert "the mean of 6 earlier trials" in known
    assert "with 64 workers" in known
    assert "20 to 200 confirmations" in known
    assert "under 0.01 to 0.057 worker hours" in known
    assert 'value="dear one"' in known
    assert len(list(client.list_experiments())) == 1
