"""What trainings detected, from a worker's result to the API, the figures and the pages."""

import base64
import html
import json
import re
from typing import Any

import httpx
import pytest
from analyses import make_analysis, make_picture, make_thumbnail
from controllers import PlayedWorker, RunningController
from plotly import graph_objects

from paploss.client.loss_choice import LossChoice
from paploss.client.specs import ComparisonSpec
from paploss.client.sync_client import ApiError, Client
from paploss.jobs.analysis import ERROR_KINDS, Analysis
from paploss.jobs.spec import JobResult

HOSTILE = '"><script>alert(1)</script>'
COMPARISON = ComparisonSpec(
    profile="synthetic",
    losses=tuple(LossChoice(label=label, preset="identity") for label in ("worst", "best", "middle")),
    seeds=(1, 2),
    learning_rates=(),
)
REWARDS = {"worst": 0.1, "best": 0.5, "middle": 0.3}


def run(client: Client, worker: PlayedWorker, analyses: dict[tuple[str, int], Analysis | None]) -> str:
    """Run a comparison whose trainings, by label and seed, deliver these analyses; its id."""
    created = client.create(COMPARISON).id
    for trial in client.trials(created):
        result = JobResult(outcome="succeeded", reward=REWARDS[trial.label])
        worker.finish(worker.claim(trial.id), result, analyses.get((trial.label, trial.seed)))
    return created


@pytest.fixture
def compared(client: Client, worker: PlayedWorker) -> str:
    """Two of three losses are analysed, one of them with both seeds."""
    analysed = {("worst", 1): 0.1, ("best", 1): 0.2, ("best", 2): 0.4}
    return run(client, worker, {key: make_analysis(cost) for key, cost in analysed.items()})


def page(http: httpx.Client, path: str) -> str:
    return http.get(path, headers={"Accept": "text/html"}).raise_for_status().text


def test_by_default_the_two_best_losses_are_side_by_side_as_means_over_seeds(client: Client, compared: str) -> None:
    found = client.detections(compared)
    assert found.labels == ["best", "worst"]
    best, worst = found.losses
    assert (best.label, best.trainings, worst.label, worst.trainings) == ("best", 2, "worst", 1)
    assert best.recall.at_10 == pytest.approx(0.6)
    assert best.recall.small == -1
    assert {kind: cost.ap50 for kind, cost in best.errors.items()} == {kind: pytest.approx(0.3) for kind in ERROR_KINDS}
    assert best.errors["missed"].count == 30
    assert best.precision.iou_50[50] == pytest.approx(1 - 0.3 * 50 / 101)
    assert worst.precision.iou_50[50] == pytest.approx(1 - 0.1 * 50 / 101)


def test_pictures_are_of_a_seed_that_both_losses_have(client: Client, worker: PlayedWorker) -> None:
    experiment = run(client, worker, {key: make_analysis() for key in (("best", 1), ("best", 2), ("worst", 2))})
    assert [loss.seed for loss in client.detections(experiment).losses] == [2, 2]
    assert [loss.seed for loss in client.detections(experiment, ["best"]).losses] == [1]


def test_losses_are_chosen_by_label_and_an_unknown_one_is_named(client: Client, compared: str) -> None:
    assert [loss.label for loss in client.detections(compared, ["worst", "best"]).losses] == ["worst", "best"]
    with pytest.raises(ApiError, match="label: expected one of best, worst, got 'middle'") as refused:
        client.detections(compared, ["worst", "middle"])
    assert refused.value.status == 404


def test_one_trial_has_its_own(client: Client, compared: str) -> None:
    trials = {(trial.label, trial.seed): trial.id for trial in client.trials(compared)}
    found = client.trial_detections(trials["best", 2])
    assert (found.label, found.trainings, found.errors["both"].ap50) == ("best", 1, pytest.approx(0.4))
    assert [one.kind for one in found.pictures[0].detections] == ["hit", "duplicate"]
    with pytest.raises(ApiError, match="was not analysed") as refused:
        client.trial_detections(trials["middle", 1])
    assert refused.value.status == 404


def test_a_thumbnail_is_served_as_an_image_and_nothing_else(
    controller: RunningController, client: Client, http: httpx.Client, compared: str
) -> None:
    digest = client.detections(compared).losses[0].pictures[1].thumbnail
    path = f"/api/v1/experiments/{compared}/thumbnails/{digest}"
    reply = http.get(path)
    assert reply.content == client.thumbnail(compared, str(digest)) == base64.b64decode(make_thumbnail(1))
    assert reply.headers["Content-Type"] == "image/jpeg"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert reply.headers["Cache-Control"] == "no-store"
    with controller.http("viewer") as viewer, controller.http("worker") as worker:
        assert (viewer.get(path).status_code, worker.get(path).status_code) == (200, 403)
    assert httpx.get(f"{controller.url}{path}").status_code == 401
    other = client.create(COMPARISON.model_copy(update={"name": "other"})).id
    assert http.get(path.replace(compared, other)).status_code == 404
    assert http.get(path[:-1]).status_code == 422


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"thumbnail": base64.b64encode(b"<svg><script>alert(1)</script></svg>").decode()}, "thumbnail"),
        ({"thumbnail": base64.b64encode(base64.b64decode(make_thumbnail()) + b"<html>").decode()}, "thumbnail"),
        ({"thumbnail": "A" * 80_004}, "thumbnail"),
        ({"file_name": "x" * 101}, "file_name"),
        ({"width_px": 0}, "width_px"),
        ({"detections": [{"box": [0, 0, 1, 1], "name": "", "score": 1, "kind": "hit", "iou": 1}] * 51}, "detections"),
        ({"truths": [{"box": [0, 0, 1e9, 1], "name": ""}]}, "truths"),
    ],
)
def test_a_picture_beyond_bounds_is_refused_with_its_field(
    controller: RunningController, client: Client, worker: PlayedWorker, change: dict[str, Any], place: str
) -> None:
    lease = worker.claim(next(client.trials(client.create(COMPARISON).id)).id)
    analysis = make_analysis().model_dump(mode="json")
    analysis["pictures"][1] |= change
    body = {"trial_id": lease.trial_id, "token": lease.token, "result": {"outcome": "succeeded", "reward": 0.5}}
    with controller.http("worker") as http:
        refused = http.post("/api/v1/leases/result", content=json.dumps(body | {"analysis": analysis}))
        assert refused.status_code == 422
        assert f"analysis/pictures/1/{place}" in refused.json()["detail"]
        http.post("/api/v1/leases/result", content=json.dumps(body)).raise_for_status()
    assert client.get_trial(lease.trial_id).reward == 0.5


@pytest.mark.parametrize("name", ["precision_recall", "error_costs"])
def test_figures_are_of_the_same_losses(client: Client, compared: str, name: Any) -> None:
    both = client.figure(compared, name)
    assert graph_objects.Figure(both).to_dict()["data"]
    one = client.figure(compared, name, labels=["worst"])
    assert len(both["data"]) == 2 * len(one["data"])
    assert client.trial_figure(client.detections(compared, ["worst"]).losses[0].trial_id, name)["data"]


def test_without_an_analysis_there_is_nothing_to_draw_and_pages_show_none(
    client: Client, worker: PlayedWorker, http: httpx.Client
) -> None:
    experiment = run(client, worker, {})
    with pytest.raises(ApiError, match="was analysed"):
        client.detections(experiment)
    with pytest.raises(ApiError, match="was analysed"):
        client.figure(experiment, "error_costs")
    assert 'id="detections"' not in page(http, f"/experiments/{experiment}")
    assert 'id="detections"' not in page(http, f"/trials/{next(client.trials(experiment)).id}")


def test_pages_show_two_losses_and_a_form_for_others(client: Client, http: httpx.Client, compared: str) -> None:
    text = page(http, f"/experiments/{compared}")
    chosen = re.findall(r'<option value="(\w+)" selected>', text[text.index('id="detections"') :])
    assert chosen[:2] == ["best", "worst"]
    assert text.count('class="picture"') == 4
    digests = {one.thumbnail for loss in client.detections(compared).losses for one in loss.pictures}
    images = re.findall(r'<image href="([^"]+)"', text)
    assert set(images) == {f"/api/v1/experiments/{compared}/thumbnails/{digest}" for digest in digests}
    assert {http.get(image).status_code for image in images} == {200}
    turned = page(http, f"/experiments/{compared}?label=worst&label=best")
    assert "error_costs?label=worst&amp;label=best" in turned
    unknown = http.get(f"/experiments/{compared}?label=nonsense", headers={"Accept": "text/html"})
    assert unknown.status_code == 404
    assert "expected one of best, worst" in html.unescape(unknown.text)


def test_what_is_below_the_threshold_is_hidden_at_first(client: Client, http: httpx.Client, compared: str) -> None:
    trial = client.detections(compared).losses[0].trial_id
    text = page(http, f"/trials/{trial}")
    assert len(re.findall(r'class="detection hit" data-score="0.9" x=', text)) == 2
    assert len(re.findall(r'class="detection duplicate" data-score="0.3" hidden x=', text)) == 2
    assert len(re.findall(r'class="object" data-found="0.9"', text)) == 2
    assert len(re.findall(r'class="object missed" data-found="-1"', text)) == 2


def test_texts_of_a_worker_are_texts_on_the_page(client: Client, worker: PlayedWorker, http: httpx.Client) -> None:
    picture = make_picture(name=HOSTILE, file_name=HOSTILE, thumbnail=None)
    analysis = make_analysis().model_copy(update={"pictures": (picture,)})
    experiment = run(client, worker, {("best", 1): analysis})
    text = page(http, f"/experiments/{experiment}")
    assert "<script>alert" not in text
    assert html.escape(HOSTILE) in text.replace("&#34;", "&quot;")
    assert "<image" not in text
