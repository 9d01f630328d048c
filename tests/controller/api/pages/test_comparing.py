"""Experiments beside each other, and the trials of a search by their columns."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from controllers import PlayedWorker, RunningController, run_search
from scenarios import search_spec, training_spec
from typer.testing import CliRunner

from paploss.cli.main import app
from paploss.client.errors import ApiError
from paploss.client.sync_client import Client


@pytest.fixture
def http(controller: RunningController) -> Iterator[httpx.Client]:
    with controller.http("viewer") as opened:
        opened.headers["Accept"] = "text/html"
        yield opened


@pytest.fixture
def ids(client: Client, worker: PlayedWorker) -> list[str]:
    """A search and a comparison that have ended, and a search without a trial that has."""
    confirm = {"candidates": 1, "seeds": 2}
    search = client.create(search_spec(name="one <b>", rounds=2, trials_per_round=2, confirm=confirm))
    run_search(client, worker, search.id)
    comparison = client.create(training_spec("comparison", name="two", seeds=[0, 1], learning_rates=[]))
    run_search(client, worker, comparison.id)
    waiting = client.create(search_spec(name="three"))
    client.pause(waiting.id)
    return [search.id, comparison.id, waiting.id]


def traces(client: Client, ids: list[str], **options: Any) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in client.compared_figure(ids, "best_so_far", **options)["data"]}


def test_the_best_so_far_rises_over_trainings_hours_and_gpu_hours(client: Client, ids: list[str]) -> None:
    rewards = [trial.reward or 0.0 for trial in client.trials(ids[0], kind="proxy")]
    found = traces(client, ids)
    assert list(found) == ["one &lt;b&gt;", "two"]  # the third has no reward yet
    drawn = found["one &lt;b&gt;"]
    assert drawn["x"][-1] == len(rewards)
    assert drawn["y"] == sorted(drawn["y"])
    assert drawn["y"][-1] == pytest.approx(100 * max(rewards), abs=1e-3)
    assert found["two"]["x"][-1] == 4
    for by in ("hours", "gpu_hours"):
        spent = traces(client, ids, by=by)["two"]["x"]
        assert 0 <= spent[-1] < 1
        assert spent == sorted(spent)
    with pytest.raises(ApiError, match="none of these experiments has a reward yet"):
        client.compared_figure(ids[2:], "best_so_far")
    with pytest.raises(ApiError, match="there is no experiment 0nothing"):
        client.compared_figure(["0nothing"], "best_so_far")


def test_the_functions_of_all_best_losses_are_drawn_with_what_each_is_of(client: Client, ids: list[str]) -> None:
    names = {trace["name"] for trace in client.compared_figure(ids, "functions")["data"]}
    assert names >= {"identity", "one &lt;b&gt;", "two"}
    assert "three" not in names


def test_a_page_shows_all_of_them_whatever_their_kind(http: httpx.Client, client: Client, ids: list[str]) -> None:
    reply = http.get("/compare", params={"id": [*ids, "0gone"], "by": "hours"})
    assert reply.status_code == 200
    shown = re.findall(r'<th scope="row" class="wrap"><a href="/experiments/([^"]+)"', reply.text)
    assert shown == ids
    assert "Experiment 0gone no longer exists." in reply.text
    assert "do not measure the same thing" in reply.text
    assert "Losses of two" in reply.text
    assert "<b>" not in reply.text.partition("one &lt;b&gt;")[0].rpartition("<h1>")[2]
    for address in re.findall(r'data-figure="([^"]+)"', reply.text):
        assert http.get(address.replace("&amp;", "&")).status_code == 200
    alike = http.get("/compare", params={"id": [ids[0], ids[2]]}).text
    assert "do not measure the same thing" not in alike
    assert "Choose" in http.get("/compare").text
    assert http.get("/compare?by=money").status_code == 422


def test_a_search_that_ended_without_a_result_waits_for_none(http: httpx.Client, client: Client) -> None:
    search = client.create(search_spec(name="gone"))
    address = f"/compare?id={search.id}"
    assert "no result yet" in http.get(address).text
    client.cancel(search.id)
    assert re.search(r'<b class="best">–</b><small>no result</small>', http.get(address).text)


def test_a_shared_link_asks_for_a_key_and_then_leads_to_the_comparison(
    controller: RunningController, ids: list[str]
) -> None:
    address = f"/compare?id={ids[0]}&id={ids[1]}"
    with controller.http() as anonymous:
        refused = anonymous.get(address, headers={"Accept": "text/html"})
        assert refused.status_code == 303
        form = anonymous.get(refused.headers["Location"]).text
        assert f'value="{address.replace("&", "&amp;")}"' in form
        assert anonymous.get(f"/api/v1/figures/best_so_far?id={ids[0]}").status_code == 401


def test_the_command_line_shows_a_comparison_with_its_verdict(
    controller: RunningController, client: Client, ids: list[str]
) -> None:
    environment = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["viewer"]}
    shown = CliRunner().invoke(app, ["show", ids[1]], env=environment)
    verdict = client.comparison(ids[1]).verdict
    assert verdict is not None
    assert verdict.sentence in " ".join(shown.output.split())


def test_trials_are_shown_by_any_two_columns(http: httpx.Client, client: Client, ids: list[str]) -> None:
    trials = list(client.trials(ids[0], kind="proxy"))
    dots = client.figure(ids[0], "scatter", x="number", y="reward")["data"][0]
    assert dots["x"] == [trial.number for trial in trials]
    assert dots["y"] == [pytest.approx(100 * (trial.reward or 0), abs=1e-3) for trial in trials]
    theta = client.get_trial(trials[0].id).theta
    assert theta is not None
    across = client.figure(ids[0], "scatter", x="bbox_head.gradient_scale", y="AP50")["data"][0]
    assert across["x"][0] == pytest.approx(theta[-1], abs=1e-5)
    page = http.get(f"/experiments/{ids[0]}/explore", params={"x": "seconds", "group": "bbox_head.H2"})
    assert page.status_code == 200
    for address in re.findall(r'data-figure="([^"]+)"', page.text):
        assert http.get(address.replace("&amp;", "&")).status_code == 200
    lines = client.figure(ids[0], "parallel", group="bbox_head.H2")
    assert len(lines["layout"]["xaxis"]["ticktext"]) == 8 + 3  # four knots of two numbers; reward, AP50, AP75
    assert len(client.figure(ids[0], "parallel")["layout"]["xaxis"]["ticktext"]) == 12 + 3


@pytest.mark.parametrize(
    ("query", "complaint"),
    [("x=colour", "there is no column &#39;colour&#39;"), ("group=H9", "group: expected one of")],
)
def test_what_is_no_column_is_refused(http: httpx.Client, ids: list[str], query: str, complaint: str) -> None:
    reply = http.get(f"/experiments/{ids[0]}/explore?{query}")
    assert reply.status_code == 404
    assert complaint in reply.text


def test_a_search_without_a_reward_has_nothing_to_explore(http: httpx.Client, ids: list[str]) -> None:
    assert "No trial has a reward yet." in http.get(f"/experiments/{ids[2]}/explore").text
    assert http.get(f"/experiments/{ids[1]}/explore").status_code == 404
