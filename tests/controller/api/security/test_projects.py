"""What a key of one project sees of another's, over every route of the application."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from analyses import make_analysis
from controllers import PlayedWorker, RunningController, run_search

from paploss.client import Client
from paploss.client.errors import ApiError
from paploss.client.notifications import SubscriptionRequest
from paploss.client.projects import ProjectRequest
from paploss.client.specs import SearchSpec, TrainingSpec
from paploss.controller.api.app import list_operations
from paploss.controller.api.security.access import OPEN, ROLES
from paploss.controller.store.access.keys import create_key

HIDDEN = ("hidden-search", "hidden-training", "hidden-tag", "hidden-note", "ann-of-lab", "hidden-token")
"""Texts that stand in what belongs to the project `lab`, and nowhere else."""
WITH_AN_ID = re.compile(r"\{(experiment|trial|subscription|token)_id\}")
SMALL: dict[str, Any] = {"profile": "synthetic", "rounds": 1, "trials_per_round": 2, "screen": False}


@dataclass(frozen=True)
class Lab:
    """A project with one of everything, and a user of it and of another project."""

    controller: RunningController
    mine: Client
    keys: Mapping[str, str]
    """By project."""
    ids: Mapping[str, str]
    """By the name of the parameter in a path."""
    training: str
    running: str
    """A search that has not ended, with a trial that a worker trains."""

    def http(self, project: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.keys[project]}"}
        return httpx.Client(base_url=self.controller.url, headers=headers, timeout=30)

    def ask(self, http: httpx.Client, operation: str) -> httpx.Response:
        """An operation on what belongs to the project `lab`, as well-formed as a user could make it."""
        method, path = operation.split(" ")
        names = (
            self.ids
            | ({"experiment_id": self.training} if "/comparison" in path else {})
            | {"name": "best_so_far" if path.startswith("/api/v1/figures") else "functions"}
        )
        address = re.sub(r"\{(\w+)\}", lambda found: names[found[1]], path)
        return http.request(method, address, **self.sent(operation))

    def sent(self, operation: str) -> dict[str, Any]:
        search, origin = self.ids["experiment_id"], {"Origin": self.controller.url}
        losses = [{"label": "found", "search": search}]
        forms = {"action": "archive", "id": search, "name": "x", "role": "viewer", "days": "3", "token": "t"}
        forms |= {"channel": "webhook", "target": "https://example.org/hook", "experiment_id": search}
        forms |= {"occasions": "ended"}
        given: dict[str, dict[str, Any]] = {
            "POST /api/v1/experiments": {"json": {"profile": "synthetic", "kind": "training", "losses": losses}},
            "POST /api/v1/experiments/estimate": {"json": SMALL},
            "PATCH /api/v1/experiments/{experiment_id}": {"json": {"note": "overwritten"}},
            "PATCH /api/v1/trials/{trial_id}": {"json": {"note": "overwritten"}},
            "POST /api/v1/subscriptions": {
                "json": {"target": "https://example.org/hook", "experiment_id": search},
            },
            "POST /api/v1/tokens": {"json": {"name": "fresh"}},
            "GET /subscriptions": {"params": {"experiment": search}},
            "GET /compare": {"params": {"id": [search, self.running]}},
            "GET /api/v1/figures/{name}": {"params": {"id": search}},
            "GET /experiments/new": {"params": {"clone": search}},
        }
        if operation in given:
            return given[operation]
        if operation.startswith("POST /") and not operation.startswith("POST /api/"):
            return {"data": {"profile": "synthetic", "start_from": json.dumps([{"search": search}])} | forms} | {
                "headers": origin
            }
        return {}


@pytest.fixture
def lab(controller: RunningController) -> Iterator[Lab]:
    with controller.client("admin") as admin:
        for name in ("lab", "elsewhere"):
            admin.create_project(ProjectRequest(name=name))
    with controller.services.database.write() as session:
        keys = {
            project: create_key(session, f"{user}-of-{project}", "user", project)
            for user, project in (("ann", "lab"), ("bob", "elsewhere"))
        }
    with Client(controller.url, keys["lab"]) as mine, controller.http("worker") as http:
        worker = PlayedWorker(http)
        search = mine.create(SearchSpec(name="hidden-search", **SMALL))
        run_search(mine, worker, search.id, make_analysis())
        found = mine.detections(search.id).losses[0]
        losses = [{"label": "found", "search": search.id}]
        training = mine.create(
            TrainingSpec.model_validate({"name": "hidden-training", "profile": "synthetic", "losses": losses})
        )
        mine.annotate(search.id, note="hidden-note", tags=["hidden-tag"])
        running = mine.create(SearchSpec(name="hidden-search-2", **SMALL))
        while len(queued := list(mine.trials(running.id, state="queued"))) < 2:
            pass
        worker.run(queued[0].id)
        worker.renew(worker.claim(queued[1].id), 0.1)
        hook = SubscriptionRequest.model_validate({"target": "https://example.org/hook", "experiment_id": search.id})
        ids = {
            "experiment_id": search.id,
            "trial_id": found.trial_id,
            "digest": str(found.pictures[0].thumbnail),
            "subscription_id": mine.subscribe(hook).id,
            "token_id": mine.create_token("hidden-token").id,
            "follow_up": "training",
            "action": "pause",
        }
        yield Lab(controller, mine, keys, ids, training.id, running.id)


def operations() -> list[str]:
    """What a user may do; what reads before what changes, and what deletes at the end."""
    order = {"GET": 0, "POST": 1, "PATCH": 1, "PUT": 1, "DELETE": 2}
    mine = [each for each in list_operations() if each not in OPEN and "user" in ROLES[each]]
    return sorted(mine, key=lambda operation: order[operation.split(" ")[0]])


def test_no_route_shows_or_changes_anything_of_another_project(lab: Lab) -> None:
    before = lab.mine.get_experiment(lab.ids["experiment_id"])
    with lab.http("elsewhere") as http:
        for operation in operations():
            reply = lab.ask(http, operation)
            if WITH_AN_ID.search(operation):
                assert reply.status_code == 404, operation
            told = [text for text in (*HIDDEN, lab.running, lab.ids["subscription_id"]) if text in reply.text]
            asked = json.dumps(lab.sent(operation)) + str(reply.request.url)
            assert [text for text in told if text not in asked] == [], operation
            if lab.ids["experiment_id"] not in asked:
                assert lab.ids["experiment_id"] not in reply.text, operation
    after = lab.mine.get_experiment(lab.ids["experiment_id"])
    assert after == before
    assert {each.id for each in lab.mine.list_subscriptions()} == {lab.ids["subscription_id"]}
    assert lab.mine.get_experiment(lab.running).state == "running"


def test_the_same_routes_show_it_to_its_own_project(lab: Lab) -> None:
    """The other test asks for what is there, with requests that are understood."""
    shown = set()
    with lab.http("lab") as http:
        for operation in operations():
            reply = lab.ask(http, operation)
            assert reply.status_code not in {404, 422}, (operation, reply.text)
            if any(text in reply.text for text in (*HIDDEN, lab.ids["experiment_id"], lab.running)):
                shown.add(operation)
    assert shown >= {
        *("GET /", "GET /trainings", "GET /workers", "GET /subscriptions", "GET /compare", "GET /experiments/new"),
        *("GET /api/v1/experiments", "GET /api/v1/workers", "GET /api/v1/subscriptions", "GET /metrics"),
    }


@pytest.mark.parametrize(
    "spec",
    [
        SearchSpec(algorithm="guided", start_from=[{"search": "0id"}], **SMALL),
        TrainingSpec.model_validate({"profile": "synthetic", "losses": [{"label": "found", "search": "0id"}]}),
    ],
)
def test_nothing_is_taken_from_another_projects_search_even_by_an_administrator(
    lab: Lab, spec: SearchSpec | TrainingSpec
) -> None:
    document = json.loads(spec.model_dump_json().replace('"0id"', f'"{lab.ids["experiment_id"]}"'))
    request = type(spec).model_validate(document)
    with lab.controller.client("admin") as admin:
        for project in (None, "elsewhere"):
            with pytest.raises(ApiError) as refusal:
                admin.create(request, project=project)
            assert refusal.value.status == 404
        assert admin.create(request, project="lab").project == "lab"


def test_what_a_user_starts_belongs_to_their_project_and_to_no_other(lab: Lab) -> None:
    with Client(lab.controller.url, lab.keys["elsewhere"]) as theirs:
        assert theirs.create(SearchSpec(**SMALL)).project == "elsewhere"
        for other in ("lab", "default", "nowhere"):
            with pytest.raises(ApiError, match="there is no project") as refusal:
                theirs.create(SearchSpec(**SMALL), project=other)
            assert refusal.value.status == 404
        assert [each.name for each in theirs.list_projects()] == ["elsewhere"]
        assert len(list(theirs.list_experiments())) == 1


def test_administrators_see_all_projects_and_narrow_lists_to_one(lab: Lab) -> None:
    with lab.controller.client("admin") as admin, Client(lab.controller.url, lab.keys["elsewhere"]) as theirs:
        other = theirs.create(SearchSpec(**SMALL))
        assert len(list(admin.list_experiments())) == 4
        assert [each.id for each in admin.list_experiments(project="elsewhere")] == [other.id]


def test_a_token_sees_what_its_owners_key_sees(lab: Lab) -> None:
    with Client(lab.controller.url, lab.keys["elsewhere"]) as theirs:
        token = theirs.create_token("laptop", "user").token
    with Client(lab.controller.url, token) as held:
        assert list(held.list_experiments()) == []
        with pytest.raises(ApiError, match="there is no experiment"):
            held.get_experiment(lab.ids["experiment_id"])


def test_a_search_tells_its_own_project_and_those_who_see_all(lab: Lab) -> None:
    hook = SubscriptionRequest.model_validate({"target": "https://example.org/hook", "occasions": ["ended"]})
    with (
        lab.controller.client("admin") as admin,
        Client(lab.controller.url, lab.keys["elsewhere"]) as theirs,
    ):
        ids = [client.subscribe(hook).id for client in (admin, lab.mine, theirs)]
        lab.mine.cancel(lab.running)
        told = [
            [each.experiment_id for each in client.list_deliveries(subscription)]
            for client, subscription in zip((admin, lab.mine, theirs), ids, strict=True)
        ]
    assert told == [[lab.running], [lab.running], []]


def test_keys_of_before_belong_to_the_default_project_and_administrators_to_none(controller: RunningController) -> None:
    with controller.client("admin") as admin:
        found = {key.name: key.project for key in admin.list_keys()}
    assert found == {"viewer": "default", "user": "default", "worker": None, "admin": None}


def test_a_key_may_be_for_all_projects(lab: Lab) -> None:
    with lab.controller.client("admin") as admin:
        key = admin.create_key("watcher", "viewer", project=None)
    assert key.project is None
    with Client(lab.controller.url, key.key) as watcher:
        assert len(list(watcher.list_experiments())) == 3


def test_a_project_goes_when_nothing_belongs_to_it(lab: Lab) -> None:
    with lab.controller.client("admin") as admin:
        for name, why in (("lab", "experiments belong"), ("elsewhere", "keys belong"), ("default", "stays")):
            with pytest.raises(ApiError, match=why) as refusal:
                admin.delete_project(name)
            assert refusal.value.status == 409
        admin.revoke_key("bob-of-elsewhere")
        admin.delete_project("elsewhere")
        assert [each.name for each in admin.list_projects()] == ["default", "lab"]


def test_a_projects_data_sets_lie_in_its_own_roots(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    with (
        RunningController(sqlite_url, redis_url, tmp_path, data_roots=("/data",)) as controller,
        controller.client("admin") as admin,
    ):
        with pytest.raises(ApiError, match="beneath one of the data roots: /data; got '/elsewhere'"):
            admin.create_project(ProjectRequest(name="lab", data_roots=["/elsewhere"]))
        admin.create_project(ProjectRequest(name="lab", data_roots=["/data/lab"]))
        splits = {"train": {"annotations": "a.json", "images": "i"}, "val": {"annotations": "b.json", "images": "i"}}
        for root, project, is_right in (
            ("/data/lab/birds", "lab", True),
            ("/data/other", "lab", False),
            ("/data/laboratory", "lab", False),
            ("/data/other", "default", True),
        ):
            spec = SearchSpec.model_validate(SMALL | {"dataset": {"name": "d", "root": root, **splits}})
            if is_right:
                assert admin.create(spec, project=project).project == project
                continue
            with pytest.raises(ApiError, match="beneath one of the data roots: /data/lab") as refusal:
                admin.create(spec, project=project)
            assert refusal.value.status == 422
