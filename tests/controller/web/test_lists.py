"""The lists of experiments as a browser without a script sees them."""

import re

import httpx
from controllers import RunningController
from scenarios import search_spec, training_spec

from paploss.client.sync_client import Client


def shown(http: httpx.Client, address: str = "/") -> list[str]:
    """Names in the list, in order."""
    reply = http.get(address)
    assert reply.status_code == 200, reply.text
    return re.findall(r'<th scope="row"><a href="/experiments/[^"]+">([^<]*)</a>', reply.text)


def select(http: httpx.Client, action: str, *ids: str, **more: str) -> httpx.Response:
    data = {"action": action, "id": list(ids), **more}
    return http.post("/experiments/selected", params={"back": "/?sort=name"}, data=data)


def test_a_list_is_sorted_filtered_and_its_links_keep_both(http: httpx.Client, client: Client) -> None:
    for name in ("b", "a", "c"):
        made = client.create(search_spec(name=name))
        client.annotate(made.id, tags=["odd"] if name != "b" else ["even"])
    assert shown(http) == ["c", "a", "b"]
    assert shown(http, "/?sort=name&descending=false") == ["a", "b", "c"]
    text = http.get("/?tag=odd").text
    link = re.search(r'id="sort-name" href="([^"]+)"', text)
    assert link
    assert shown(http, link[1].replace("&amp;", "&")) == ["a", "c"]
    assert shown(http, "/trainings") == []
    assert http.get("/?sort=colour").status_code == http.get("/?archived=maybe").status_code == 422


def test_several_are_cancelled_after_a_question_and_archived_at_once(http: httpx.Client, client: Client) -> None:
    first, second, ended = (client.create(search_spec(name=name)).id for name in ("first", "second", "ended"))
    client.cancel(ended)
    asked = select(http, "cancel", first, second, ended)
    assert asked.status_code == 200
    assert "Cancel 2 experiments?" in asked.text
    assert {client.get_experiment(each).state for each in (first, second)} == {"running"}
    done = select(http, "cancel", first, second, ended, confirmed="true")
    assert (done.status_code, done.headers["Location"]) == (303, "/?sort=name")
    assert {client.get_experiment(each).state for each in (first, second)} == {"cancelled"}
    assert select(http, "archive", first, second).status_code == 303
    assert shown(http) == ["ended"]
    assert shown(http, "/?archived=only") == ["second", "first"]
    assert select(http, "unarchive", first).status_code == 303
    assert shown(http) == ["ended", "first"]


def test_only_an_administrator_deletes_and_only_what_has_ended(
    controller: RunningController, http: httpx.Client, client: Client
) -> None:
    ended, running = client.create(training_spec()).id, client.create(training_spec()).id
    client.cancel(ended)
    assert select(http, "delete", ended, confirmed="true").status_code == 403
    with controller.http("admin") as admin:
        assert select(admin, "delete", ended, running, confirmed="true").status_code == 303
        assert select(admin, "delete", running, confirmed="true").status_code == 409
    assert [each.id for each in client.list_experiments()] == [running]


def test_nothing_selected_is_said_and_no_way_back_leads_elsewhere(http: httpx.Client) -> None:
    nothing = select(http, "archive")
    assert (nothing.status_code, "No experiment was selected." in nothing.text) == (409, True)
    for back in ("//evil.example", "https://evil.example", "/\\evil.example", "/experiments/x/../.."):
        reply = http.post("/experiments/selected", params={"back": back}, data={"action": "archive", "id": ["x"]})
        assert reply.status_code == 422, back


def test_notes_and_tags_are_typed_into_a_form(http: httpx.Client, client: Client) -> None:
    made = client.create(training_spec())
    trial_id = f"{made.id}-000000"
    for address in (f"/experiments/{made.id}", f"/trials/{trial_id}"):
        assert http.post(f"{address}/annotation", data={"note": "# *why*", "tags": "Red, blue"}).status_code == 303
        text = http.get(address).text
        assert "<h3><em>why</em></h3>" in text
        assert "# *why*</textarea>" in text
        assert http.post(f"{address}/annotation", data={"tags": "a?"}).status_code == 422
    assert client.get_trial(trial_id).tags == client.get_experiment(made.id).tags == ["blue", "red"]


def test_lists_and_the_form_show_projects_where_there_are_several(controller: RunningController) -> None:
    with controller.http("admin") as admin, controller.http("user") as user, controller.client("admin") as client:
        for page in ("/", "/experiments/new", "/tokens"):
            assert "Project" not in admin.get(page).text, page
        fields = {"name": "bird-lab", "max_running_trials": "0", "data_roots": "/elsewhere\r\n"}
        refused = admin.post("/projects", data=fields)
        assert (refused.status_code, 'id="max_running_trials-error"' in refused.text) == (422, True)
        right = {"name": "bird-lab", "max_running_trials": "3", "data_roots": "/data/birds\r\n\r\n/data/owls"}
        assert admin.post("/projects", data=right).status_code == 303
        assert client.list_projects()[1].data_roots == ["/data/birds", "/data/owls"]
        assert admin.post("/projects", data=right | {"gpu_hours": "7"}).status_code == 303
        assert client.list_projects()[1].gpu_hours == 7
        started = admin.post("/experiments/new", data={"profile": "synthetic", "project": "bird-lab"})
        assert client.get_experiment(started.headers["Location"].rsplit("/", 1)[-1]).project == "bird-lab"
        assert "<option>bird-lab</option>" in admin.get("/experiments/new").text
        assert "0 of 3" in admin.get("/projects").text
        assert '<td class="muted wide">bird-lab</td>' in admin.get("/?project=bird-lab").text
        assert "No search matches the filter" in admin.get("/?project=default").text
        for page in ("/", "/experiments/new", "/projects"):  # nothing of the other one for those who are in one
            assert "bird-lab" not in user.get(page).text, page
