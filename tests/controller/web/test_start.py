"""Starting a search from the form: what is wrong is told at its field, and what was typed is kept."""

import re
from pathlib import Path

import httpx
import pytest
import yaml
from controllers import PlayedWorker, RunningController, run_search

from paploss.client.documents import SPEC
from paploss.client.specs import ConfirmSpec, SearchSpec
from paploss.client.sync_client import Client
from paploss.controller.api.pages.examples import EXAMPLES
from paploss.controller.api.pages.starting import group_fields

OLD = Path(__file__).parents[2] / "fixtures" / "0.1.0"

FILLED = {"profile": "synthetic", "name": "<i>mine</i>", "rounds": "3", "trials_per_round": "2", "prune": "false"}


def read_form(text: str) -> dict[str, str]:
    """What the form would send, untouched."""
    typed = dict(re.findall(r'<input(?! type="checkbox")[^>]*? name="([^"]+)" value="([^"]*)"', text))
    for name, options in re.findall(r'<select[^>]*? name="([^"]+)".*?>(.*?)</select>', text, re.DOTALL):
        chosen = re.search(r'<option(?: value="([^"]*)")? selected>([^<]*)', options)
        typed[name] = (chosen[1] if chosen[1] is not None else chosen[2]) if chosen else ""
    for name in re.findall(r'<input type="checkbox"[^>]*name="([^"]+)" value="true" checked', text):
        typed[name] = "true"
    return typed


def test_a_valid_form_starts_what_was_asked_for_once(http: httpx.Client, client: Client) -> None:
    typed = read_form(http.get("/experiments/new").text) | FILLED
    reply = http.post("/experiments/new", data=typed)
    assert reply.status_code == 303
    search = client.get_experiment(reply.headers["Location"].rpartition("/")[2])
    assert (search.spec["rounds"], search.spec["prune"], search.name, search.owner) == (3, False, "<i>mine</i>", "user")
    assert http.post("/experiments/new", data=typed).headers["Location"] == reply.headers["Location"]  # a double click
    assert http.post("/experiments/new", data=typed | {"seed": "1"}).headers["Location"] != reply.headers["Location"]


@pytest.mark.parametrize(
    ("changes", "field", "complaint"),
    [
        ({"rounds": "many"}, "rounds", "expected a whole number, got &#39;many&#39;"),
        ({"profile": ""}, "profile", "is missing"),
        ({"profile": "yolo"}, "profile", "expected one of"),
        ({"dataset.root": "/etc"}, "dataset.root", "beneath one of the data roots"),
        ({"algorithm.name": "paper", "mode": "stream"}, "mode", "expected round"),
        ({"algorithm.name": "ppo", "algorithm.clip": "2"}, "algorithm.clip", "less than 1"),
        ({"algorithm.name": "random", "algorithm.clip": "0.2"}, "algorithm.clip", "unknown key"),
        ({"overrides.epochs": "0"}, "overrides.epochs", "expected 1 or more"),
    ],
)
def test_what_is_wrong_is_told_at_its_field_and_kept(
    http: httpx.Client, client: Client, changes: dict[str, str], field: str, complaint: str
) -> None:
    if "dataset.root" in changes:
        files = {"annotations": "a.json", "images": "images"}
        changes |= {f"dataset.{split}.{key}": value for split in ("train", "val") for key, value in files.items()}
    reply = http.post("/experiments/new", data=FILLED | changes)
    assert reply.status_code == 422
    identity = field.replace(".", "-")
    assert re.search(rf'<p class="error" id="{identity}-error">[^<]*{re.escape(complaint)}', reply.text)
    assert f'aria-describedby="{identity}-error' in reply.text
    assert f'<a href="#{identity}">' in reply.text
    assert "&lt;i&gt;mine&lt;/i&gt;" in reply.text
    kept = read_form(reply.text)
    for name, value in changes.items():
        if value != "yolo":  # no option of the list
            assert kept[name] == value
    assert list(client.list_experiments()) == []


def test_a_clone_is_filled_in_like_its_search(http: httpx.Client, client: Client) -> None:
    spec = SearchSpec.model_validate(
        {"name": "first", "profile": "synthetic", "rounds": 7, "prune": False, "knots": 6, "priority": -2}
        | {"algorithm": {"name": "ppo", "clip": 0.25}}
    )
    search = client.create(spec)
    typed = read_form(http.get(f"/experiments/new?clone={search.id}").text)
    reply = http.post("/experiments/new", data=typed)
    assert reply.status_code == 303, reply.text
    clone = client.get_experiment(reply.headers["Location"].rpartition("/")[2])
    assert SPEC.read(clone.spec) == spec.model_copy(update={"name": "first (copy)"})
    assert http.get("/experiments/new?clone=0nothing").status_code == 404


def test_a_clone_of_an_older_versions_search_does_what_that_did(
    http: httpx.Client, controller: RunningController
) -> None:
    with controller.client("admin") as admin:
        old = admin.load((OLD / "finished-search.jsonl.gz").read_bytes()).id
    typed = read_form(http.get(f"/experiments/new?clone={old}").text)
    assert (typed["algorithm.name"], typed["screen"], typed["confirm.rivals"]) == ("ppo", "false", "[]")


def test_what_goes_before_the_rounds_is_asked_for_beside_them_and_not_with_the_workers() -> None:
    (title,) = [each.title for each in group_fields({}, {}) for field in each.fields if field.path == "pilot"]
    assert title == "Algorithm"


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_examples_are_those_of_the_repository(http: httpx.Client, name: str) -> None:
    written = yaml.safe_load((Path(__file__).parents[3] / "examples" / f"{name}.yaml").read_text())
    root = written["dataset"].pop("root", None)
    assert SearchSpec.model_validate(EXAMPLES[name] | {"seed": 0, "dataset": {"name": "digits"}}) == (
        SearchSpec.model_validate(written | {"dataset": {"name": "digits"}})
    )
    assert EXAMPLES[name]["dataset"] == written["dataset"]
    typed = read_form(http.get(f"/experiments/new?example={name}").text)
    assert typed["dataset.root"] == (f"/data/{name}" if root else "")
    assert http.post("/experiments/new", data=typed).status_code == 303


def test_viewers_start_nothing_and_other_sites_neither(controller: RunningController) -> None:
    with controller.http("viewer") as http:
        assert http.get("/experiments/new").status_code == 403
        assert http.post("/experiments/new", data=FILLED).status_code == 403
    with controller.http() as http:
        http.post("/sign-in", data={"key": controller.keys["user"]}, headers={"Origin": controller.url})
        foreign = http.post("/experiments/new", data=FILLED, headers={"Origin": "http://elsewhere.example"})
        assert foreign.status_code == 403
        assert http.post("/experiments/new", data=FILLED, headers={"Origin": controller.url}).status_code == 303


def test_a_data_set_of_the_roots_fills_in_its_paths(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    cells = tmp_path / "roots" / "cells"
    (cells / "images").mkdir(parents=True)
    for part in ("train", "val"):
        (cells / f"{part}.json").write_text("{}")
    (tmp_path / "roots" / "link").symlink_to(cells)
    with (
        RunningController(sqlite_url, redis_url, tmp_path, data_roots=(tmp_path / "roots",)) as running,
        running.http("user") as http,
    ):
        form = http.get("/experiments/new").text
        assert form.count("/experiments/new?dataset=") == 1
        typed = read_form(http.get("/experiments/new", params={"dataset": str(cells)}).text)
        assert (typed["dataset.root"], typed["dataset.val.annotations"]) == (str(cells), "val.json")
        assert http.get("/experiments/new", params={"dataset": "/etc"}).status_code == 404


def test_a_training_and_a_comparison_start_from_a_search_that_has_ended(
    http: httpx.Client, client: Client, controller: RunningController, worker: PlayedWorker
) -> None:
    confirm = ConfirmSpec(candidates=1, seeds=1)
    search = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2, confirm=confirm))
    assert http.post(f"/experiments/{search.id}/training").status_code == 409  # it has no best loss yet
    run_search(client, worker, search.id)
    shown = http.get(f"/experiments/{search.id}").text
    assert f'download="loss-{search.id}.json"' in shown
    for kind in ("training", "comparison"):
        assert f'action="/experiments/{search.id}/{kind}"' in shown
        started = [http.post(f"/experiments/{search.id}/{kind}").headers["Location"] for _ in range(2)]
        assert started[0] == started[1]
        found = client.get_experiment(started[0].rpartition("/")[2])
        assert (found.kind, found.spec["losses"][0]["search"]) == (kind, search.id)
    with controller.http("viewer") as viewer:
        assert viewer.post(f"/experiments/{search.id}/training").status_code == 403


def test_a_search_is_started_from_an_earlier_one_and_what_does_not_fit_is_told_at_its_field(
    http: httpx.Client, client: Client, controller: RunningController
) -> None:
    earlier = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2, confirm=ConfirmSpec(seeds=1)))
    with controller.http("worker") as worker:
        run_search(client, PlayedWorker(worker), earlier.id)
    reply = http.post("/experiments/new", data=FILLED | {"start_from": f"published, {earlier.id}"})
    assert reply.status_code == 303
    started = client.get_experiment(reply.headers["Location"].rpartition("/")[2])
    assert started.spec["start_from"] == ["published", earlier.id]
    clone = read_form(http.get("/experiments/new", params={"clone": started.id}).text)
    assert clone["start_from"] == f"published, {earlier.id}"
    refused = http.post("/experiments/new", data=FILLED | {"start_from": earlier.id, "knots": "2"})
    assert refused.status_code == 422
    assert re.search(r'<p class="error" id="start_from-error">[^<]*expected a search over heads', refused.text)
